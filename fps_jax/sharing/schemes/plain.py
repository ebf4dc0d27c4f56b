"""The scheme `none`: float32 values in the clear."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, Key, PlanArray
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.protocol import Dealing, SumProtocol, check_lifted
from fps_jax.sharing.schemes.channels import Channel, ClearChannel
from fps_jax.sharing.schemes.scheme import Scheme, Servers


class PlainSum(SumProtocol):
  """Float32 values added as they are.

  Unlike sums in the field, this one depends on the order of its terms, in the
  last bits.
  """

  def zeros(self, num_columns: int) -> Array:
    """Returns float32 [1, W]."""
    return jnp.zeros((1, num_columns), jnp.float32)

  def lift(
    self,
    values: Array,
    is_count: Array,
    count: Array,
    key: Key,
    dealing: Dealing | None,
    first_column: Array | int,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Returns float32 [1, M]. Nothing is drawn, and there is no range."""
    del key, dealing, first_column, breaks_range
    check_lifted(values, is_count)
    return jnp.where(is_count, count.astype(jnp.float32), values)[None]

  def add(
    self,
    sums: Array,
    contributions: Array,
    alive: Array,
    opening: PlanArray,
  ) -> Array:
    """Returns float32 [1, W]."""
    del opening
    live = jnp.where(alive[:, None, None], contributions, 0.0)
    return sums + jnp.sum(live, axis=0)

  def add_devices(self, sums: Array, axis_names: tuple[str, ...]) -> Array:
    """Returns float32 [1, W]."""
    return jax.lax.psum(sums, axis_names)

  def open(self, sums: Array, opening: PlanArray) -> Array:
    """Returns float32 [M]."""
    del opening
    return sums[0]

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

  def make_sum(
    self, make_codec: Callable[[], Codec], servers: Servers
  ) -> SumProtocol:
    """Returns the sum of floats."""
    del make_codec, servers
    return PlainSum()

  def make_channel(
    self, value_bits: int, servers: Servers, num_opened_columns: int
  ) -> Channel:
    """Returns that of floats in the clear."""
    del value_bits, servers, num_opened_columns
    return ClearChannel()
