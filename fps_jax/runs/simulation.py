"""One run, ready to start: what a config is built into."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from fps_jax.core.devices import put_per_device
from fps_jax.core.types import (
  Array,
  Examples,
  Params,
  PruningPlan,
  RoundMetrics,
  RoundPlan,
  RoundState,
)
from fps_jax.data.cohort import CohortPlanner
from fps_jax.data.dataset import Signature
from fps_jax.federated.collection import AuditFindings, answering
from fps_jax.federated.evaluation import Evaluate
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import RoundInput
from fps_jax.federated.round import Round, Started
from fps_jax.privacy.accounting import Ledger
from fps_jax.privacy.distributed import DistributedPrivacy
from fps_jax.runs.by_client import ByClient
from fps_jax.runs.costs.clock import Clock
from fps_jax.runs.costs.message_bytes import RoundBytes
from fps_jax.runs.faults import ServerFaults
from fps_jax.sharing import randomness
from fps_jax.sharing.audit import SharingError
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.randomness import Purpose


class CountBytes(Protocol):
  """Counts the bytes of a round."""

  def __call__(
    self,
    pruning: PruningPlan,
    tiers: Sequence[int],
    summed_tiers: Sequence[int],
    num_answering: int | None = None,
  ) -> RoundBytes:
    """Returns the bytes, as `message_bytes.ByteCounter`."""


class Evaluation(NamedTuple):
  """Tests of a model.

  Attributes:
    test: parameters -> what the model is worth, on the test set.
    num_test: test targets that count.
    backdoor: the same of images with an attacker's trigger, right where they
      are classified as the attacker wants; None without one.
    num_backdoor: such images.
    by_client: tests of every client; None where they are not asked for.
    validation: as `test`, on training examples that nobody trains on; None
      without any.
    num_validation: such examples.
    stop_at_accuracy: of the validation part, or of the test set without one: a
      run ends with the round whose model has it; 0 for none.
  """

  test: Evaluate
  num_test: int
  backdoor: Evaluate | None = None
  num_backdoor: int = 0
  by_client: ByClient | None = None
  validation: Evaluate | None = None
  num_validation: int = 0
  stop_at_accuracy: float = 0.0


class Completion(NamedTuple):
  """When a round can be completed, and what follows if it cannot.

  Attributes:
    server_faults: which servers fail when; None where none holds shares.
    min_answers: servers that must answer for a sum to be opened.
    min_clients: clients that must report, or the round is tried again; 0 where
      it is not.
    max_retries: attempts at a round beyond the first, before it is skipped;
      None where a round that fails stops the run.
  """

  server_faults: ServerFaults | None
  min_answers: int
  min_clients: int
  max_retries: int | None


class Model(NamedTuple):
  """What a model is made for, and how its parameters lie in one vector.

  Attributes:
    examples: the data set's inputs and targets.
    shapes: of its arrays by their paths, in the order of the vector.
    unravel: [D] -> pytree of parameters, of the vector's type.
  """

  examples: Signature
  shapes: dict[str, tuple[int, ...]]
  unravel: Callable[[Array], Params]

  def to_json(self) -> dict[str, Any]:
    """Returns it as it stands in a variant's `model.json`."""
    return {**self.examples._asdict(), 'shapes': self.shapes}


class Accounts(NamedTuple):
  """What a round's row is made of, besides what devices measure.

  Attributes:
    count_bytes: the bytes of a round.
    clock: simulated time; None where clients have no profiles.
    opened_values: (kept parameters, clients that report) -> numbers of each
      single update that the central server sees.
    emptied_layers: global model -> layers of which pruning left nothing.
    model: what it is made for, and what its parameters are.
    num_params: D.
    shares_mask: whether all clients train and send the same parameters.
    is_attacked: whether there are malicious clients; if so, a run goes on
      although no update of a round is finite: that is what the attack is worth.
    ledger: what rounds spend of clients' privacy; None where none is promised.
  """

  count_bytes: CountBytes
  clock: Clock | None
  opened_values: Callable[[int, int], int]
  emptied_layers: Callable[[Array], list[str]]
  model: Model
  num_params: int
  shares_mask: bool
  is_attacked: bool
  ledger: Ledger | None = None


@dataclasses.dataclass(frozen=True)
class Simulation:
  """One run, ready to start; nothing is compiled or initialised yet.

  Attributes:
    planner: draws cohorts.
    pruning_plans: how many parameters each round keeps.
    round: compiled at its first call.
    protocol: how the sum over clients is formed.
    sharing_root: uint32 [8], the key that all sharing draws on.
    init_state: makes the state before round 0 from the run's seed.
    key: root key of the run.
    mesh: the devices of all processes.
    put_data: puts the training set on the devices, or returns where it is.
    evaluation: tests of a model.
    completion: when a round can be completed.
    accounts: what rows are made of.
  """

  planner: CohortPlanner
  pruning_plans: tuple[PruningPlan, ...]
  round: Round
  protocol: SumProtocol
  sharing_root: np.ndarray
  init_state: Callable[[], RoundState]
  key: Array
  mesh: Mesh
  put_data: Callable[[], Examples]
  evaluation: Evaluation
  completion: Completion
  accounts: Accounts

  def plan(self, round_number: int, attempt: int = 0) -> RoundPlan:
    """Returns the plan of an attempt at a round, both counted from 0."""
    cohort = self.planner.plan(round_number, attempt)
    keys, opening, answers_N = None, self.protocol.opening, None
    faults = self.completion.server_faults
    if faults is not None and self.protocol.make_keys is not None:
      keys = self.protocol.make_keys(
        self.sharing_root,
        round_number,
        np.asarray(cohort.client_ids),
        faults.lying_in(round_number, attempt),
        attempt,
      )
      present = faults.answering(round_number, attempt)
      answers_N = np.isin(faults.scheme.server_points, present)
      # Of too few, nothing is opened; `check_reports` says so.
      if len(present) >= faults.scheme.threshold:
        opening = faults.scheme.opening(present)
    cohort = dataclasses.replace(
      cohort, indices=put_per_device(self.mesh, np.asarray(cohort.indices))
    )
    return RoundPlan(
      cohort=cohort,
      pruning=jax.tree.map(np.int32, self.pruning_plans[round_number]),
      opening=opening,
      keys=keys,
      answers_N=answers_N,
      attempt=np.int32(attempt),
      **self._noise_keys(round_number, attempt, np.asarray(cohort.client_ids)),
    )

  def _noise_keys(
    self, round_number: int, attempt: int, client_ids_C: np.ndarray
  ) -> dict[str, np.ndarray]:
    """Returns the plan's keys of noise, where anybody adds any."""
    privacy = self.round.method.terms.privacy
    if privacy is None:
      return {}
    key_8 = randomness.round_key(self.sharing_root, round_number, attempt)
    if not isinstance(privacy, DistributedPrivacy):
      return {'noise_8': randomness.derive(key_8, Purpose.CENTRAL_NOISE)}
    # Rows of padding, -1, are nobody's: their keys are never used.
    owners_C = client_ids_C.astype(np.uint32)
    keys_Cx1x8 = randomness.keys(key_8, Purpose.CLIENT_NOISE, 1, owners_C)
    return {
      'noise_8': randomness.derive(key_8, Purpose.ROTATION),
      'client_noise_Cx8': keys_Cx1x8[:, 0],
    }

  def plan_without_clients(self, round_number: int, attempt: int) -> RoundPlan:
    """Returns the plan of a round in which nobody reports, and no server fails.

    Args:
      round_number: from 0.
      attempt: number of attempts before.
    """
    plan = self.plan(round_number, attempt)
    cohort, keys, answers_N = plan.cohort, plan.keys, plan.answers_N
    nobody = np.full_like(cohort.client_ids, -1)
    if keys is not None:
      keys = keys._replace(is_lying_N=np.zeros_like(keys.is_lying_N))
      answers_N = np.ones_like(answers_N)
    return dataclasses.replace(
      plan,
      cohort=dataclasses.replace(
        cohort,
        client_ids=nobody,
        num_steps=np.zeros_like(cohort.num_steps),
        num_examples=np.zeros_like(cohort.num_examples),
        malicious=np.zeros_like(cohort.malicious),
      ),
      opening=self.protocol.opening,
      keys=keys,
      answers_N=answers_N,
    )

  def simulated_seconds(
    self, round_number: int, attempt: int = 0
  ) -> float | None:
    """Returns how long the clients take; None where they have no profiles."""
    if self.accounts.clock is None:
      return None
    draw = self.planner.draw(round_number, attempt)
    examples = self.planner.examples_trained(draw.client_ids)
    return self.accounts.clock.round_seconds(
      round_number, draw.client_ids, draw.tiers, examples, draw.num_dropped
    )

  def start(
    self, state: RoundState, plan: RoundPlan, data: Examples
  ) -> Started:
    """Starts a round; returns at once."""
    return self.round.start(self._input(state, plan, data))

  def finish(
    self,
    state: RoundState,
    plan: RoundPlan,
    data: Examples,
    started: Started,
  ) -> tuple[RoundState, RoundMetrics, AuditFindings]:
    """Finishes a round; `state` is donated and must not be used again.

    Raises:
      SharingError: if more servers are wrong than can be told apart. Then
        `state` is as it was, and may be used.
    """
    return self.round.finish(self._input(state, plan, data), started)

  def _input(
    self, state: RoundState, plan: RoundPlan, data: Examples
  ) -> RoundInput:
    return RoundInput(state, plan, self.key, data)

  def check_reports(self, plan: RoundPlan) -> None:
    """Checks that a round can be completed, as far as its plan tells.

    Raises:
      SharingError: if too few servers answer or, where rounds are tried again,
        too few clients report.
    """
    least = self.completion
    if plan.answers_N is not None:
      present = answering(plan.answers_N)
      if len(present) < least.min_answers:
        raise SharingError(
          f'servers {present} answer, {len(present)} where {least.min_answers} '
          'must (sharing.threshold, or sharing.min_answers if set): lower it, '
          'or faults.server_dropout_probability, or set '
          "faults.on_failed_round='retry'"
        )
    num_reporting = int(np.sum(np.asarray(plan.cohort.client_ids) >= 0))
    if num_reporting < least.min_clients:
      raise SharingError(
        f'{num_reporting} clients report, where {least.min_clients} must for '
        'their sum to be opened: draw larger cohorts'
      )

  def programs(
    self, state: RoundState, plan: RoundPlan, data: Examples
  ) -> tuple[Call, ...]:
    """Returns what a round calls, as `Round.programs`; runs nothing."""
    return self.round.programs(self._input(state, plan, data))

  def compile(
    self,
    state: RoundState,
    plan: RoundPlan,
    data: Examples,
    others: Sequence[Call] = (),
  ) -> None:
    """Compiles what a round calls, and what else is to be, side by side.

    Called one after another, each would be compiled when the one before it has
    been, and there are more cores than one. What they raise is raised here.
    """

    def compile_one(call: Call) -> None:
      program, arguments = call
      program.lower(*arguments).compile()

    with futures.ThreadPoolExecutor() as pool:
      # The others are being compiled while the round is traced.
      started = [pool.submit(compile_one, call) for call in others]
      for call in self.programs(state, plan, data):
        started.append(pool.submit(compile_one, call))
      for each in started:
        each.result()

  def tests(self, params_D: Array) -> tuple[Call, ...]:
    """Returns what tests a model, but for those of every client."""
    tests = self.evaluation
    evaluations = (tests.test, tests.backdoor, tests.validation)
    return tuple(
      (each.func, (*each.args, params_D)) for each in evaluations if each
    )
