"""Progress of a study: a live bar on a terminal, sparse lines in a log."""

import datetime
import time
from collections.abc import Sequence
from typing import Self

from rich import console as rich_console
from rich import progress as rich_progress
from rich import table as rich_table

from fps_jax.results.formats import show_tested
from fps_jax.results.metrics import MetricsRow, is_evaluated


def _clock(seconds: float) -> str:
  return str(datetime.timedelta(seconds=round(seconds)))


def _whole() -> rich_table.Column:
  # On a narrow terminal the bar and the run's name give way, not the numbers.
  return rich_table.Column(no_wrap=True)


class Progress:
  """Shows the run in progress, and leaves one line for each finished run.

  On a terminal a bar follows every round. Elsewhere a line appears whenever
  another tenth of the run's rounds is complete, so that logs stay readable.
  """

  def __init__(self, console: rich_console.Console):
    """Shows on `console`, which also says whether it is a terminal."""
    self._console = console
    self._bar = rich_progress.Progress(
      rich_progress.TextColumn('{task.description}', markup=False),
      rich_progress.BarColumn(bar_width=None),
      rich_progress.TextColumn(
        '{task.fields[status]}', markup=False, table_column=_whole()
      ),
      rich_progress.TimeElapsedColumn(table_column=_whole()),
      rich_progress.TextColumn('left', table_column=_whole()),
      rich_progress.TimeRemainingColumn(table_column=_whole()),
      console=console,
      expand=True,
      disable=not (console.is_terminal or console.is_jupyter),
      refresh_per_second=2,
      # A round may take minutes; the default window of 30 s would then hold
      # no two rounds to estimate the time left from.
      speed_estimate_period=24 * 3600,
      # The finished run's own line replaces the bar.
      transient=True,
    )
    self._task: rich_progress.TaskID | None = None
    self._label = ''

  def __enter__(self) -> Self:
    """Starts the display."""
    self._bar.start()
    return self

  def __exit__(self, *exc_info: object) -> None:
    """Gives the terminal back, also after an error."""
    self._bar.stop()

  def start_run(
    self,
    name: str,
    seed: int,
    num_rounds: int,
    before: Sequence[MetricsRow] = (),
  ) -> None:
    """Starts a run, or goes on with it.

    Args:
      name: the variant, as it should read.
      seed: the run's seed.
      num_rounds: rounds the run will take.
      before: metrics rows of the rounds that are done already.

    Raises:
      RuntimeError: the run before is not finished.
    """
    if self._task is not None:
      raise RuntimeError(
        f'start_run({name!r}) during {self._label!r}: call finish_run() first'
      )
    self._label = f'{name}, seed {seed}'
    self._num_rounds = num_rounds
    self._round = self._first_round = 0
    self._uplink_bytes = 0.0
    self._tested: tuple[float | None, float | None] = None, None
    for row in before:
      self._count(row)
    self._first_round = self._round
    self._start = time.monotonic()
    self._task = self._bar.add_task(
      self._label,
      total=num_rounds,
      completed=self._round,
      status=self._status(),
    )

  def update(self, row: MetricsRow) -> None:
    """Shows a completed round.

    Args:
      row: a metrics row; reads `round`, `test_accuracy`, `test_loss` (None of
        both keeps the last on show) and `uplink_bytes_per_client`.

    Raises:
      RuntimeError: no run is started.
    """
    task = self._running('update')
    tenths_before = 10 * self._round // self._num_rounds
    self._count(row)
    self._bar.update(task, completed=self._round, status=self._status())
    tenths = 10 * self._round // self._num_rounds
    # The last round's line is finish_run's.
    if self._bar.disable and tenths_before < tenths < 10:
      elapsed = time.monotonic() - self._start
      per_round = elapsed / (self._round - self._first_round)
      left = per_round * (self._num_rounds - self._round)
      self._print(f'{_clock(elapsed)}  left {_clock(left)}')

  def finish_run(self) -> None:
    """Ends the run and prints its last line.

    Raises:
      RuntimeError: no run is started.
    """
    self._bar.remove_task(self._running('finish_run'))
    # Without it the removed bar would be drawn once more below the line.
    self._bar.refresh()
    self._print(_clock(time.monotonic() - self._start))
    self._task = None

  def _count(self, row: MetricsRow) -> None:
    self._round = row['round']
    self._uplink_bytes += row['uplink_bytes_per_client']
    if is_evaluated(row):
      self._tested = row['test_accuracy'], row.get('test_loss')

  def _running(self, caller: str) -> rich_progress.TaskID:
    if self._task is None:
      raise RuntimeError(f'{caller}() outside a run: call start_run() first')
    return self._task

  def _status(self) -> str:
    shown = f'{show_tested(*self._tested):>5}'
    if not shown.startswith('loss'):
      shown += ' %'
    digits = len(str(self._num_rounds))
    return (
      f'{self._round:{digits}}/{self._num_rounds}  test {shown}  '
      f'up {self._uplink_bytes / 1e6:.2f} MB'
    )

  def _print(self, clocks: str) -> None:
    self._console.print(
      f'{self._label}  {self._status()}  {clocks}',
      highlight=False,
      markup=False,
      soft_wrap=True,
    )
