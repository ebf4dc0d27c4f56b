"""Tables on terminals of any width, in files and in pipes."""

import io

import pytest
from rich.console import Console

from fps_jax.results import tables
from fps_jax.results.tables import Table

_NAMES = ('ipm--fltrust_sketched', 'none--trimmed_mean', 'a name of words')
_TABLE = Table(
  'A title of [b]some words',
  ('Method', 'Test accuracy (%)', 'Uplink', 'To central'),
  [[name, '97.25 [96.00, 98.75]', '15.0 kB', '4.33 kB'] for name in _NAMES],
  'What it means.',
  num_wrapping=2,
)


def _print(width: int, table: Table = _TABLE) -> str:
  console = Console(file=io.StringIO(), width=width)
  console.print(table.terminal())
  return console.file.getvalue()


@pytest.mark.parametrize('width', range(20, 120, 4))
def test_nothing_is_cut_off_on_any_width(width):
  text = _print(width)
  assert '…' not in text
  joined = ''.join(text.split())
  for name in ('ipm--fltrust_sketched', 'none--trimmed_mean'):
    assert name in joined
  for word in ('[96.00,', '98.75]', '4.33', '[b]some'):
    assert word in joined
  assert max(map(len, text.splitlines())) <= width


def test_wide_terminal_shows_a_line_for_each():
  lines = _print(100).splitlines()
  for name in _NAMES:
    (line,) = (line for line in lines if name in line)
    assert line.endswith('4.33 kB ') or line.rstrip().endswith('4.33 kB')


def test_narrow_terminal_shows_a_list():
  lines = [line.rstrip() for line in _print(44).splitlines()]
  start = lines.index('ipm--fltrust_sketched')
  assert lines[start + 1 : start + 4] == [
    '  Test accuracy (%)  97.25 [96.00, 98.75]',
    '  Uplink             15.0 kB',
    '  To central         4.33 kB',
  ]


def test_pipe_is_as_wide_as_a_table_is(capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', '40')
  console = tables.make_console()
  console.print(_TABLE.terminal())
  lines = capsys.readouterr().out.splitlines()
  for name in _NAMES:
    (line,) = (line for line in lines if name in line)
    assert '97.25 [96.00, 98.75]' in line and '4.33 kB' in line
