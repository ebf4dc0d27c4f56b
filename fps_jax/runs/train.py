"""The training loop of one run: rounds, evaluation, one row of metrics each."""

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.interruption import Interruption, StoppedError
from fps_jax.core.types import Array, Examples, RoundState
from fps_jax.results.metrics import MetricsRow
from fps_jax.runs import profiling, retries
from fps_jax.runs.checkpoints import Checkpoints
from fps_jax.runs.retries import Outcome
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
  state = simulation.init_state()
  if checkpoints:
    state = checkpoints.restore(state)
  if state.round == num_rounds:
    return state
  loop = _Loop(simulation, num_rounds, eval_every_rounds, checkpoints)
  state, is_stopped = loop.run(state, on_row, profile, interruption)
  if checkpoints:
    checkpoints.save(state)
  if is_stopped:
    lost = '' if checkpoints else ', all lost (checkpoint.every_rounds=0)'
    raise StoppedError(f'after round {state.round} of {num_rounds}{lost}')
  return state


class _Loop(NamedTuple):
  """The rounds of `train`, whose arguments these are."""

  simulation: Simulation
  num_rounds: int
  eval_every_rounds: int
  checkpoints: Checkpoints | None

  def run(
    self,
    state: RoundState,
    on_row: Callable[[MetricsRow], None],
    profile: pathlib.Path | None,
    interruption: Interruption | None,
  ) -> tuple[RoundState, bool]:
    """Returns the state after the last round, and whether it was to stop."""
    simulation, clock = self.simulation, _clock()
    data, first = simulation.put_data(), int(state.round)
    plan = simulation.plan(first)
    waiting: Finished | None = None
    next(clock)
    for r in range(first, self.num_rounds):
      is_last = r + 1 == self.num_rounds
      traced = profile if r == min(first + 1, self.num_rounds - 1) else None
      with profiling.trace(traced, state) as wait_if_traced:
        started = simulation.start(state, plan, data)
        next_plan = plan if is_last else simulation.plan(r + 1)
        if waiting:
          row = _fetch_row(simulation, waiting, clock)
          on_row(row)
          if row['diverged']:
            # What has been started since came of a model that is of no use.
            return state, False
          self._save(state, r)
        state, outcome = retries.finish(
          simulation, r, state, plan, data, started
        )
        waiting = self._test(r, outcome, state.params, data)
        wait_if_traced(
          (state, waiting.test, waiting.backdoor, waiting.by_client)
        )
      plan = next_plan
      if not is_last and interruption and interruption.is_asked():
        break
    assert waiting is not None  # At least one round is run.
    on_row(_fetch_row(simulation, waiting, clock))
    return state, not is_last

  def _save(self, state: RoundState, round_number: int) -> None:
    checkpoints = self.checkpoints
    if checkpoints and round_number % checkpoints.every_rounds == 0:
      checkpoints.save(state)

  def _test(
    self, r: int, outcome: Outcome, params: Array, data: Examples
  ) -> Finished:
    """Starts the tests of a model that are due after a round."""
    evaluation = self.simulation.evaluation
    is_due = self._is_due(r, self.eval_every_rounds)
    backdoor = evaluation.backdoor if is_due else None
    by_client = evaluation.by_client
    if by_client and not self._is_due(r, by_client.every_rounds):
      by_client = None
    return Finished(
      r,
      outcome,
      evaluation.test(params) if is_due else None,
      backdoor(params) if backdoor else None,
      _is_finite(params),
      by_client.start(params, r, data) if by_client else None,
    )

  def _is_due(self, r: int, every_rounds: int) -> bool:
    return r + 1 == self.num_rounds or (r + 1) % every_rounds == 0


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
