"""The names that the whole package shares. Read this file first.

Axes, as they appear in array names (`shares_NxM`, `deltas_CxD`):

| letter | meaning                                                        |
|--------|----------------------------------------------------------------|
| `C`    | clients of a round's cohort (or of one chunk of it)            |
| `D`    | parameters of the model, as one flat vector                    |
| `A`    | layers of the model, each an array                             |
| `T`    | tiers of clients                                               |
| `S`    | local training steps                                           |
| `B`    | examples in a local batch                                      |
| `M`    | values that a client sends, each of them a word when shared    |
| `V`    | vectors of a Gram matrix: C, and the root update if there is   |
| `N`    | aggregation servers                                            |
| `R`    | rows of a sum: N of shares, otherwise 1                        |
| `W`    | columns of a part of it, such as a tile or a message           |
| `L`    | secrets in a column, l of a packed polynomial                  |
| `Z`    | random words behind them, k - l                                |
| `K`    | words behind a share, k: the threshold                         |
| `Q`    | coins of an audit: combinations that each server answers       |

A number is the length of an axis, as in `keys_Zx8`. The letters hold in rounds
and for shares. Sketches, the field's sums, positions of values, figures and
gradient inversion have axes of their own, some of them under the same letters.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np

# For the reference, which would list every method of JAX's arrays otherwise.
__all__ = [
  'CohortPlan',
  'Examples',
  'OptimizerState',
  'Params',
  'PlanArray',
  'PruningPlan',
  'RoundMetrics',
  'RoundPlan',
  'RoundState',
]

Array = jax.Array
Params = Any  # A pytree of float32 arrays, as flax.linen makes it.
OptimizerState = Any  # A pytree of arrays, as optax makes it.
Key = jax.Array
# More than a run may have: what tells attempts apart in one number.
MAX_ROUNDS = 2**20
# NumPy's on the host, JAX's in a program, a sharding in between.
PlanArray = Any


class Examples(NamedTuple):
  """A training set, or a batch of it: what is known, and what is to be found.

  Attributes:
    inputs: numeric [n, ...], as the model takes them: uint8 images [n, height,
      width, channels], integers [n, T], reals.
    targets: of a class int32 [n], of a sequence of them int32 [n, T], of
      numbers float32 [n] or [n, K].
  """

  inputs: PlanArray
  targets: PlanArray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundState:
  """What passes from one round to the next. Everything a run must remember.

  Random keys are not part of it: they are derived from the seed and `round`.

  Attributes:
    round: int32 [], rounds completed so far.
    params: float32 [D], the global model; exactly 0 where it is pruned.
    remembered: float32 [D], the global model with the last value of what is
      pruned; None where the server forgets it.
    residuals: float32 [clients, D], what each client has not sent so far; None
      where clients send all that they train.
    optimizer_state: the server optimiser's state.
    scores: float32 [D], what parameters are ranked by, once and for all rounds;
      None where each ranks its own model.
    clip: float32 [], the longest that a client's contribution to the next round
      may be; None where nothing bounds it.
  """

  round: Array
  params: Array
  remembered: Array | None
  residuals: Array | None
  optimizer_state: OptimizerState
  scores: Array | None = None
  clip: Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CohortPlan:
  """Who trains on what in one round. Made on the host, before the round.

  Each device has as many consecutive rows. They are ordered by number of steps,
  largest first, so that clients that share a chunk do about the same work; rows
  of padding, whose client id is -1, come last.

  Attributes:
    client_ids: int32 [C], -1 for a row of padding.
    indices: int32 [C, S, B], rows of the examples that the client's process
      holds, -1 for padding. A process makes its own clients' rows alone.
    num_steps: int32 [C], steps that hold at least one example.
    num_examples: int32 [C], training examples that the client owns: its
      weight in FedAvg. 1 where all clients weigh the same.
    tiers: int32 [C], how much of the model the client trains, in [0, T).
    malicious: bool [C], whether an attacker controls the client.
  """

  client_ids: PlanArray
  indices: PlanArray
  num_steps: PlanArray
  num_examples: PlanArray
  tiers: PlanArray
  malicious: PlanArray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PruningPlan:
  """How many parameters a round keeps, trains, tries out and regrows.

  Attributes:
    keep_counts_T: int32 [T], parameters that clients of each tier train and
      send, ascending; the last includes candidates.
    num_candidates: int32 [], those of them that are pruned but tried out.
    num_regrown: int32 [], candidates that stay after the round, if a rule
      exchanges a fixed number.
    layer_counts_TxA: int32 [T, A], as `keep_counts_T`, of each layer; None
      where one threshold holds for all.
    model: what the global model keeps, where clients train a part of it; None
      where they train it all.
  """

  keep_counts_T: PlanArray
  num_candidates: PlanArray
  num_regrown: PlanArray
  layer_counts_TxA: PlanArray | None
  model: 'PruningPlan | None' = None

  @classmethod
  def keeping(
    cls,
    count: int,
    layer_counts: Sequence[int] | None = None,
    model: Self | None = None,
  ) -> Self:
    """Returns that of one tier without regrowth; counts as of `masks`."""
    return cls(
      keep_counts_T=np.array([count], np.int32),
      num_candidates=np.int32(0),
      num_regrown=np.int32(0),
      layer_counts_TxA=(
        None if layer_counts is None else np.array([layer_counts], np.int32)
      ),
      model=model,
    )

  @property
  def keep_count(self) -> Any:
    """Parameters that the last tier trains: all that any client does."""
    return self.keep_counts_T[-1]

  @property
  def received_counts(self) -> PlanArray:
    """Parameters that clients of each tier receive: int32 [T]."""
    return (self.model or self).keep_counts_T


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundPlan:
  """Everything that is decided before a round: data, never a recompilation.

  Attributes:
    cohort: who trains on what.
    pruning: how many parameters are kept.
    opening: what opens the sum, from which servers, as the sum protocol has
      it; None where there are no servers.
    keys: what sharing draws on, as the sum protocol has it; None where nothing
      is shared.
    answers_N: bool [N], which servers answer; None where all of the audit's do.
    attempt: int32 [], attempts at the round before this one.
    noise_8: uint32 [8], the key of the central server's noise or, where clients
      add it, the public one of the rotation; None where nobody adds any.
    client_noise_Cx8: uint32 [C, 8], keys of clients' noise; None where they add
      none.
  """

  cohort: CohortPlan
  pruning: PruningPlan
  opening: Any
  keys: Any
  answers_N: PlanArray | None = None
  attempt: PlanArray = 0
  noise_8: PlanArray | None = None
  client_noise_Cx8: PlanArray | None = None

  def draw_number(self, round_number: Array) -> Array:
    """Returns what tells the draws of this attempt from those of all others."""
    return round_number + self.attempt * MAX_ROUNDS


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundMetrics:
  """What a round measures on the devices, of each row of its plan.

  Rows of padding mean nothing.

  Attributes:
    loss_sum: float32 [C], training loss summed over targets.
    num_trained: float32 [C], targets trained on, repeats counted.
    clipped_values: int32 [C], values that the codec clipped; None where no
      client tells.
    is_finite: bool [C], whether the client's update was finite, as its own
      values tell and no share does; one that is not was left out.
    weights: float32 [C], of each update in the aggregate; None without a
      defence, and where it weighs every coordinate by itself.
    is_sound: bool [C], whether what was opened of a client for a defence is
      what an honest one may share; None where nothing was.
    capped_weight: float32 [], the part of all weight that was taken so that the
      sum hides each client; None where no weighed sum is opened.
    clip: float32 [], the longest that contributions may have been; None where
      nothing bounded them.
  """

  loss_sum: Array
  num_trained: Array
  clipped_values: Array | None
  is_finite: Array
  weights: Array | None = None
  is_sound: Array | None = None
  capped_weight: Array | None = None
  clip: Array | None = None
