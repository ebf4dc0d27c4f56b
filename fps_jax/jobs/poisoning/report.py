"""Tables and the heat map of the job `poisoning`."""

import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from fps_jax.jobs.poisoning.job import Cell
from fps_jax.results import tables
from fps_jax.results.metrics import format_accuracy, format_bytes, show

_TITLE = 'Test accuracy (%) by attack and defence'
_SUCCESS = 'Images with the trigger taken for the target (%)'
_WEIGHT = 'Weight that malicious clients have in the aggregate (%)'
_LEAKAGE = 'What a round costs and opens'
_LEAKAGE_HEADER = (
  'Defence',
  'Opened of each update',
  'Uplink per client',
  'To central',
  'Round (s)',
)


def _names(cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
  """Returns attacks and defences, in order of appearance."""
  attacks = list(dict.fromkeys(cell.attack for cell in cells))
  return attacks, list(dict.fromkeys(cell.defence for cell in cells))


def words(name: str) -> str:
  """Returns a name for the reader.

  >>> words('multi_krum_sketched')
  'multi krum sketched'
  """
  return name.replace('_', ' ')


def _grid(cells: Sequence[Cell]) -> list[list[Cell]]:
  attacks, rules = _names(cells)
  by_name = {(cell.attack, cell.defence): cell for cell in cells}
  return [[by_name[attack, rule] for rule in rules] for attack in attacks]


def _accuracy(cell: Cell) -> str:
  shown = format_accuracy(
    cell.test_accuracy_mean, cell.test_accuracy_min, cell.test_accuracy_max
  )
  if not cell.diverged_seeds:
    return shown
  seeds = ', '.join(map(str, cell.diverged_seeds))
  return f'{shown} (diverged: seed {seeds})'


def _percent(fraction: float | None) -> str:
  return '-' if fraction is None else f'{100 * fraction:.1f}'


def _lines(
  cells: Sequence[Cell], show: Callable[[Cell], str]
) -> list[list[str]]:
  return [[words(row[0].attack), *map(show, row)] for row in _grid(cells)]


def _leakage_lines(cells: Sequence[Cell]) -> list[list[str]]:
  """Returns a line a defence, of its first attack."""
  return [
    [
      words(cell.defence),
      show('{:,.0f}'.format, cell.opened_values_per_client),
      show(format_bytes, cell.uplink_bytes_per_client),
      show(format_bytes, cell.server_to_central_bytes),
      show('{:.3g}'.format, cell.median_round_seconds),
    ]
    for cell in _grid(cells)[0]
  ]


def _header(cells: Sequence[Cell]) -> tuple[str, ...]:
  return ('Attack', *map(words, _names(cells)[1]))


def table(cells: Sequence[Cell]) -> Table:
  """Returns the accuracies for a terminal."""
  return tables.terminal_table(_TITLE, _header(cells), _lines(cells, _accuracy))


def markdown(cells: Sequence[Cell]) -> str:
  """Returns all tables as a page of Markdown that shows the figure."""
  header = _header(cells)
  parts = [
    tables.markdown_table(f'{_TITLE}.', header, _lines(cells, _accuracy)),
    tables.markdown_table(
      f'{_WEIGHT}.',
      header,
      _lines(cells, lambda cell: _percent(cell.malicious_weight_mean)),
    ),
  ]
  if any(cell.attack_success_mean is not None for cell in cells):
    parts.append(
      tables.markdown_table(
        f'{_SUCCESS}.',
        header,
        _lines(cells, lambda cell: _percent(cell.attack_success_mean)),
      )
    )
  parts.append(
    tables.markdown_table(
      f'{_LEAKAGE}.', _LEAKAGE_HEADER, _leakage_lines(cells)
    )
  )
  return '\n'.join(
    [*parts, '![Accuracy by attack and defence](poisoning.png)\n']
  )


def write_figure(cells: Sequence[Cell], path: pathlib.Path) -> None:
  """Draws the accuracies as a heat map."""
  grid = _grid(cells)
  attacks, rules = _names(cells)
  accuracies = np.array(
    [
      [
        math.nan
        if cell.test_accuracy_mean is None
        else 100 * cell.test_accuracy_mean
        for cell in row
      ]
      for row in grid
    ]
  )
  figure = Figure(
    figsize=(1.6 + 0.55 * len(rules), 1.5 + 0.26 * len(attacks)),
    layout='constrained',
  )
  axes = figure.add_subplot()
  axes.imshow(accuracies, cmap='viridis', vmin=0, vmax=100, aspect='auto')
  for row, column in np.ndindex(accuracies.shape):
    accuracy = accuracies[row, column]
    axes.text(
      column,
      row,
      'diverged' if math.isnan(accuracy) else f'{accuracy:.1f}',
      ha='center',
      va='center',
      fontsize=6.5,
      color='white' if accuracy <= 60 else 'black',
    )
  axes.set_xticks(range(len(rules)), map(words, rules), rotation=40, ha='right')
  axes.set_yticks(range(len(attacks)), map(words, attacks))
  axes.tick_params(labelsize=7, length=0)
  axes.set_title(_TITLE, fontsize=8)
  figure.savefig(path, dpi=200)
