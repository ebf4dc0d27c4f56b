"""What stands in for a codec, or a field, where values are floats."""

from typing import Self

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array


class Floats:
  """Arrays of float32, with the methods of `Codec` and of `PrimeField`.

  Arguments and errors are as there.
  """

  field = None
  levels = 0

  @property
  def adder(self) -> Self:
    """What adds values up."""
    return self

  def check(
    self, name: str, array: Array, shape: arrays.Shape = (...,)
  ) -> None:
    """Checks that an array holds float32."""
    arrays.check(name, array, jnp.float32, shape)

  def add(self, a: Array, b: Array) -> Array:
    """Returns a + b."""
    return a + b

  def negate(self, a: Array) -> Array:
    """Returns -a."""
    return -a

  def sum(self, a: Array) -> Array:
    """Returns the sum along the first axis."""
    return jnp.sum(a, axis=0)

  def signed_sums(self, a: Array, signs_WxS: Array) -> Array:
    """Returns sums of values that are each added, subtracted or left out."""
    return jnp.matmul(a, signs_WxS, precision='highest')

  def sum_devices(self, a: Array, axis_names: tuple[str, ...]) -> Array:
    """Returns the sum over axes of a device mesh, inside of a program."""
    return jax.lax.psum(a, axis_names)

  def encode(self, values: Array, *_: Array | int) -> Array:
    """Returns the values: nothing is drawn, and there is no range."""
    return values

  def encode_count(self, count: Array) -> Array:
    """Returns float32 counts."""
    return count.astype(jnp.float32)

  def decode(self, opened: Array) -> Array:
    """Returns what is opened."""
    return opened

  decode_count = decode

  def count_clipped(self, values: Array) -> Array:
    """Returns 0, as int32 []."""
    del values
    return jnp.zeros((), jnp.int32)
