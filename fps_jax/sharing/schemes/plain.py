"""The scheme `none`: float32 values in the clear."""

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, Key, PlanArray
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.channels import Channel, ClearChannel
from fps_jax.sharing.schemes.scheme import MakeCodec, Scheme, Setup


class PlainSum(SumProtocol):
  """Float32 values added as they are.

  Unlike sums in the field, this one depends on the order of its terms, in the
  last bits.
  """

  dtype = jnp.float32

  def add(
    self, sums: Array, contributions: Array, alive: Array, opening: PlanArray
  ) -> Array:
    """Returns float32 [1, W]."""
    del opening
    live = jnp.where(alive[:, None, None], contributions, 0.0)
    return sums + jnp.sum(live, axis=0)

  def add_devices(self, sums: Array, axis_names: tuple[str, ...]) -> Array:
    """Returns float32 [1, W]."""
    return jax.lax.psum(sums, axis_names)

  def encode(
    self,
    values: Array,
    key: Key,
    first: Array | int,
    breaks_range: Array | bool,
  ) -> Array:
    """Returns the values: nothing is drawn, and there is no range."""
    del key, first, breaks_range
    return values

  def encode_count(self, count: Array) -> Array:
    """Returns float32."""
    return count.astype(jnp.float32)

  def decode(self, opened: Array) -> Array:
    """Returns what is opened."""
    return opened

  def decode_count(self, opened: Array) -> Array:
    """Returns what is opened."""
    return opened

  def count_clipped(self, values: Array) -> Array:
    """Returns 0."""
    del values
    return jnp.zeros((), jnp.int32)


class Plain(Scheme):
  """Clients send float32 values to the central server."""

  is_clear = True
  has_codec = False

  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns the sum of floats."""
    del make_codec, setup
    return PlainSum()

  def make_channel(self, setup: Setup) -> Channel:
    """Returns that of floats in the clear."""
    del setup
    return ClearChannel()
