"""A round that cannot be completed: stopped at, skipped or tried again."""

import dataclasses
from typing import NamedTuple

import numpy as np

from fps_jax.core.types import Examples, RoundMetrics, RoundPlan, RoundState
from fps_jax.federated.collection import AuditFindings
from fps_jax.federated.round import Started
from fps_jax.runs.simulation import Simulation
from fps_jax.sharing.audit import SharingError


class Outcome(NamedTuple):
  """What came of a round.

  Attributes:
    plan: of the attempt that succeeded, or without clients if none did; what
      it drew on, keys and examples, is left out.
    metrics: what it measured.
    report: what its audit found.
    failed: plans of the attempts that failed, in order.
    is_skipped: whether all did.
  """

  plan: RoundPlan
  metrics: RoundMetrics
  report: AuditFindings
  failed: tuple[RoundPlan, ...] = ()
  is_skipped: bool = False

  @property
  def attempts(self) -> tuple[RoundPlan, ...]:
    """The plans of all attempts, in order."""
    return self.failed if self.is_skipped else (*self.failed, self.plan)

  @property
  def is_sent(self) -> np.ndarray:
    """Which rows' clients report, bool [C]."""
    return self.plan.cohort.client_ids >= 0

  @property
  def is_counted(self) -> np.ndarray:
    """Those of them whose update is finite, bool [C]."""
    return self.is_sent & self.metrics.is_finite

  @property
  def is_summed(self) -> np.ndarray:
    """Those of them that the audit left in the sum, bool [C]."""
    left_out = self.report.inconsistent_clients
    return self.is_counted & ~np.isin(self.plan.cohort.client_ids, left_out)


def finish(
  simulation: Simulation,
  round_number: int,
  state: RoundState,
  plan: RoundPlan,
  data: Examples,
  started: Started,
) -> tuple[RoundState, Outcome]:
  """Finishes a round, with other clients and keys if that fails.

  Guarantees:
    - an attempt that fails leaves no trace in the model, and a round that is
      skipped is one in which no client reports;
    - no attempt uses the keys of another to share, nor its draws of clients,
      batches, faults of servers, sketches and defences. All else is drawn for
      the round, alike in every attempt: how updates are rounded, attacks, the
      central server's batches, and what is regrown.

  Args:
    simulation: of the run.
    round_number: from 0.
    state: before the round; donated.
    plan: of the first attempt.
    data: the training set.
    started: what the simulation's `start` returned of it.

  Returns:
    The state after the round, and what came of it.

  Raises:
    SharingError: if the round fails and the simulation neither skips nor
      retries.
  """
  failed: tuple[RoundPlan, ...] = ()
  is_skipped = False
  while True:
    try:
      if not is_skipped:
        simulation.check_reports(plan)
      if failed:
        started = simulation.start(state, plan, data)
      state, metrics, report = simulation.finish(state, plan, data, started)
      plan = _without_silent(plan, report)
      outcome = Outcome(_strip(plan), metrics, report, failed, is_skipped)
      return state, outcome
    except SharingError as error:
      if simulation.completion.max_retries is None or is_skipped:
        raise SharingError(f'round {round_number + 1}: {error}') from error
    failed = (*failed, _strip(plan))
    is_skipped = len(failed) > simulation.completion.max_retries
    replan = simulation.plan_without_clients if is_skipped else simulation.plan
    plan = replan(round_number, len(failed))


def _without_silent(plan: RoundPlan, report: AuditFindings) -> RoundPlan:
  """Returns a plan of those that did report and answer."""
  ids_C, answers_N = np.asarray(plan.cohort.client_ids), plan.answers_N
  ids_C = np.where(np.isin(ids_C, report.silent_clients), -1, ids_C)
  if answers_N is not None:
    numbers_N = 1 + np.arange(len(answers_N))
    answers_N = answers_N & ~np.isin(numbers_N, report.silent_servers)
  cohort = dataclasses.replace(plan.cohort, client_ids=ids_C)
  return dataclasses.replace(plan, cohort=cohort, answers_N=answers_N)


def _strip(plan: RoundPlan) -> RoundPlan:
  """Returns a plan without what lies on the devices of other processes."""
  cohort = dataclasses.replace(plan.cohort, indices=None)
  return dataclasses.replace(
    plan,
    cohort=cohort,
    keys=None,
    opening=None,
    noise_8=None,
    client_noise_Cx8=None,
  )
