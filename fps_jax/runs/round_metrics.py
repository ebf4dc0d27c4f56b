"""From what a round left behind to its row of metrics."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fps_jax.core.types import Array, RoundMetrics, RoundPlan
from fps_jax.federated.gathering import among_answering, answering
from fps_jax.results.metrics import MetricsRow
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


def make_row(simulation: Simulation, finished: Finished) -> MetricsRow:
  """Returns the metrics of a round; `round_seconds` is 0.

  Args:
    simulation: of the run.
    finished: with NumPy's arrays for JAX's.
  """
  r, outcome, test, backdoor, is_model_finite = finished
  plan, metrics, report = outcome.plan, outcome.metrics, outcome.report
  client_ids, malicious_C = plan.cohort.client_ids, plan.cohort.malicious
  is_sent = client_ids >= 0
  is_left_out = np.isin(client_ids, report.inconsistent_clients)
  is_summed = is_sent & ~is_left_out & metrics.is_finite
  pruning = simulation.pruning_plans[r]
  kept, num_left = simulation.num_params, simulation.num_params
  if simulation.prunes_model:
    kept = int(pruning.keep_count)
    num_left = kept - int(pruning.num_candidates)
  summed_tiers = plan.cohort.tiers[is_summed].tolist()
  attempts = outcome.attempts
  sent = [
    _count_bytes(
      simulation, r, attempt, summed_tiers if attempt is plan else None
    )
    for attempt in attempts
  ]
  # The exact sums: no row's place matters.
  counted = is_sent & metrics.is_finite
  loss_sum = math.fsum(metrics.loss_sum[counted])
  num_trained = math.fsum(metrics.num_trained[counted])
  test_loss = float(test[1]) if test else 0.0
  train_loss = loss_sum / num_trained if num_trained else 0.0
  is_finite = is_model_finite and math.isfinite(test_loss + train_loss)
  all_left_out = np.any(is_sent) and not np.any(counted)
  draw = simulation.planner.draw(r, len(attempts) - 1)
  correctable, detectable = audit_bounds(simulation, outcome)
  return {
    'round': r + 1,
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
    'kept_parameters': kept,
    'clients_reporting': len(summed_tiers),
    'clients_malicious': int(np.sum(malicious_C & is_summed)),
    'clients_not_finite': int(np.sum(is_sent & ~metrics.is_finite)),
    'clients_out_of_range': (
      0
      if metrics.is_sound is None
      else int(np.sum(is_summed & ~metrics.is_sound))
    ),
    'capped_weight': (
      None if metrics.capped_weight is None else float(metrics.capped_weight)
    ),
    'malicious_weight': _malicious_weight(metrics.weights, malicious_C),
    'opened_values_per_client': simulation.opened_values(
      kept, len(summed_tiers)
    ),
    'clients_dropped': draw.num_dropped,
    'clients_too_slow': draw.num_too_slow,
    'clients_per_tier': [
      summed_tiers.count(tier) for tier in range(len(pruning.keep_counts_T))
    ],
    'clipped_fraction': _clipped_fraction(simulation, plan, metrics, counted),
    'failed_attempts': len(outcome.failed),
    'missing_servers': _missing_servers(attempts[-1]),
    'wrong_servers': list(report.wrong_servers),
    'wrong_servers_correctable': correctable,
    'wrong_servers_detectable': detectable,
    'inconsistent_clients': list(report.inconsistent_clients),
    'uplink_bytes_per_client': math.fsum(
      each.uplink_per_client for each in sent
    ),
    'downlink_bytes_per_client': math.fsum(
      each.downlink_per_client for each in sent
    ),
    'server_to_central_bytes': sum(each.server_to_central for each in sent),
    'simulated_seconds': _simulated_seconds(simulation, r, len(attempts)),
    'round_seconds': 0.0,
  }


def _count_bytes(
  simulation: Simulation,
  round_number: int,
  plan: RoundPlan,
  summed_tiers: Sequence[int] | None,
) -> RoundBytes:
  """Returns the bytes of an attempt; None: all that send are summed."""
  cohort = plan.cohort
  tiers = cohort.tiers[cohort.client_ids >= 0].tolist()
  return simulation.count_bytes(
    simulation.pruning_plans[round_number],
    tiers,
    tiers if summed_tiers is None else summed_tiers,
    None if plan.answers_N is None else len(answering(plan.answers_N)),
  )


def _missing_servers(plan: RoundPlan) -> list[int]:
  if plan.answers_N is None:
    return []
  return (np.flatnonzero(~plan.answers_N) + 1).tolist()


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


def _clipped_fraction(
  simulation: Simulation,
  plan: RoundPlan,
  metrics: RoundMetrics,
  counted_C: np.ndarray,
) -> float | None:
  """Returns the part of what these clients share that the codec clipped."""
  tiers = plan.cohort.tiers[counted_C]
  if not simulation.has_codec or not len(tiers):
    return None
  num_values = int(plan.pruning.keep_counts_T[tiers].sum())
  return int(metrics.clipped_values[counted_C].sum()) / num_values


def _simulated_seconds(
  simulation: Simulation, round_number: int, num_attempts: int
) -> float | None:
  seconds = [
    simulation.simulated_seconds(round_number, attempt)
    for attempt in range(num_attempts)
  ]
  known = [second for second in seconds if second is not None]
  return math.fsum(known) if known else None


def _finite(nats: float) -> float | None:
  """Returns a loss; None where it is not finite."""
  return nats if math.isfinite(nats) else None


def _malicious_weight(
  weights_C: Array | None, malicious_C: Array
) -> float | None:
  """Returns the part of all weight that malicious clients have."""
  if weights_C is None or not np.sum(weights_C):
    return None
  return float(np.sum(weights_C[malicious_C]) / np.sum(weights_C))
