"""Tables and the heat map of the job `poisoning`."""

import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from rich.console import RenderableType

from fps_jax.jobs.poisoning.results import PoisoningResult
from fps_jax.results.formats import format_percent
from fps_jax.results.tables import Table, page

_TITLE = 'Test accuracy (%) by attack and defence'
_SUCCESS = 'Images with the trigger taken for the target (%).'
_WEIGHT = 'Weight that malicious clients have in the aggregate (%).'
_LEAKAGE = 'What a round costs and opens.'
_LEAKAGE_COLUMNS = {
  'Opened of each update': 'opened_values_per_client',
  'Uplink per client': 'uplink_bytes_per_client',
  'To central': 'server_to_central_bytes',
  'Round (s)': 'round_seconds',
}


def words(name: str) -> str:
  """Returns a name for the reader.

  >>> words('multi_krum_sketched')
  'multi krum sketched'
  """
  return name.replace('_', ' ')


def _grid(
  results: Sequence[PoisoningResult],
) -> tuple[list[str], list[list[PoisoningResult]]]:
  """Returns the defences, and each attack's results in their order."""
  by_name = {(each.attack, each.defence): each for each in results}
  attacks, defences = (
    list(dict.fromkeys(names)) for names in zip(*by_name, strict=True)
  )
  grid = [[by_name[attack, rule] for rule in defences] for attack in attacks]
  return list(map(words, defences)), grid


def _accuracy(result: PoisoningResult) -> str:
  shown = result.show('test_accuracy')
  if not result.diverged_seeds:
    return shown
  seeds = ', '.join(map(str, result.diverged_seeds))
  return f'{shown} (diverged: seed {seeds})'


def _by_pair(
  results: Sequence[PoisoningResult],
  title: str,
  show: Callable[[PoisoningResult], str],
) -> Table:
  defences, grid = _grid(results)
  lines = [[words(row[0].attack), *map(show, row)] for row in grid]
  return Table(title, ('Attack', *defences), lines)


def _leakage(results: Sequence[PoisoningResult]) -> Table:
  """Returns a line a defence, of its first attack."""
  defences, grid = _grid(results)
  lines = [
    [defence, *map(result.show, _LEAKAGE_COLUMNS.values())]
    for defence, result in zip(defences, grid[0], strict=True)
  ]
  return Table(_LEAKAGE, ('Defence', *_LEAKAGE_COLUMNS), lines)


def table(results: Sequence[PoisoningResult]) -> RenderableType:
  """Returns the accuracies for a terminal."""
  return _by_pair(results, _TITLE, _accuracy).terminal()


def markdown(results: Sequence[PoisoningResult]) -> str:
  """Returns all tables as a page of Markdown that shows the figure."""
  success = [each.summary.middle('attack_success') for each in results]
  return page(
    _by_pair(results, f'{_TITLE}.', _accuracy),
    _by_pair(results, _WEIGHT, lambda each: each.show('malicious_weight')),
    ''
    if success.count(None) == len(success)
    else _by_pair(results, _SUCCESS, lambda each: each.show('attack_success')),
    _leakage(results),
    '![Accuracy by attack and defence](poisoning.png)',
  )


def write_figure(
  results: Sequence[PoisoningResult], path: pathlib.Path
) -> None:
  """Draws the accuracies as a heat map."""
  defences, grid = _grid(results)
  accuracies = np.array(
    [[each.summary.middle('test_accuracy') for each in row] for row in grid],
    dtype=float,
  )
  figure = Figure(
    figsize=(1.6 + 0.55 * len(defences), 1.5 + 0.26 * len(grid)),
    layout='constrained',
  )
  axes = figure.add_subplot()
  axes.imshow(100 * accuracies, cmap='viridis', vmin=0, vmax=100, aspect='auto')
  for (row, column), accuracy in np.ndenumerate(accuracies):
    axes.text(
      column,
      row,
      'diverged' if math.isnan(accuracy) else format_percent(accuracy),
      ha='center',
      va='center',
      fontsize=6.5,
      color='white' if 100 * accuracy <= 60 else 'black',
    )
  axes.set_xticks(range(len(defences)), defences, rotation=40, ha='right')
  axes.set_yticks(range(len(grid)), [words(row[0].attack) for row in grid])
  axes.tick_params(labelsize=7, length=0)
  axes.set_title(_TITLE, fontsize=8)
  figure.savefig(path, dpi=200)
