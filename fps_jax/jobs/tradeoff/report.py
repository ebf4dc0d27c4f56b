"""Table and figure of the job `tradeoff`."""

import pathlib
from collections.abc import Sequence

from matplotlib.figure import Figure
from rich.console import RenderableType

from fps_jax.jobs.tradeoff.results import TradeoffPoint
from fps_jax.results import figures
from fps_jax.results.formats import format_accuracy, format_bytes, show_range
from fps_jax.results.spread import Spread
from fps_jax.results.tables import Table, page

_HEADER = (
  'Sparsity (%)',
  'Value bits',
  '(N, k, l)',
  'Word bits',
  'Test accuracy (%)',
  'Uplink per client',
  'Colluding servers',
  'Missing servers',
)
_TITLE = (
  'Choices that no other dominates: servers that may collude, and servers '
  'that may be missing'
)
# Okabe and Ito (2008), by how many servers may collude.
_COLORS = ('#999999', '#E69F00', '#56B4E9', '#009E73', '#D55E00', '#000000')


def _frontier(title: str, best: Sequence[TradeoffPoint]) -> Table:
  return Table(title, _HEADER, list(map(_line, best)))


def _line(choice: TradeoffPoint) -> list[str]:
  accuracy = Spread(
    choice.test_accuracy, choice.test_accuracy_min, choice.test_accuracy_max
  )
  return [
    f'{100 * choice.sparsity:.4g}',
    str(choice.value_bits),
    f'({choice.num_servers}, {choice.threshold}, '
    f'{choice.secrets_per_polynomial})',
    str((choice.prime - 1).bit_length()),
    show_range(format_accuracy, accuracy),
    format_bytes(choice.uplink_bytes),
    str(choice.colluding_servers),
    str(choice.missing_servers),
  ]


def table(best: Sequence[TradeoffPoint]) -> RenderableType:
  """Returns the frontier for a terminal."""
  return _frontier(_TITLE, best).terminal()


def left_out(diverged: Sequence[str]) -> str:
  """Names the variants that are no choice."""
  return f'Diverged under a seed, and left out: {", ".join(diverged)}.'


def markdown(
  best: Sequence[TradeoffPoint],
  num_choices: int,
  num_unfit: int,
  diverged: Sequence[str] = (),
) -> str:
  """Returns the frontier as a page of Markdown that shows the figure."""
  note = (
    f'{len(best)} of {num_choices} choices; the sums of {num_unfit} more do '
    'not fit their field. Uplink: of all rounds, all shares counted.'
  )
  if diverged:
    note += f' {left_out(diverged)}'
  return page(
    _frontier(f'{_TITLE}.', best),
    note,
    '![Accuracy over uplink by colluding servers](tradeoff.png)',
  )


def write_figure(
  choices: Sequence[TradeoffPoint],
  best: Sequence[TradeoffPoint],
  path: pathlib.Path,
) -> None:
  """Draws every choice, and those that no other dominates filled."""
  figure = Figure(figsize=(3.4, 2.6), layout='constrained')
  axes = figure.add_subplot()
  for colluding in sorted({choice.colluding_servers for choice in choices}):
    color = _COLORS[min(colluding, len(_COLORS) - 1)]
    of_t = [c for c in choices if c.colluding_servers == colluding]
    best_of_t = [c for c in best if c.colluding_servers == colluding]
    for shown, face, size in ((of_t, 'none', 9), (best_of_t, color, 16)):
      axes.scatter(
        [choice.uplink_bytes / 1e6 for choice in shown],
        [100 * choice.test_accuracy for choice in shown],
        s=size,
        facecolors=face,
        edgecolors=color,
        linewidths=0.7,
        label=f't = {colluding}' if shown is best_of_t else None,
      )
  axes.set_xscale('log')
  figures.label_log_axis(axes)
  axes.set_xlabel('Uplink of a client, all rounds (MB)', fontsize=7.5)
  axes.set_ylabel('Test accuracy (%)', fontsize=7.5)
  axes.tick_params(labelsize=7)
  figures.draw_grid(axes, 'both')
  figure.legend(
    loc='outside upper center',
    ncols=5,
    fontsize=7,
    frameon=False,
    handletextpad=0.1,
    title='Servers that may collude; filled: no other choice dominates',
    title_fontsize=7,
  )
  figure.savefig(path, dpi=200)
