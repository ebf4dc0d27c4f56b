"""The training loop of one run: rounds, evaluation, one row of metrics each."""

import dataclasses
import pathlib
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.interruption import Interruption, StoppedError
from fps_jax.core.types import Array, Examples, RoundState
from fps_jax.results.metrics import MetricsRow
from fps_jax.results.metrics_file import has_ended
from fps_jax.runs import profiling, retries
from fps_jax.runs.checkpoints import BestModel, Checkpoints, better
from fps_jax.runs.hooks import HookError
from fps_jax.runs.retries import Outcome
from fps_jax.runs.round_metrics import Finished, make_row
from fps_jax.runs.simulation import Simulation


class Extras(NamedTuple):
  """What a run does besides its rounds.

  Attributes:
    profile: folder for a trace of the second round that runs, or of the only
      one.
    interruption: asked after every round but the last whether to stop.
    keeps_best: whether checkpoints have the model of the best round, too.
    measure: called with each round's row and the parameters after it; returns
      what the row has besides.
  """

  profile: pathlib.Path | None = None
  interruption: Interruption | None = None
  keeps_best: bool = False
  measure: Callable[[MetricsRow, Array], Mapping[str, Any]] | None = None


_NO_EXTRAS = Extras()


class Trained(NamedTuple):
  """What a run came to: its last state, and its best model if that is kept."""

  state: RoundState
  best: BestModel | None


def train(
  simulation: Simulation,
  num_rounds: int,
  eval_every_rounds: int,
  on_row: Callable[[MetricsRow], None],
  checkpoints: Checkpoints | None = None,
  extras: Extras = _NO_EXTRAS,
) -> Trained:
  """Runs a simulation to its last round, from its first or a checkpoint.

  It ends with the round whose row says that it diverged, or that it reached the
  accuracy to stop at. While devices compute a round, the host plans the next
  one and fetches the metrics of the one before.

  Guarantees:
    - a run that goes on from a checkpoint ends with the models, bit for bit,
      that it would have had, and in the same round;
    - a round's row is handed on before its checkpoint is begun;
    - a run that is stopped, or whose round cannot be measured, has the rows of
      all rounds that it ran, and a checkpoint of the last one;
    - of rounds that are equally good the first is the best.

  Args:
    simulation: what to run.
    num_rounds: rounds to run, at least 1.
    eval_every_rounds: rounds between evaluations; the last one has one.
    on_row: called with each round's metrics, in order.
    checkpoints: to go on from, and to add to; None for neither.
    extras: what it does besides.

  Returns:
    The state after the last round, and the best model if it is kept.

  Raises:
    SharingError: if a round cannot be completed, and is to stop the run.
    CheckpointError: if a checkpoint cannot be written or read.
    StoppedError: if the run was asked to stop before it ended.
    HookError: if a round could not be measured.
  """
  state, best = simulation.init_state(), None
  if checkpoints:
    state = checkpoints.restore(state)
    best = checkpoints.restore_best() if extras.keeps_best else None
  if int(state.round) == num_rounds:
    return Trained(state, best)
  data = simulation.put_data()
  loop = _Loop(
    simulation, data, num_rounds, eval_every_rounds, on_row, checkpoints
  )
  loop.extras, loop.best = extras, best
  state, is_stopped = loop.run(state)
  loop.save(state)
  if is_stopped:
    lost = '' if checkpoints else ', all lost (checkpoint.every_rounds=0)'
    raise StoppedError(f'after round {state.round} of {num_rounds}{lost}')
  return Trained(state, loop.best)


@dataclasses.dataclass
class _Loop:
  """The rounds of `train`, whose arguments these are; and the best so far.

  Attributes:
    data: the training set, on the devices.
  """

  simulation: Simulation
  data: Examples
  num_rounds: int
  eval_every_rounds: int
  on_row: Callable[[MetricsRow], None]
  checkpoints: Checkpoints | None
  extras: Extras = _NO_EXTRAS
  best: BestModel | None = None

  def run(self, state: RoundState) -> tuple[RoundState, bool]:
    """Returns the state after the last round, and whether it was to stop."""
    simulation, clock = self.simulation, _clock()
    profile, interruption = self.extras.profile, self.extras.interruption
    data, first = self.data, int(state.round)
    plan = simulation.plan(first)
    waiting: Finished | None = None
    next(clock)
    # A part of the first round's seconds.
    tests = (*simulation.tests(state.params), (_is_finite, (state.params,)))
    simulation.compile(state, plan, data, tests)
    for r in range(first, self.num_rounds):
      is_last = r + 1 == self.num_rounds
      traced = profile if r == min(first + 1, self.num_rounds - 1) else None
      with profiling.trace(traced, state) as wait_if_traced:
        started = simulation.start(state, plan, data)
        next_plan = plan if is_last else simulation.plan(r + 1)
        if waiting:
          if self._hand_on(waiting, state, clock):
            # What has been started since is of no use.
            return state, False
          if self.checkpoints and r % self.checkpoints.every_rounds == 0:
            self.save(state)
        state, outcome = retries.finish(
          simulation, r, state, plan, data, started
        )
        waiting = self._test(r, outcome, state.params)
        wait_if_traced((state, waiting[2:]))
      plan = next_plan
      if not is_last and interruption and interruption.is_asked():
        break
    assert waiting is not None  # At least one round is run.
    has_ended = self._hand_on(waiting, state, clock)
    return state, not (is_last or has_ended)

  def save(self, state: RoundState) -> None:
    """Begins a checkpoint of a state, if there are any."""
    if self.checkpoints:
      self.checkpoints.save(state, self.best)

  def _hand_on(
    self, finished: Finished, state: RoundState, clock: Iterator[float]
  ) -> bool:
    """Makes and hands on a round's row; returns whether the run ends with it.

    Args:
      finished: the round.
      state: after it.
      clock: of the run.
    """
    row = make_row(self.simulation, jax.device_get(finished))
    by_client = self.simulation.evaluation.by_client
    if row['reached_accuracy'] and by_client and finished.by_client is None:
      # That this is the last round was not known when its tests began.
      counted = by_client.start(state.params, finished.round_number, self.data)
      row = typing.cast(
        MetricsRow, {**row, **by_client.summarise(jax.device_get(counted))}
      )
    row['round_seconds'] = next(clock)
    if self.extras.keeps_best:
      self.best = better(self.best, row, state.params)
    measured: Mapping[str, Any] = {}
    try:
      if self.extras.measure:
        measured = self.extras.measure(row, state.params)
    except HookError:
      self.on_row(row)
      self.save(state)
      raise
    row = typing.cast(MetricsRow, {**row, **measured})
    self.on_row(row)
    return has_ended([row])

  def _test(self, r: int, outcome: Outcome, params: Array) -> Finished:
    """Starts the tests of a model that are due after a round."""
    evaluation = self.simulation.evaluation
    is_due = self._is_due(r, self.eval_every_rounds)
    backdoor = evaluation.backdoor if is_due else None
    validation = evaluation.validation if is_due else None
    by_client = evaluation.by_client
    if by_client and not self._is_due(r, by_client.every_rounds):
      by_client = None
    return Finished(
      r,
      outcome,
      evaluation.test(params) if is_due else None,
      backdoor(params) if backdoor else None,
      validation(params) if validation else None,
      _is_finite(params),
      by_client.start(params, r, self.data) if by_client else None,
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
