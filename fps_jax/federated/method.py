"""What makes up a round: its parts, fixed while a run lasts, and its input."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.attacks.updates import UpdateAttack
from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import (
  Array,
  Examples,
  Key,
  Params,
  PruningPlan,
  RoundPlan,
  RoundState,
)
from fps_jax.defences import Defence
from fps_jax.federated import layout
from fps_jax.federated.client import ClientResult, LocalUpdate
from fps_jax.federated.contributions import Summation
from fps_jax.federated.performance import Performance
from fps_jax.privacy.distributed import DistributedPrivacy, Privacy
from fps_jax.pruning.pruner import Pruner
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.sketches.projection import Projection
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch


class RoundInput(NamedTuple):
  """What a round goes by.

  Attributes:
    state: before the round.
    plan: of the round.
    key: the run's root key, into which each round folds its number.
    examples: the training set, which stays on the devices.
  """

  state: RoundState
  plan: RoundPlan
  key: Key
  examples: Examples

  def round_key(self, stream: Stream) -> Key:
    """Returns the round's key of a stream, the same in every attempt."""
    return device_key(self.key, stream, self.state.round)

  def attempt_key(self, stream: Stream) -> Key:
    """Returns the key of a stream of this attempt at the round."""
    number = self.plan.draw_number(self.state.round)
    return device_key(self.key, stream, number)


class TrainRoot(Protocol):
  """The central server's training on examples of its own."""

  def __call__(
    self, params: Params, mask: Params | None, round: Array, key: Key
  ) -> ClientResult:
    """Trains as clients do in that round, on batches drawn by the key."""


class Opened(NamedTuple):
  """What servers open of each update for a defence, over the protocol's field.

  Attributes:
    sketch: what inner products are estimated by.
    range_check: what finds words that cancel out in a sketch.
    projection: products with the central server's own update; None where the
      defence needs none.
  """

  sketch: Sketch
  range_check: RangeCheck
  projection: Projection | None


class Guard(NamedTuple):
  """What is done to updates between training and summing.

  Attributes:
    attack: what malicious clients do to theirs; None sends what they trained.
    defence: what weighs updates; None weighs all the same.
    opened: what servers open of updates for the defence; None where the central
      server sees every update.
    train_root: training on the central server's own examples; None where the
      defence needs none.
    seed_known: whether malicious clients know the seed of sketches before they
      share, as they would if it were drawn too early.
  """

  attack: UpdateAttack | None
  defence: Defence | None
  opened: Opened | None
  train_root: TrainRoot | None
  seed_known: bool = False


class Terms(NamedTuple):
  """On which sums are opened.

  Attributes:
    max_count: largest sample count of a client.
    min_contributors: clients that a band must be the sum of to be opened.
    privacy: the bound on contributions, and noise; None where there is none.
  """

  max_count: int
  min_contributors: int
  privacy: Privacy | None = None


class Method(NamedTuple):
  """The parts of a round.

  Attributes:
    local_update: local training of one client.
    protocol: how the sum over clients is formed.
    tiling: how updates are cut to be summed.
    server_optimizer: the central server's optimiser.
    unravel: [D] -> pytree of parameters, of the vector's type.
    pruner: how parameters are chosen, or None for no shared mask.
    mask: a member of `selection.MASKS`; other than `'shared'`, what clients
      send of their updates.
    exempt_D: bool [D], what a mask of a client's own always has.
    terms: on which sums are opened.
    performance: chunk size and execution.
    guard: attacks on updates and the defence; None where there are none.
    units_R: float32 [rounds], above 0: in which units updates are attacked,
      weighed and shared in each round; None for 1.
  """

  local_update: LocalUpdate
  protocol: SumProtocol
  tiling: layout.Tiling
  server_optimizer: optax.GradientTransformation
  unravel: Callable[[Array], Params]
  pruner: Pruner | None
  mask: str
  exempt_D: np.ndarray
  terms: Terms
  performance: Performance
  guard: Guard | None = None
  units_R: np.ndarray | None = None

  def unit(self, round: Array) -> Array | float:
    """Returns the unit of updates in a round, float32 [] or 1."""
    return 1.0 if self.units_R is None else jnp.asarray(self.units_R)[round]

  def in_units(self, result: ClientResult, round: Array) -> ClientResult:
    """Returns what training in that round gave, its update in units."""
    unit = self.unit(round)
    delta = jax.tree.map(lambda leaf: leaf / unit, result.delta)
    return result._replace(delta=delta)

  def counts_at(self, pruning: PruningPlan) -> tuple[layout.Count, ...]:
    """Returns the position of each band's sample count."""
    keep_counts_T = pruning.keep_counts_T
    if self.pruner is None:
      # All D: a count that is not traced makes a smaller program.
      keep_counts_T = np.array(self.exempt_D.shape, np.int32)
    if isinstance(self.terms.privacy, DistributedPrivacy):
      keep_counts_T = self.terms.privacy.shared(keep_counts_T)
    return layout.counts_at(keep_counts_T, self.protocol.alignment)

  def summation(self, inputs: RoundInput, kept: Array | None) -> Summation:
    """Returns how updates are summed in a round; see `Summation`."""
    return Summation(
      protocol=self.protocol,
      tiling=self.tiling,
      plan=inputs.plan,
      counts_at=self.counts_at(inputs.plan.pruning),
      kept=kept,
      max_count=self.terms.max_count,
      round_key=inputs.round_key(Stream.UPDATE),
      performance=self.performance,
      privacy=self.terms.privacy,
      clip=inputs.state.clip,
    )
