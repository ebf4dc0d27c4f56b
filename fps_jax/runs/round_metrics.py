"""From what a round left behind to its row of metrics."""

import math
from typing import NamedTuple

import numpy as np

from fps_jax.core.types import Array, PruningPlan, RoundPlan
from fps_jax.federated.collection import among_answering, answering
from fps_jax.results.metrics import (
  ClientMetrics,
  CostMetrics,
  MetricsRow,
  ModelMetrics,
  SharingMetrics,
)
from fps_jax.runs.costs.message_bytes import RoundBytes
from fps_jax.runs.retries import Outcome
from fps_jax.runs.simulation import Simulation


class Finished(NamedTuple):
  """A round whose results may still be being computed.

  Attributes:
    round_number: from 0.
    outcome: what came of it.
    test: (images right, mean loss) on the test set; None where it was not
      evaluated.
    backdoor: the same of images with an attacker's trigger.
    is_model_finite: bool [], of the global model after it.
  """

  round_number: int
  outcome: Outcome
  test: tuple[Array, Array] | None
  backdoor: tuple[Array, Array] | None
  is_model_finite: Array


class _Round(NamedTuple):
  """A finished round, with what several groups of its metrics tell.

  Attributes:
    simulation: of the run.
    finished: with NumPy's arrays for JAX's.
    is_sent: bool [C], rows whose client reports.
    is_counted: bool [C], those whose update is finite.
    is_summed: bool [C], those of them that the audit left in the sum.
    kept: parameters that the clients train which train most.
  """

  simulation: Simulation
  finished: Finished
  is_sent: np.ndarray
  is_counted: np.ndarray
  is_summed: np.ndarray
  kept: int

  @property
  def pruning(self) -> PruningPlan:
    return self.simulation.pruning_plans[self.finished.round_number]

  @property
  def summed_tiers(self) -> list[int]:
    return self.finished.outcome.plan.cohort.tiers[self.is_summed].tolist()


def make_row(simulation: Simulation, finished: Finished) -> MetricsRow:
  """Returns the metrics of a round; `round_seconds` is 0.

  Args:
    simulation: of the run.
    finished: with NumPy's arrays for JAX's.
  """
  outcome = finished.outcome
  client_ids = outcome.plan.cohort.client_ids
  is_sent = client_ids >= 0
  is_counted = is_sent & outcome.metrics.is_finite
  is_left_out = np.isin(client_ids, outcome.report.inconsistent_clients)
  kept = simulation.num_params
  if simulation.prunes_model:
    kept = int(simulation.pruning_plans[finished.round_number].keep_count)
  this = _Round(
    simulation, finished, is_sent, is_counted, is_counted & ~is_left_out, kept
  )
  return {
    **_of_model(this),
    **_of_clients(this),
    **_of_sharing(this),
    **_of_costs(this),
  }


def _of_model(this: _Round) -> ModelMetrics:
  simulation, finished, counted = (
    this.simulation,
    this.finished,
    this.is_counted,
  )
  test, backdoor = finished.test, finished.backdoor
  num_left = this.kept
  if simulation.prunes_model:
    num_left -= int(this.pruning.num_candidates)
  # The exact sums: no row's place matters.
  loss_sum = math.fsum(finished.outcome.metrics.loss_sum[counted])
  num_trained = math.fsum(finished.outcome.metrics.num_trained[counted])
  test_loss = float(test[1]) if test else 0.0
  train_loss = loss_sum / num_trained if num_trained else 0.0
  is_finite = finished.is_model_finite and math.isfinite(test_loss + train_loss)
  all_left_out = np.any(this.is_sent) and not np.any(counted)
  return {
    'round': finished.round_number + 1,
    'diverged': bool(
      (all_left_out or not is_finite) and not simulation.is_attacked
    ),
    'test_accuracy': int(test[0]) / simulation.num_test if test else None,
    'test_loss_nats': _finite(test_loss) if test else None,
    'train_loss_nats': _finite(train_loss) if num_trained else None,
    'attack_success': (
      int(backdoor[0]) / simulation.num_backdoor if backdoor else None
    ),
    'sparsity': 1 - num_left / simulation.num_params,
    'kept_parameters': this.kept,
  }


def _of_clients(this: _Round) -> ClientMetrics:
  outcome, tiers = this.finished.outcome, this.summed_tiers
  metrics, malicious_C = outcome.metrics, outcome.plan.cohort.malicious
  sound_C, capped = metrics.is_sound, metrics.capped_weight
  last_attempt = len(outcome.attempts) - 1
  draw = this.simulation.planner.draw(this.finished.round_number, last_attempt)
  return {
    'clients_reporting': len(tiers),
    'clients_malicious': int(np.sum(malicious_C & this.is_summed)),
    'clients_not_finite': int(np.sum(this.is_sent & ~this.is_counted)),
    'clients_out_of_range': (
      0 if sound_C is None else int(np.sum(this.is_summed & ~sound_C))
    ),
    'capped_weight': None if capped is None else float(capped),
    'malicious_weight': _malicious_weight(metrics.weights, malicious_C),
    'opened_values_per_client': this.simulation.opened_values(
      this.kept, len(tiers)
    ),
    'clients_dropped': draw.num_dropped,
    'clients_too_slow': draw.num_too_slow,
    'clients_per_tier': [
      tiers.count(tier) for tier in range(len(this.pruning.keep_counts_T))
    ],
  }


def _of_sharing(this: _Round) -> SharingMetrics:
  outcome = this.finished.outcome
  answers_N = outcome.attempts[-1].answers_N
  missing = np.array([]) if answers_N is None else np.flatnonzero(~answers_N)
  correctable, detectable = audit_bounds(this.simulation, outcome)
  return {
    'clipped_fraction': _clipped_fraction(this),
    'failed_attempts': len(outcome.failed),
    'missing_servers': (1 + missing).tolist(),
    'wrong_servers': list(outcome.report.wrong_servers),
    'wrong_servers_correctable': correctable,
    'wrong_servers_detectable': detectable,
    'inconsistent_clients': list(outcome.report.inconsistent_clients),
  }


def _of_costs(this: _Round) -> CostMetrics:
  attempts = this.finished.outcome.attempts
  sent = [_count_bytes(this, attempt) for attempt in attempts]
  seconds = [
    second
    for attempt in range(len(attempts))
    if (
      second := this.simulation.simulated_seconds(
        this.finished.round_number, attempt
      )
    )
    is not None
  ]
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


def _count_bytes(this: _Round, attempt: RoundPlan) -> RoundBytes:
  cohort = attempt.cohort
  tiers = cohort.tiers[cohort.client_ids >= 0].tolist()
  # Of one that failed, all that send were to be summed.
  is_last = attempt is this.finished.outcome.plan
  return this.simulation.count_bytes(
    this.pruning,
    tiers,
    this.summed_tiers if is_last else tiers,
    None if attempt.answers_N is None else len(answering(attempt.answers_N)),
  )


def audit_bounds(
  simulation: Simulation, outcome: Outcome
) -> tuple[int, int] | tuple[None, None]:
  """Returns how many wrong sums a round's audit could bear, and notice."""
  if simulation.server_faults is None or outcome.is_skipped:
    return None, None
  auditor = simulation.protocol.auditor
  if auditor is None:
    return 0, 0
  auditor = among_answering(auditor, outcome.plan)
  return auditor.num_correctable, auditor.num_detectable


def _clipped_fraction(this: _Round) -> float | None:
  """Returns the part of what counted clients share that the codec clipped."""
  plan, metrics = this.finished.outcome.plan, this.finished.outcome.metrics
  tiers = plan.cohort.tiers[this.is_counted]
  if not this.simulation.has_codec or not len(tiers):
    return None
  num_values = int(plan.pruning.keep_counts_T[tiers].sum())
  return int(metrics.clipped_values[this.is_counted].sum()) / num_values


def _finite(nats: float) -> float | None:
  return nats if math.isfinite(nats) else None


def _malicious_weight(
  weights_C: Array | None, malicious_C: Array
) -> float | None:
  if weights_C is None or not np.sum(weights_C):
    return None
  return float(np.sum(weights_C[malicious_C]) / np.sum(weights_C))
