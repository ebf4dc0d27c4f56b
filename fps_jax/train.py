"""The training loop of one run: rounds, evaluation, one row of metrics each."""

import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from fps_jax import profiling
from fps_jax.federated.gathering import Report
from fps_jax.metrics import MetricsRow
from fps_jax.sharing.audit import SharingError
from fps_jax.simulation import Simulation
from fps_jax.types import Array, RoundMetrics, RoundState


class _Dispatched(NamedTuple):
  """A round whose results may still be being computed."""

  round_number: int
  client_ids: np.ndarray
  tiers: np.ndarray
  malicious: np.ndarray
  metrics: RoundMetrics
  report: Report
  test: tuple[Array, Array] | None
  backdoor: tuple[Array, Array] | None


def train(
  simulation: Simulation,
  num_rounds: int,
  eval_every_rounds: int,
  on_row: Callable[[MetricsRow], None],
  profile: pathlib.Path | None = None,
) -> RoundState:
  """Runs a simulation from its first round to its last.

  While devices compute a round, the host plans the next one and fetches the
  metrics of the one before.

  Args:
    simulation: what to run.
    num_rounds: rounds to run, at least 1.
    eval_every_rounds: rounds between evaluations; the last one is always
      evaluated.
    on_row: called with each round's metrics, in order.
    profile: folder for a trace of the second round, or of the only one.

  Returns:
    The state after the last round.

  Raises:
    FloatingPointError: if a client's update is not finite. The rows of the
      rounds before have been handed to `on_row` by then.
    SharingError: if more servers are wrong than can be told apart.
  """
  data = simulation.put_data()
  state = simulation.init_state()
  waiting: _Dispatched | None = None
  clock = _clock()
  next(clock)
  plan = simulation.plan(0)
  for r in range(num_rounds):
    is_last = r + 1 == num_rounds
    traced = profile if r == min(1, num_rounds - 1) else None
    with profiling.trace(traced, state) as wait_if_traced:
      started = simulation.start(state, plan, data)
      next_plan = plan if is_last else simulation.plan(r + 1)
      if waiting:
        on_row(_fetch_row(simulation, waiting, clock))
      try:
        state, metrics, report = simulation.finish(state, plan, data, started)
      except SharingError as error:
        raise SharingError(f'round {r + 1}: {error}') from error
      is_due = is_last or (r + 1) % eval_every_rounds == 0
      test = simulation.evaluate(state.params) if is_due else None
      backdoor = None
      if is_due and simulation.evaluate_backdoor is not None:
        backdoor = simulation.evaluate_backdoor(state.params)
      wait_if_traced((state, test, backdoor))
    cohort = plan.cohort
    waiting = _Dispatched(
      r,
      cohort.client_ids,
      cohort.tiers,
      cohort.malicious,
      metrics,
      report,
      test,
      backdoor,
    )
    plan = next_plan
  if waiting:
    on_row(_fetch_row(simulation, waiting, clock))
  return state


def _clock() -> Iterator[float]:
  """Yields the seconds since it was last asked."""
  last = time.perf_counter()
  while True:
    now = time.perf_counter()
    yield now - last
    last = now


def _fetch_row(
  simulation: Simulation, dispatched: _Dispatched, clock: Iterator[float]
) -> MetricsRow:
  r, client_ids, tiers_C, malicious_C, metrics, report, test, backdoor = (
    jax.device_get(dispatched)
  )
  is_attacked = simulation.is_attacked
  if not is_attacked:
    _check_finite(r, client_ids, metrics.is_finite)
  pruning = simulation.pruning_plans[r]
  tiers = tiers_C[client_ids >= 0].tolist()
  is_left_out = np.isin(client_ids, report.inconsistent_clients)
  summed_tiers = tiers_C[(client_ids >= 0) & ~is_left_out].tolist()
  sending = len(tiers)
  kept = simulation.num_params
  if simulation.prunes_model:
    kept = int(pruning.keep_count)
  sent = simulation.count_bytes(pruning, tiers, summed_tiers)
  clipped = None
  # The exact sums: no row's place matters.
  counted = (client_ids >= 0) & metrics.is_finite
  loss_sum = math.fsum(metrics.loss_sum[counted])
  num_trained = math.fsum(metrics.num_trained[counted])
  if simulation.has_codec and sending:
    num_values = int(pruning.keep_counts_T[tiers].sum())
    clipped = int(metrics.clipped_values[counted].sum()) / num_values
  return {
    'round': r + 1,
    'test_accuracy': int(test[0]) / simulation.num_test if test else None,
    'test_loss_nats': _loss(float(test[1]), is_attacked) if test else None,
    'train_loss_nats': (
      _loss(loss_sum / num_trained, is_attacked) if num_trained else None
    ),
    'attack_success': (
      int(backdoor[0]) / simulation.num_backdoor if backdoor else None
    ),
    'sparsity': 1 - kept / simulation.num_params,
    'kept_parameters': kept,
    'clients_reporting': len(summed_tiers),
    'clients_malicious': int(np.sum(malicious_C & ~is_left_out)),
    'clients_not_finite': int(np.sum((client_ids >= 0) & ~metrics.is_finite)),
    'malicious_weight': _malicious_weight(metrics.weights, malicious_C),
    'opened_values_per_client': simulation.opened_values(kept),
    'clients_too_slow': simulation.planner.draw(r).num_too_slow,
    'clients_per_tier': [
      summed_tiers.count(tier) for tier in range(len(pruning.keep_counts_T))
    ],
    'clipped_fraction': clipped,
    'wrong_servers': list(report.wrong_servers),
    'inconsistent_clients': list(report.inconsistent_clients),
    'uplink_bytes_per_client': sent.uplink_per_client,
    'downlink_bytes_per_client': sent.downlink_per_client,
    'server_to_central_bytes': sent.server_to_central,
    'simulated_seconds': simulation.simulated_seconds(r),
    'round_seconds': next(clock),
  }


def _loss(nats: float, is_attacked: bool) -> float | None:
  """Returns a loss; None where an attack has made it infinite."""
  return None if is_attacked and not math.isfinite(nats) else nats


def _malicious_weight(
  weights_C: np.ndarray | None, malicious_C: np.ndarray
) -> float | None:
  """Returns the part of all weight that malicious clients have."""
  if weights_C is None or not np.sum(weights_C):
    return None
  return float(np.sum(weights_C[malicious_C]) / np.sum(weights_C))


def _check_finite(
  round_number: int, client_ids: np.ndarray, is_finite: np.ndarray
) -> None:
  bad = client_ids[(client_ids >= 0) & ~is_finite]
  if len(bad):
    raise FloatingPointError(
      f'round {round_number + 1}: the updates of clients '
      f'{sorted(bad.tolist())} are not finite, their training diverged: lower '
      'client.learning_rate or client.momentum'
    )
