"""The training loop of one run: rounds, evaluation, one row of metrics each."""

import pathlib
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from fps_jax.core.interruption import Interruption, StoppedError
from fps_jax.core.types import Array, RoundState
from fps_jax.results.metrics import MetricsRow
from fps_jax.runs import profiling, retries
from fps_jax.runs.checkpoints import Checkpoints
from fps_jax.runs.round_metrics import Finished, make_row
from fps_jax.runs.simulation import Simulation


def train(
  simulation: Simulation,
  num_rounds: int,
  eval_every_rounds: int,
  on_row: Callable[[MetricsRow], None],
  profile: pathlib.Path | None = None,
  checkpoints: Checkpoints | None = None,
  interruption: Interruption | None = None,
) -> RoundState:
  """Runs a simulation to its last round, from its first or a checkpoint.

  A run that diverges ends with the round whose row says so.

  While devices compute a round, the host plans the next one and fetches the
  metrics of the one before.

  Guarantees:
    - a run that goes on from a checkpoint ends with the model, bit for bit,
      that it would have had, and in the same round;
    - a round's row is handed on before its checkpoint is begun;
    - a run that is stopped has the rows of all rounds that it ran, and a
      checkpoint of the last one.

  Args:
    simulation: what to run.
    num_rounds: rounds to run, at least 1.
    eval_every_rounds: rounds between evaluations; the last one is always
      evaluated.
    on_row: called with each round's metrics, in order.
    profile: folder for a trace of the second round that runs, or of the only
      one.
    checkpoints: to go on from, and to add to; None for neither.
    interruption: asked after every round but the last whether to stop.

  Returns:
    The state after the last round.

  Raises:
    SharingError: if a round cannot be completed, and is to stop the run.
    CheckpointError: if a checkpoint cannot be written or read.
    StoppedError: if the run was asked to stop.
  """
  data = simulation.put_data()
  state = simulation.init_state()
  if checkpoints:
    state = checkpoints.restore(state)
  first = int(state.round)
  if first == num_rounds:
    return state
  waiting: Finished | None = None
  is_stopped = False
  clock = _clock()
  next(clock)
  plan = simulation.plan(first)
  for r in range(first, num_rounds):
    is_last = r + 1 == num_rounds
    traced = profile if r == min(first + 1, num_rounds - 1) else None
    with profiling.trace(traced, state) as wait_if_traced:
      started = simulation.start(state, plan, data)
      next_plan = plan if is_last else simulation.plan(r + 1)
      if waiting:
        row = _fetch_row(simulation, waiting, clock)
        on_row(row)
        if row['diverged']:
          # What has been started since came of a model that is of no use.
          waiting = None
          break
        if checkpoints and r % checkpoints.every_rounds == 0:
          checkpoints.save(state)
      state, outcome = retries.finish(simulation, r, state, plan, data, started)
      is_due = is_last or (r + 1) % eval_every_rounds == 0
      test = simulation.evaluation.test(state.params) if is_due else None
      backdoor = None
      if is_due and simulation.evaluation.backdoor is not None:
        backdoor = simulation.evaluation.backdoor(state.params)
      is_finite = _is_finite(state.params)
      wait_if_traced((state, test, backdoor))
    waiting = Finished(r, outcome, test, backdoor, is_finite)
    plan = next_plan
    if not is_last and interruption and interruption.is_asked():
      is_stopped = True
      break
  if waiting:
    on_row(_fetch_row(simulation, waiting, clock))
  if checkpoints:
    checkpoints.save(state)
  if is_stopped:
    lost = '' if checkpoints else ', all lost (checkpoint.every_rounds=0)'
    raise StoppedError(f'after round {state.round} of {num_rounds}{lost}')
  return state


@jax.jit
def _is_finite(params: Array) -> Array:
  return jnp.isfinite(params).all()


def _clock() -> Iterator[float]:
  """Yields the seconds since it was last asked."""
  last = time.perf_counter()
  while True:
    now = time.perf_counter()
    yield now - last
    last = now


def _fetch_row(
  simulation: Simulation, finished: Finished, clock: Iterator[float]
) -> MetricsRow:
  row = make_row(simulation, jax.device_get(finished))
  row['round_seconds'] = next(clock)
  return row
