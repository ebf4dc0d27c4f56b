"""What sums over clients are made of, and what they come to."""

from collections.abc import Callable
from typing import NamedTuple

from fps_jax.core.types import Array, Key, RoundPlan
from fps_jax.federated import layout
from fps_jax.federated.performance import Performance
from fps_jax.federated.tiling import Tiling
from fps_jax.sharing.protocol import SumProtocol

# (deltas [C, M], client numbers [C]) -> what each client sends of them, [C, M],
# and what it has not sent, [C, D], or None where nobody keeps that.
Select = Callable[[Array, Array], tuple[Array, Array | None]]


class Summation(NamedTuple):
  """How the updates of a round are summed.

  Attributes:
    protocol: how the sum is formed.
    tiling: how updates are cut.
    plan: of the round; rows with client id -1 add nothing. Clients of tier t
      share `keep_counts_T[t]` positions, all D without pruning.
    kept: int32 [`tiling.padded_size`], which entries of an update are its
      values, of `layout.kept_positions`; None to share all in order.
    max_count: largest sample count of a client.
    round_key: key of this round's rounding; every client's draws are folded
      from it by client id.
    performance: chunk size and execution.
  """

  protocol: SumProtocol
  tiling: Tiling
  plan: RoundPlan
  kept: Array | None
  max_count: int
  round_key: Key
  performance: Performance

  @property
  def counts_at(self) -> tuple[layout.Count, ...]:
    """The position of each band's sample count."""
    keep_counts_T = self.plan.pruning.keep_counts_T
    return layout.counts_at(keep_counts_T, self.protocol.alignment)


class Residuals(NamedTuple):
  """What clients have not sent.

  Attributes:
    owners: int32 [C], client numbers, -1 where nothing is to be remembered.
    values: float32 [C, D].
  """

  owners: Array
  values: Array


class ClientMeasures(NamedTuple):
  """What is measured of each client; of a row of padding it means nothing.

  Attributes:
    checks: uint32 [C, Q, N], the servers' blinded combinations of each client's
      shares; None where clients are not checked.
    loss_sum: float32 [C], training loss (nats) summed over examples.
    num_trained: float32 [C], examples trained on, repeats counted.
    clipped: int32 [C], values that the codec clipped.
    is_finite: bool [C]; an update that is not finite is left out of the sum.
    residuals: what clients have not sent; None where they send everything.
  """

  checks: Array | None
  loss_sum: Array
  num_trained: Array
  clipped: Array
  is_finite: Array
  residuals: Residuals | None


class ClientSums(NamedTuple):
  """Sums over clients, and each client's measures.

  Attributes:
    held: [R, columns], what the servers hold: sums of the weighted values and
      of sample counts, laid out as `fps_jax.federated.layout` says.
    contributors_T: int32 [T], clients that are in the sums of each band.
    measures: of every row of the plan.
  """

  held: Array
  contributors_T: Array
  measures: ClientMeasures


class StoredUpdates(NamedTuple):
  """Updates of clients that have trained already.

  Attributes:
    values_CxM: float32 [C, `Tiling.padded_size`], values in the order in which
      they are shared, 0 beyond.
    weights_C: uint32 [C], what servers multiply each client's share by before
      they add it; None for 1. A client of weight 0 is not in the sum.
  """

  values_CxM: Array
  weights_C: Array | None
