"""Tables and the heat map of the job `poisoning`."""

import math
import pathlib
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from rich.console import RenderableType

from fps_jax.jobs.poisoning.results import PoisoningResult
from fps_jax.results.formats import format_percent
from fps_jax.results.tables import Table, page
from fps_jax.results.titles import title_of_attack, title_of_defence

_TITLE = 'Test accuracy (%) by attack and defence'
_SUCCESS = 'Images with the trigger that are classified as its target (%)'
_WEIGHT = 'Weight that malicious clients have in the aggregate (%)'
_LEAKAGE = 'What a round costs, and how much of each update is seen'
_LEAKAGE_COLUMNS = {
  'Numbers seen of each update': 'opened_values_per_client',
  'Uplink per client': 'uplink_bytes_per_client',
  'Servers to central server': 'server_to_central_bytes',
  'Time per round (s)': 'round_seconds',
}
# Of a line of a defence's name in the figure.
_NAME_CHARACTERS = 22
_NOTE = (
  'Accuracies are those after the last round; of several seeds, mean±half '
  'of the 95 % confidence interval (Student).'
)
# Below a table that has such a defence.
_OF_DEFENCES = {
  'on sketches': 'On sketches: the defence sees a few sums of each update, '
  'which are opened from shares.',
  'NNM': 'NNM (nearest-neighbour mixing): before the defence, each update is '
  'averaged with those nearest to it.',
  'Trust +': 'Trust: before that, updates are left out that go against one '
  'that the central server trained.',
}
_LEAKAGE_NOTE = (
  'Numbers seen of each update: by the central server, in one round. Costs are '
  'those without an attack, or under the first.'
)


def _grid(
  results: Sequence[PoisoningResult],
) -> tuple[list[str], list[list[PoisoningResult]]]:
  """Returns the defences, and each attack's results in their order."""
  by_name = {(each.attack, each.defence): each for each in results}
  attacks, defences = (
    list(dict.fromkeys(names)) for names in zip(*by_name, strict=True)
  )
  grid = [[by_name[attack, rule] for rule in defences] for attack in attacks]
  return list(map(title_of_defence, defences)), grid


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
  lines = [[title_of_attack(row[0].attack), *map(show, row)] for row in grid]
  shown = ', '.join(defences)
  notes = [_NOTE, *(n for word, n in _OF_DEFENCES.items() if word in shown)]
  return Table(
    title,
    ('Attack', *defences),
    lines,
    '\n'.join(notes) if title == _TITLE else '',
  )


def _leakage(results: Sequence[PoisoningResult]) -> Table:
  """Returns a line a defence, of its first attack."""
  defences, grid = _grid(results)
  lines = [
    [defence, *map(result.show, _LEAKAGE_COLUMNS.values())]
    for defence, result in zip(defences, grid[0], strict=True)
  ]
  return Table(_LEAKAGE, ('Defence', *_LEAKAGE_COLUMNS), lines, _LEAKAGE_NOTE)


def table(results: Sequence[PoisoningResult]) -> RenderableType:
  """Returns the accuracies for a terminal."""
  return _by_pair(results, _TITLE, _accuracy).terminal()


def markdown(results: Sequence[PoisoningResult]) -> str:
  """Returns all tables as a page of Markdown that shows the figure."""
  success = [each.summary.middle('attack_success') for each in results]
  return page(
    _by_pair(results, _TITLE, _accuracy),
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
  attacks = [title_of_attack(row[0].attack) for row in grid]
  names = [textwrap.fill(defence, _NAME_CHARACTERS) for defence in defences]
  # Names slant at 40 degrees; letters are some 0.06 inches wide.
  reach = 0.06 * max(len(line) for name in names for line in name.splitlines())
  figure = Figure(
    figsize=(
      max(1.0 + 0.06 * max(map(len, attacks)) + 0.6 * len(names), 3.2),
      0.7 + 0.26 * len(grid) + 0.65 * reach,
    ),
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
  axes.set_xticks(range(len(names)), names, rotation=40, ha='right')
  axes.set_yticks(range(len(grid)), attacks)
  axes.tick_params(labelsize=7, length=0)
  axes.set_title(_TITLE, fontsize=8)
  figure.savefig(path, dpi=200)
