"""One run, ready to start: what a config is built into."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from fps_jax.data.cohort import CohortPlanner
from fps_jax.data.on_devices import DeviceData
from fps_jax.devices import put_per_device
from fps_jax.federated.communication import RoundBytes
from fps_jax.federated.gathering import Report
from fps_jax.federated.round import Round, Started
from fps_jax.heterogeneity.clock import Clock
from fps_jax.sharing import protocol
from fps_jax.types import (
  Array,
  PruningPlan,
  RoundMetrics,
  RoundPlan,
  RoundState,
)

# float32 [D], the model -> (images classified right, mean loss in nats).
Evaluate = Callable[[Array], tuple[Array, Array]]


@dataclasses.dataclass(frozen=True)
class Simulation:
  """One run, ready to start; nothing is compiled or initialised yet.

  Attributes:
    planner: draws cohorts.
    round: compiled at its first call.
    evaluate: parameters -> (images right, mean loss), on the test set.
    evaluate_backdoor: the same of images with an attacker's trigger, right
      where they are classified as the attacker wants; None without one.
    num_backdoor: such images.
    is_attacked: whether there are malicious clients; if so, updates that are
      not finite are left out, where otherwise the run stops.
    opened_values: number of kept parameters -> numbers of each single update
      that the central server sees.
    init_state: makes the state before round 0 from the run's seed.
    pruning_plans: how many parameters each round keeps.
    protocol: how the sum over clients is formed.
    sharing_root: uint32 [8], the key that all sharing draws on.
    count_bytes: (plan, tiers of the clients that send, tiers of those of them
      that are summed) -> bytes of a round.
    clock: simulated time; None where clients have no profiles.
    prunes_model: whether the global model is sparse, not what clients send.
    has_codec: whether updates pass through the codec.
    num_params: D.
    num_test: test images.
    key: root key of the run.
    mesh: the devices of all processes.
    put_data: puts the training set on the devices, or returns where it is.
  """

  planner: CohortPlanner
  round: Round
  evaluate: Evaluate
  evaluate_backdoor: Evaluate | None
  num_backdoor: int
  is_attacked: bool
  opened_values: Callable[[int], int]
  init_state: Callable[[], RoundState]
  pruning_plans: tuple[PruningPlan, ...]
  protocol: protocol.SumProtocol
  sharing_root: np.ndarray
  count_bytes: Callable[[PruningPlan, Sequence[int], Sequence[int]], RoundBytes]
  clock: Clock | None
  prunes_model: bool
  has_codec: bool
  num_params: int
  num_test: int
  key: Array
  mesh: Mesh
  put_data: Callable[[], DeviceData]

  def plan(self, round_number: int) -> RoundPlan:
    """Returns the plan of a round, counted from 0."""
    cohort = self.planner.plan(round_number)
    keys = None
    if self.protocol.make_keys is not None:
      keys = self.protocol.make_keys(
        self.sharing_root, round_number, np.asarray(cohort.client_ids)
      )
    cohort = dataclasses.replace(
      cohort, indices=put_per_device(self.mesh, np.asarray(cohort.indices))
    )
    return RoundPlan(
      cohort=cohort,
      pruning=jax.tree.map(np.int32, self.pruning_plans[round_number]),
      opening=self.protocol.opening,
      keys=keys,
    )

  def simulated_seconds(self, round_number: int) -> float | None:
    """Returns how long the clients take; None where they have no profiles."""
    if self.clock is None:
      return None
    draw = self.planner.draw(round_number)
    examples = self.planner.examples_trained(draw.client_ids)
    return self.clock.round_seconds(
      round_number, draw.client_ids, draw.tiers, examples, draw.num_dropped
    )

  def start(
    self, state: RoundState, plan: RoundPlan, data: DeviceData
  ) -> Started:
    """Starts a round; returns at once."""
    return self.round.start(state, plan, self.key, data.images, data.labels)

  def finish(
    self,
    state: RoundState,
    plan: RoundPlan,
    data: DeviceData,
    started: Started,
  ) -> tuple[RoundState, RoundMetrics, Report]:
    """Finishes a round; `state` is donated and must not be used again.

    Raises:
      SharingError: if more servers are wrong than can be told apart.
    """
    return self.round.finish(
      state, plan, self.key, data.images, data.labels, started
    )

  def programs(
    self, state: RoundState, plan: RoundPlan, data: DeviceData
  ) -> tuple[tuple[Any, tuple[Any, ...]], ...]:
    """Returns what a round calls, as `Round.programs`; runs nothing."""
    return self.round.programs(state, plan, self.key, data.images, data.labels)
