"""From what a round left behind to its row of metrics."""

import math
from typing import NamedTuple

import numpy as np

from fps_jax.core.types import Array, PruningPlan, RoundPlan
from fps_jax.federated.collection import among_answering, answering
from fps_jax.federated.evaluation import Tested
from fps_jax.results.metrics import (
  ByClientMetrics,
  ClientMetrics,
  CostMetrics,
  MetricsRow,
  ModelMetrics,
  PrivacyMetrics,
  SharingMetrics,
)
from fps_jax.runs.by_client import NOT_ASKED, Counted
from fps_jax.runs.costs.message_bytes import RoundBytes
from fps_jax.runs.retries import Outcome
from fps_jax.runs.simulation import Simulation


class Finished(NamedTuple):
  """A round whose results may still be being computed.

  Attributes:
    round_number: from 0.
    outcome: what came of it.
    test: on the test set; None where it was not evaluated.
    backdoor: the same of images with an attacker's trigger.
    validation: the same of training examples that nobody trains on.
    is_model_finite: bool [], of the global model after it.
    by_client: what is right of each client's; None where it was not tested.
  """

  round_number: int
  outcome: Outcome
  test: Tested | None
  backdoor: Tested | None
  validation: Tested | None
  is_model_finite: Array
  by_client: Counted | None = None


def make_row(simulation: Simulation, finished: Finished) -> MetricsRow:
  """Returns the metrics of a round; `round_seconds` is 0.

  Args:
    simulation: of the run.
    finished: with NumPy's arrays for JAX's.
  """
  return {
    **_of_model(simulation, finished),
    **_by_client(simulation, finished),
    **_of_clients(simulation, finished),
    **_of_sharing(simulation, finished.outcome),
    **_of_privacy(simulation, finished),
    **_of_costs(simulation, finished),
  }


def _kept(simulation: Simulation, pruning: PruningPlan) -> int:
  if simulation.accounts.shares_mask:
    return int(pruning.keep_count)
  return simulation.accounts.num_params


def _of_model(simulation: Simulation, finished: Finished) -> ModelMetrics:
  outcome, test, backdoor = finished.outcome, finished.test, finished.backdoor
  held = finished.validation
  accounts, evaluation = simulation.accounts, simulation.evaluation
  counted_C = outcome.is_counted
  pruning = simulation.pruning_plans[finished.round_number]
  kept, num_left = _kept(simulation, pruning), accounts.num_params
  if accounts.shares_mask:
    num_left = int(pruning.received_counts[-1] - pruning.num_candidates)
  # The exact sums: no row's place matters.
  loss_sum = math.fsum(outcome.metrics.loss_sum[counted_C])
  num_trained = math.fsum(outcome.metrics.num_trained[counted_C])
  if accounts.ledger:
    num_trained = 0.0  # What clients lose is told to nobody.
  test_loss = float(test.loss) if test else 0.0
  train_loss = loss_sum / num_trained if num_trained else 0.0
  is_finite = finished.is_model_finite and math.isfinite(test_loss + train_loss)
  all_left_out = np.any(outcome.is_sent) and not np.any(counted_C)
  # A run under attack goes on for its accuracy.
  has_nothing = (
    test is not None and test.num_right is None and not math.isfinite(test_loss)
  )
  diverged = bool(
    has_nothing
    or ((all_left_out or not is_finite) and not accounts.is_attacked)
  )
  accuracy = _fraction(test, evaluation.num_test)
  held_out = _fraction(held, evaluation.num_validation)
  return {
    'round': finished.round_number + 1,
    'diverged': diverged,
    'reached_accuracy': not diverged
    and _has_reached(
      accuracy if evaluation.validation is None else held_out,
      evaluation.stop_at_accuracy,
    ),
    'validation_accuracy': held_out,
    'validation_loss': _finite(float(held.loss)) if held else None,
    'test_accuracy': accuracy,
    'test_loss': _finite(test_loss) if test else None,
    'train_loss': _finite(train_loss) if num_trained else None,
    'attack_success': _fraction(backdoor, evaluation.num_backdoor),
    'sparsity': 1 - num_left / accounts.num_params,
    'kept_parameters': kept,
  }


def _has_reached(accuracy: float | None, target: float) -> bool:
  return accuracy is not None and 0 < target <= accuracy


def _by_client(simulation: Simulation, finished: Finished) -> ByClientMetrics:
  tests = simulation.evaluation.by_client
  if tests is None or finished.by_client is None:
    return NOT_ASKED
  return tests.summarise(finished.by_client)


def _of_clients(simulation: Simulation, finished: Finished) -> ClientMetrics:
  r, outcome = finished.round_number, finished.outcome
  pruning, cohort = simulation.pruning_plans[r], outcome.plan.cohort
  metrics, malicious_C = outcome.metrics, cohort.malicious
  summed_C = outcome.is_summed
  tiers = cohort.tiers[summed_C].tolist()
  sound_C, capped = metrics.is_sound, metrics.capped_weight
  draw = simulation.planner.draw(r, len(outcome.attempts) - 1)
  return {
    'clients_reporting': len(tiers),
    'clients_malicious': int(np.sum(malicious_C & summed_C)),
    'clients_not_finite': int(np.sum(outcome.is_sent & ~metrics.is_finite)),
    'clients_out_of_range': (
      0 if sound_C is None else int(np.sum(summed_C & ~sound_C))
    ),
    'capped_weight': None if capped is None else float(capped),
    'malicious_weight': _malicious_weight(metrics.weights, malicious_C),
    'opened_values_per_client': simulation.accounts.opened_values(
      _kept(simulation, pruning), len(tiers)
    ),
    'clients_dropped': draw.num_dropped + len(outcome.report.silent_clients),
    'clients_too_slow': draw.num_too_slow,
    'clients_per_tier': [
      tiers.count(tier) for tier in range(len(pruning.keep_counts_T))
    ],
  }


def _of_sharing(simulation: Simulation, outcome: Outcome) -> SharingMetrics:
  answers_N = outcome.attempts[-1].answers_N
  missing = np.array([]) if answers_N is None else np.flatnonzero(~answers_N)
  correctable, detectable = audit_bounds(simulation, outcome)
  return {
    'clipped_fraction': _clipped_fraction(simulation, outcome),
    'failed_attempts': len(outcome.failed),
    'missing_servers': (1 + missing).tolist(),
    'wrong_servers': list(outcome.report.wrong_servers),
    'wrong_servers_correctable': correctable,
    'wrong_servers_detectable': detectable,
    'inconsistent_clients': list(outcome.report.inconsistent_clients),
  }


def _of_privacy(simulation: Simulation, finished: Finished) -> PrivacyMetrics:
  ledger, clip = simulation.accounts.ledger, finished.outcome.metrics.clip
  return {
    'epsilon': ledger.epsilon(finished.round_number + 1) if ledger else None,
    'clip_norm': None if clip is None else float(clip),
  }


def _of_costs(simulation: Simulation, finished: Finished) -> CostMetrics:
  r, attempts = finished.round_number, finished.outcome.attempts
  sent = [
    _count_bytes(
      simulation, simulation.pruning_plans[r], attempt, finished.outcome
    )
    for attempt in attempts
  ]
  all_seconds = (
    simulation.simulated_seconds(r, attempt) for attempt in range(len(attempts))
  )
  seconds = [each for each in all_seconds if each is not None]
  return {
    'uplink_bytes_per_client': math.fsum(
      each.uplink_per_client for each in sent
    ),
    'downlink_bytes_per_client': math.fsum(
      each.downlink_per_client for each in sent
    ),
    'server_to_central_bytes': sum(each.server_to_central for each in sent),
    'simulated_seconds': math.fsum(seconds) if seconds else None,
    'round_seconds': 0.0,
  }


def _count_bytes(
  simulation: Simulation,
  pruning: PruningPlan,
  attempt: RoundPlan,
  outcome: Outcome,
) -> RoundBytes:
  cohort = attempt.cohort
  is_sent_C = cohort.client_ids >= 0
  # Of one that failed, all that send were to be summed.
  is_summed_C = outcome.is_summed if attempt is outcome.plan else is_sent_C
  return simulation.accounts.count_bytes(
    pruning,
    cohort.tiers[is_sent_C].tolist(),
    cohort.tiers[is_summed_C].tolist(),
    None if attempt.answers_N is None else len(answering(attempt.answers_N)),
  )


def audit_bounds(
  simulation: Simulation, outcome: Outcome
) -> tuple[int, int] | tuple[None, None]:
  """Returns how many wrong sums a round's audit could bear, and notice."""
  if simulation.completion.server_faults is None or outcome.is_skipped:
    return None, None
  auditor = simulation.protocol.auditor
  if auditor is None:
    return 0, 0
  auditor = among_answering(auditor, outcome.plan)
  return auditor.num_correctable, auditor.num_detectable


def _clipped_fraction(simulation: Simulation, outcome: Outcome) -> float | None:
  """Returns the part of what counted clients share that the codec clipped."""
  plan, counted_C = outcome.plan, outcome.is_counted
  tiers, clipped_C = (
    plan.cohort.tiers[counted_C],
    outcome.metrics.clipped_values,
  )
  if simulation.protocol.field is None or not len(tiers):
    return None
  if simulation.accounts.ledger or clipped_C is None:
    return None
  num_values = int(plan.pruning.keep_counts_T[tiers].sum())
  return int(clipped_C[counted_C].sum()) / num_values


def _finite(loss: float) -> float | None:
  return loss if math.isfinite(loss) else None


def _fraction(tested: Tested | None, count: int) -> float | None:
  """Returns the part of targets that is right; None where none may be."""
  if tested is None or tested.num_right is None:
    return None
  return int(tested.num_right) / count


def _malicious_weight(
  weights_C: Array | None, malicious_C: Array
) -> float | None:
  if weights_C is None or not np.sum(weights_C):
    return None
  return float(np.sum(weights_C[malicious_C]) / np.sum(weights_C))
