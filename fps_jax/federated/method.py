"""What makes up a round; all of it fixed while a run lasts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optax

from fps_jax.attacks.updates import UpdateAttack
from fps_jax.core.types import Array, Key, Params, RoundPlan
from fps_jax.defences import Defence
from fps_jax.federated.client import ClientResult, LocalUpdate
from fps_jax.federated.performance import Performance
from fps_jax.federated.sums import Summation
from fps_jax.federated.tiling import Tiling
from fps_jax.pruning.pruner import Pruner
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.sketches.projection import Projection
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch

# (received parameters, mask or None, key) -> the central server's own training.
TrainRoot = Callable[[Params, Params | None, Key], ClientResult]


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
  """

  attack: UpdateAttack | None
  defence: Defence | None
  opened: Opened | None
  train_root: TrainRoot | None


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
    max_count: largest sample count of a client.
    min_contributors: clients that a band must be the sum of to be opened.
    guard: attacks on updates and the defence; None where there are none.
  """

  local_update: LocalUpdate
  protocol: SumProtocol
  tiling: Tiling
  server_optimizer: optax.GradientTransformation
  unravel: Callable[[Array], Params]
  pruner: Pruner | None
  mask: str
  exempt_D: np.ndarray
  max_count: int
  min_contributors: int
  guard: Guard | None = None

  def summation(
    self,
    plan: RoundPlan,
    kept: Array | None,
    round_key: Key,
    performance: Performance,
  ) -> Summation:
    """Returns how updates are summed in a round; see `Summation`."""
    return Summation(
      self.protocol,
      self.tiling,
      plan,
      kept,
      self.max_count,
      round_key,
      performance,
    )
