"""Tests of the progress display."""

import io
import re
from typing import Any

import pytest
from rich import console as rich_console

from fps_jax.runs import progress


def _row(round_: int, test_accuracy: float | None) -> dict[str, Any]:
  return {
    'round': round_,
    'test_accuracy': test_accuracy,
    'uplink_bytes_per_client': 1_500_000,
  }


def _show(num_rounds: int, terminal: bool) -> str:
  file = io.StringIO()
  console = rich_console.Console(file=file, force_terminal=terminal, width=100)
  with progress.Progress(console) as shown:
    shown.start_run('FedAvg [x]', seed=3, num_rounds=num_rounds)
    for round_ in range(1, num_rounds + 1):
      shown.update(_row(round_, 0.9 if round_ % 2 else None))
    shown.finish_run()
  return file.getvalue()


def test_log_has_a_line_for_every_tenth_of_the_rounds() -> None:
  lines = _show(num_rounds=40, terminal=False).splitlines()
  rounds = [re.search(r'(\d+)/40', line) for line in lines]
  assert [int(found[1]) for found in rounds if found] == [*range(4, 41, 4)]


@pytest.mark.parametrize('num_rounds', [1, 3])
def test_log_of_a_short_run_has_a_line_for_every_round(num_rounds: int) -> None:
  lines = _show(num_rounds, terminal=False).splitlines()
  assert len(lines) == num_rounds


def test_line_tells_run_round_accuracy_and_cumulative_uplink() -> None:
  last_line = _show(num_rounds=2, terminal=False).splitlines()[-1]
  # Round 2 is not evaluated, so round 1's accuracy stays.
  assert re.fullmatch(
    r'FedAvg \[x\], seed 3  2/2  test 90\.00 %  up 3\.00 MB  0:00:0\d',
    last_line,
  )


def test_log_has_no_control_codes() -> None:
  assert '\x1b' not in _show(num_rounds=20, terminal=False)


def test_terminal_shows_a_bar_and_leaves_one_line() -> None:
  output = _show(num_rounds=40, terminal=True)
  assert '\x1b[' in output and '━' in output
  lasting = [line for line in output.splitlines() if '40/40  test' in line]
  assert lasting and '━' not in lasting[-1]


def test_error_in_a_run_gives_the_terminal_back() -> None:
  file = io.StringIO()
  console = rich_console.Console(file=file, force_terminal=True)
  with pytest.raises(ZeroDivisionError), progress.Progress(console) as shown:
    shown.start_run('FedAvg', seed=0, num_rounds=2)
    raise ZeroDivisionError
  show_cursor = '\x1b[?25h'
  assert show_cursor in file.getvalue()


def test_calls_out_of_order_are_errors() -> None:
  console = rich_console.Console(file=io.StringIO())
  with progress.Progress(console) as shown:
    with pytest.raises(RuntimeError, match=r'update\(\) outside a run'):
      shown.update(_row(1, None))
    with pytest.raises(RuntimeError, match=r'finish_run\(\) outside a run'):
      shown.finish_run()
    shown.start_run('FedAvg', seed=0, num_rounds=2)
    with pytest.raises(RuntimeError, match="during 'FedAvg, seed 0'"):
      shown.start_run('FedAvg', seed=1, num_rounds=2)


def test_loss_is_shown_where_there_is_no_accuracy() -> None:
  file = io.StringIO()
  with progress.Progress(rich_console.Console(file=file, width=100)) as shown:
    shown.start_run('Mine', seed=0, num_rounds=1)
    shown.update({**_row(1, None), 'test_loss': 0.25})
    shown.finish_run()
  assert '1/1  test loss 0.25  up 1.50 MB' in file.getvalue()
