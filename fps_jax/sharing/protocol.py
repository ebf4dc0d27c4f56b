"""How the sum over clients is formed: in the clear, ideally, or from shares.

A protocol is pure functions, written for one client and one tile of columns;
who calls them for thousands of clients is `fps_jax.federated.sums`.
Everything after `lift` is exact in the schemes that use a codec, so neither the
order of clients nor their grouping matters.

What each of `fps_jax.sharing.schemes` adds up, and who learns what:

- `none`: float32 values; the central server learns every update;
- `quantised`: values as the codec rounds them; it learns every update, too;
- `ideal`: field words, without any sharing, as a trusted third party would;
- `shamir`: at each server, shares of field words; the central server learns
  the sum, and of single updates what is opened for a defence; or every update
  with `reveal='updates'`.

Who has the model before and after a round learns its mean update, whatever the
scheme: docs/threat_model.md has all that each party sees.

A column is l values, l = 1 unless the sharing scheme packs them.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array, PlanArray
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.coder import ClientKey, Coder
from fps_jax.sharing.field import PrimeField

REVEALS = ('sum', 'updates')


class Dealing(NamedTuple):
  """What one client draws on when it shares its update in a round.

  Attributes:
    seeds_Zx8: uint32 [Z, 8], the seeds of servers 1 .. t.
    blinds_Kx8: uint32 [K, 8], for the words that blind its check; [0, 8] where
      clients are not checked.
    is_consistent: bool [], whether it deals shares of one polynomial each.
  """

  seeds_Zx8: PlanArray
  blinds_Kx8: PlanArray
  is_consistent: PlanArray


class RoundKeys(NamedTuple):
  """What a round draws on.

  Attributes:
    dealings: arrays of `Dealing` with a leading axis of clients.
    client_coins_Qx8: uint32 [Q, 8], public coins of the checks of clients,
      drawn once shares are fixed.
    sketch_coins_Qx8: uint32 [Q, 8], those of the audit of sketches, drawn once
      sketches are.
    coins_Qx8: uint32 [Q, 8], those of the audit of sums, drawn once sums over
      the accepted clients are.
    lies_Nx8: uint32 [N, 8], what servers that lie add to their sums; [0, 8]
      where none ever does.
    is_lying_N: bool [N], which do in this round.
  """

  dealings: Dealing
  client_coins_Qx8: PlanArray
  sketch_coins_Qx8: PlanArray
  coins_Qx8: PlanArray
  lies_Nx8: PlanArray
  is_lying_N: PlanArray


@dataclasses.dataclass(frozen=True)
class Faults:
  """Who does not follow the protocol.

  Attributes:
    servers_lie: whether servers may add uniformly random words to their sums:
      those that `make_keys` is given.
    inconsistent_clients: numbers of clients that deal server N a share one
      larger than the polynomial's.
    seed: the run's seed, which lies are drawn from: whatever shares are, a
      faulty run is the same again.
  """

  servers_lie: bool = False
  inconsistent_clients: tuple[int, ...] = ()
  seed: int = 0


NO_FAULTS = Faults()


class MakeKeys(Protocol):
  """Draws what a round needs; on the host, before the round."""

  def __call__(
    self,
    root: np.ndarray,
    round_number: int,
    client_ids: np.ndarray,
    lying_servers: Sequence[int] = (),
    attempt: int = 0,
  ) -> RoundKeys:
    """Returns the keys of an attempt at a round.

    Args:
      root: uint32 [8], the run's root key.
      round_number: from 0.
      client_ids: int [C]; -1 is padding.
      lying_servers: numbers of the servers that lie.
      attempt: attempts at the round before this one.

    Raises:
      ValueError: if a number is out of range, or a server unknown.
    """


class Distort(Protocol):
  """Makes of servers' sums [R, W] what they report."""

  def __call__(self, sums_NxW: Array, keys: RoundKeys) -> Array:
    """Returns [R, W]."""


@dataclasses.dataclass(frozen=True)
class SumProtocol:
  """The steps of a sum over clients; here of what nobody shares.

  A vector holds weighted values and, in one entry a band, the client's sample
  count, so that a single one is hidden as values are (but for a client that is
  alone in its tier, if the band of the next tier is opened, too). It is held in
  `R` rows (a server each) of columns of `values_per_column` consecutive values.

  Guarantees:
    - what `open` and `decode` make of `add`ed, `lift`ed values is their sum,
      to the codec's rounding where there is a codec; sums of counts are exact
      up to 2^24;
    - a client whose `alive` is False does not influence the sum. One of floats
      depends on the order of its terms, in the last bits.

  Attributes:
    codec: floats to field words, or to floats.
  """

  codec: Coder

  @property
  def field(self) -> PrimeField | None:
    """What words are of; None where values are added as they are."""
    return self.codec.field

  @property
  def largest(self) -> int:
    """What an honest client's value stands for at most; 0 without a field."""
    return self.codec.levels

  @property
  def values_per_column(self) -> int:
    """The l that shares pack; 1 where nothing is shared."""
    return 1

  @property
  def alignment(self) -> int:
    """Bands of clients that share prefixes start at its multiples."""
    return self.values_per_column

  @property
  def opening(self) -> PlanArray:
    """What opens the sums, uint32 [L, N]; None without servers."""
    return None

  @property
  def make_keys(self) -> MakeKeys | None:
    """Draws the keys of a round; None where nothing is shared."""
    return None

  @property
  def distort(self) -> Distort | None:
    """What the servers report; None where all are honest."""
    return None

  @property
  def auditor(self) -> Auditor | None:
    """What finds wrong sums and shares; None where nothing does."""
    return None

  def without_auditor(self) -> Self:
    """Returns the same sum, which nobody audits."""
    return self

  def zeros(self, num_columns: int) -> Array:
    """Returns an empty sum [R, W] of `num_columns`."""
    dtype = jnp.uint32 if self.field else jnp.float32
    return jnp.zeros((1, num_columns), dtype)

  def lift(
    self,
    values: Array,
    is_count: Array,
    count: Array,
    key: ClientKey,
    dealing: Dealing | None,
    first_column: Array | int,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Returns the contribution of one client [R, W].

    Args:
      values: float32 [M].
      is_count: bool [M], where `count` is carried for the value.
      count: int32 [].
      key: of the client and round, as the codec takes it.
      dealing: what it draws on; None where nothing is shared.
      first_column: a multiple of 16; of shares, one below 0 carries zeros.
      breaks_range: bool [], whether the client ignores the codec's range.

    Raises:
      ValueError: if values or places of counts are of another type or shape.
    """
    del dealing
    return self.encode(
      values, is_count, count, key, first_column, breaks_range
    )[None]

  def encode(
    self,
    values: Array,
    is_count: Array,
    count: Array,
    key: ClientKey,
    first: Array | int,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Returns what one client's values and its count are carried by, [M].

    Args:
      values: float32 [M].
      is_count: bool [M], where `count` is carried for the value.
      count: int32 [].
      key: of the client and round, as the codec takes it.
      first: place of the first value, a multiple of 16.
      breaks_range: bool [], whether the client ignores the codec's range.

    Raises:
      ValueError: if values or places of counts are of another type or shape.
    """
    arrays.check('values', values, np.float32, ('M',))
    arrays.check('is_count', is_count, bool, values.shape)
    with jax.named_scope('encode'):
      encoded = self.codec.encode(values, key, first, breaks_range)
      counts = self.codec.encode_count(count)
      return jnp.where(is_count, counts, encoded)

  def open(self, sums: Array, opening: PlanArray) -> Array:
    """Returns the sum [M] of [R, W], still encoded."""
    del opening
    return sums[0]

  def add(
    self, sums: Array, contributions: Array, alive: Array, opening: PlanArray
  ) -> Array:
    """Returns sums [R, W] with those contributions [C, ...] that are alive."""
    del opening
    nothing = jnp.zeros((), contributions.dtype)
    live = jnp.where(alive[:, None, None], contributions, nothing)
    return self.codec.adder.add(sums, self.codec.adder.sum(live))

  @property
  def adds_words(self) -> bool:
    """Whether `encode` and `add_words` do what `lift` and `add` do."""
    return True

  def add_words(
    self,
    sums: Array,
    words_CxM: Array,
    dealings: Dealing | None,
    first_column: Array | int,
    ends_C: Array,
  ) -> Array:
    """Returns sums [R, W] with what clients' words are shared as.

    Args:
      sums: [R, W].
      words_CxM: of `encode`.
      dealings: what clients draw on, with a leading axis; None where nothing is
        shared.
      first_column: a multiple of 16, at least 0; may be traced.
      ends_C: int32 [C], how many columns of each client are added.
    """
    del dealings, first_column
    words_M = self._sum_words(words_CxM, ends_C)
    with jax.named_scope('sum'):
      return self.codec.adder.add(sums, words_M[None])

  def _sum_words(self, words_CxM: Array, ends_C: Array) -> Array:
    """Returns [M], the sum of the columns that count."""
    ends_C = ends_C * self.values_per_column
    counts_CxM = jnp.arange(words_CxM.shape[1]) < ends_C[:, None]
    nothing = jnp.zeros((), words_CxM.dtype)
    with jax.named_scope('sum'):
      return self.codec.adder.sum(jnp.where(counts_CxM, words_CxM, nothing))

  def add_devices(self, sums: Array, axis_names: tuple[str, ...]) -> Array:
    """Returns [R, W], the sums of all devices of a mesh, inside a program."""
    return self.codec.adder.sum_devices(sums, axis_names)

  def decode(self, opened: Array) -> Array:
    """Returns values, float32 [M]."""
    return self.codec.decode(opened)

  def decode_count(self, opened: Array) -> Array:
    """Returns counts, float32."""
    return self.codec.decode_count(opened)

  def count_clipped(self, values: Array) -> Array:
    """Returns how many values are beyond the clip, int32 []."""
    return self.codec.count_clipped(values)
