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
from fps_jax.results.titles import title_of

_HEADER = (
  'Sparsity (%)',
  'Bits per value',
  'Sharing (N, k, l)',
  'Bits per word',
  'Test accuracy (%)',
  'Total uplink per client',
  'Servers that may collude',
  'Servers that may be missing',
)
_TITLE = 'The best choices'
_NOTES = (
  'For every other choice there is one of these that is as good in everything '
  'and better in something: in accuracy, in uplink, in the servers that may '
  'collude or in those that may be missing.',
  'Sharing (N, k, l): N servers hold shares, any k of them open a sum, and l '
  'values travel in one word.',
  'Total uplink per client: what a client sends in all rounds to all servers.',
  'Servers that may collude: so many, k - l, learn nothing of an update from '
  'their shares.',
  'Servers that may be missing: so many, N - k, need not answer.',
)
# Okabe and Ito (2008), by how many servers may collude.
_COLORS = ('#999999', '#E69F00', '#56B4E9', '#009E73', '#D55E00', '#000000')


def _frontier(
  best: Sequence[TradeoffPoint], notes: Sequence[str] = _NOTES
) -> Table:
  return Table(_TITLE, _HEADER, list(map(_line, best)), '\n'.join(notes))


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
  return _frontier(best).terminal()


def left_out(diverged: Sequence[str]) -> str:
  """Names the variants that are no choice."""
  titles = ', '.join(map(title_of, diverged))
  return f'Training diverged under some seed, so left out: {titles}.'


def markdown(
  best: Sequence[TradeoffPoint],
  num_choices: int,
  num_unfit: int,
  diverged: Sequence[str] = (),
) -> str:
  """Returns the frontier as a page of Markdown that shows the figure."""
  counted = f'These are {len(best)} of {num_choices} choices.'
  if num_unfit:
    counted += f' The sums of another {num_unfit} do not fit their field.'
  last = [left_out(diverged)] if diverged else []
  return page(
    _frontier(best, [*_NOTES, counted, *last]),
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
        label=str(colluding) if shown is best_of_t else None,
      )
  axes.set_xscale('log')
  figures.label_log_axis(axes)
  axes.set_xlabel('Total uplink per client (MB)', fontsize=7.5)
  axes.set_ylabel('Test accuracy (%)', fontsize=7.5)
  axes.tick_params(labelsize=7)
  figures.draw_grid(axes, 'both')
  figure.legend(
    loc='outside upper center',
    ncols=5,
    fontsize=7,
    frameon=False,
    handletextpad=0.1,
    title='Servers that may collude. Filled: the best choices',
    title_fontsize=7,
  )
  figure.savefig(path, dpi=200)
