"""The scheme `ideal`: field words that nobody shares.

It is the functionality that `shamir` realises, for fast studies: the opened
sums are equal bit for bit, and as many bytes are counted.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key, PlanArray
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import Dealing, SumProtocol, check_lifted
from fps_jax.sharing.schemes.channels import Channel, ShareChannel
from fps_jax.sharing.schemes.scheme import Scheme, Servers


@dataclasses.dataclass(frozen=True)
class CodecSum(SumProtocol):
  """What sums of field words have in common.

  Attributes:
    codec: floats to field words.
  """

  codec: Codec

  @property
  def field(self) -> PrimeField:
    """The codec's."""
    return self.codec.field

  @property
  def largest(self) -> int:
    """Integer that an honest client's value stands for at most."""
    return self.codec.levels

  def encode(
    self,
    values: Array,
    is_count: Array,
    count: Array,
    key: Key,
    first: Array | int,
    breaks_range: Array | bool,
  ) -> Array:
    """Returns a client's words [M]: its values and, where told, its count."""
    with jax.named_scope('encode'):
      words = self.codec.encode(values, key, first, breaks_range)
      return jnp.where(is_count, self.codec.encode_count(count), words)

  def add(
    self,
    sums: Array,
    contributions: Array,
    alive: Array,
    opening: PlanArray,
  ) -> Array:
    """Returns uint32 [R, W]."""
    del opening
    words = jnp.where(alive[:, None, None], contributions, jnp.uint32(0))
    return self.field.add(sums, self.field.sum(words))

  def add_devices(self, sums: Array, axis_names: tuple[str, ...]) -> Array:
    """Returns uint32 [R, W]."""
    return self.field.sum_devices(sums, axis_names)

  def decode(self, opened: Array) -> Array:
    """Returns float32 [M]."""
    return self.codec.decode(opened)

  def decode_count(self, opened: Array) -> Array:
    """Returns float32, exact up to 2^24."""
    return self.codec.decode_count(opened)

  def count_clipped(self, values: Array) -> Array:
    """Returns int32 []."""
    return self.codec.count_clipped(values)


@dataclasses.dataclass(frozen=True)
class WordSum(CodecSum):
  """Sums of words that nobody shares, as a trusted third party forms them.

  Attributes:
    codec: floats to field words.
    alignment: the l of the sharing scheme, so that bands lie as they do there.

  Raises:
    ValueError: if `alignment` is below 1.
  """

  alignment: int = 1

  def __post_init__(self):
    arrays.check_integer('alignment', self.alignment, 1)

  def zeros(self, num_columns: int) -> Array:
    """Returns uint32 [1, W]."""
    return jnp.zeros((1, num_columns), jnp.uint32)

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
    """Returns uint32 [1, M]."""
    del dealing
    check_lifted(values, is_count)
    return self.encode(
      values, is_count, count, key, first_column, breaks_range
    )[None]

  def open(self, sums: Array, opening: PlanArray) -> Array:
    """Returns uint32 [M]."""
    del opening
    return sums[0]


class Ideal(Scheme):
  """The sums and the bytes of shamir, without its arithmetic."""

  def make_sum(
    self, make_codec: Callable[[], Codec], servers: Servers
  ) -> SumProtocol:
    """Returns the sum of words, which lie as if they were shared."""
    return WordSum(make_codec(), servers.shamir.secrets_per_polynomial)

  def make_channel(
    self, value_bits: int, servers: Servers, num_opened_columns: int
  ) -> Channel:
    """Returns that of shares."""
    del value_bits
    auditor = servers.auditor
    checks_clients = auditor is not None and auditor.checks_clients
    return ShareChannel(
      servers.shamir,
      servers.reveal,
      # Without an audit the central server asks no more than it needs.
      num_sending=len(auditor.present) if auditor else None,
      num_client_checks=auditor.num_checks if auditor and checks_clients else 0,
      num_opened_columns=num_opened_columns,
    )
