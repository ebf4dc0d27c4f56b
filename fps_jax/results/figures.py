"""Figures of a study for a paper column: accuracy over what it cost.

Of models without an accuracy they show the test loss.
"""

import contextlib
import io
import math
import pathlib
import textwrap
from collections.abc import Iterator, Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import ticker

from fps_jax.core import files
from fps_jax.results.curves import MEASURES, Curve, by_measure

# Okabe and Ito (2008), without yellow: told apart by colour-blind readers. The
# palest comes first, because the first line is the widest and lies below.
_COLORS = (
  '#56B4E9',
  '#D55E00',
  '#000000',
  '#009E73',
  '#CC79A7',
  '#0072B2',
  '#E69F00',
)
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
_LINE_STYLES = ('-', (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_SIZE_INCHES = (3.4, 2.5)
# Longer titles would meet in a legend of two columns, or leave one.
_LONG_TITLE_CHARACTERS = 24
_MAX_TITLE_CHARACTERS = 50
_LEGEND_ROW_INCHES = 0.16
_ROUND = 'Round'
# What accuracy is drawn over: an attribute of a curve, and the axis' label.
_COSTS = {
  'rounds': ('rounds', _ROUND),
  'uplink': ('uplink_megabytes', 'Cumulative uplink per client (MB)'),
  'time': ('simulated_minutes', 'Simulated time (minutes)'),
}
_MANY_SPARSITIES = 4
# Losses that differ by more are drawn on a log axis.
_MANY_TIMES = 30


def limits(curves: Sequence[Curve]) -> tuple[float, float]:
  """Limits that show every curve of one measure after its first fifth.

  The first rounds climb tens of points; with them in view, the differences
  between variants of less than a point would be invisible. Beyond what is shown
  there is a margin, so that no line or marker lies on the edge, at 100 %
  either.
  """
  low, high = _range(curves)
  if _is_log(curves):
    margin = (high / low) ** 0.05
    return low / margin, high * margin
  least = 0.01 * high if curves[0].measure == 'loss' else 1.0
  margin = 0.05 * max(high - low, least)
  return low - margin, high + margin


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
  """Returns the least and the most of curves after the first fifth of rounds.

  Of a curve that ends before, as it diverged or is not finished, its last.
  """
  first = 0.2 * max(curve.rounds[-1] for curve in curves)
  late = [curve.rounds > min(first, curve.rounds[-1] - 1) for curve in curves]
  pairs = list(zip(curves, late, strict=True))
  return (
    min(float(curve.low[some].min()) for curve, some in pairs),
    max(float(curve.high[some].max()) for curve, some in pairs),
  )


def _is_log(curves: Sequence[Curve]) -> bool:
  """Whether losses differ so much that one would flatten all others.

  As that of a run that diverges does.
  """
  low, high = _range(curves)
  return curves[0].measure == 'loss' and high > _MANY_TIMES * low > 0


def _style() -> contextlib.AbstractContextManager[None]:
  """Returns a context in which Matplotlib draws for a paper column."""
  return matplotlib.rc_context(
    {
      'font.family': 'DejaVu Sans',
      'font.size': 7.5,
      'axes.linewidth': 0.6,
      'axes.spines.right': False,
      'axes.spines.top': False,
      # Publishers refuse the default, Type 3 fonts.
      'pdf.fonttype': 42,
      # Names of an SVG's parts are random without it.
      'svg.hashsalt': 'fps_jax',
    }
  )


def _draw(axes: mpl_axes.Axes, curve: Curve, x: np.ndarray, index: int) -> None:
  color = _COLORS[index % len(_COLORS)]
  axes.fill_between(
    x,
    curve.low,
    curve.high,
    color=color,
    alpha=0.15,
    linewidth=0,
    zorder=1,
  )
  # The first line is wide and the markers are staggered, so that of two equal
  # curves both stay visible.
  every = max(1, math.ceil(len(x) / 8))
  axes.plot(
    x,
    curve.mean,
    color=color,
    label=textwrap.fill(curve.title, _MAX_TITLE_CHARACTERS),
    zorder=2,
    linestyle=_LINE_STYLES[index % len(_LINE_STYLES)],
    linewidth=3.0 if index == 0 else 1.3,
    marker=_MARKERS[index % len(_MARKERS)],
    markersize=3.8,
    markerfacecolor='white',
    markeredgewidth=0.9,
    markevery=((index * every) // 4, every),
  )


def _set_round_axis(axes: mpl_axes.Axes, costs: Sequence[np.ndarray]) -> None:
  first = min(x[0] for x in costs)
  last = max(x[-1] for x in costs)
  if first == last:
    # There are no whole numbers around a single point else.
    axes.set_xlim(first - 1, last + 1)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def _set_log_axis(axes: mpl_axes.Axes, visible: Sequence[np.ndarray]) -> None:
  # What no client has sent yet has no place on such an axis.
  costs = [cost for x in visible for cost in x if cost > 0]
  if not costs:
    return
  left, right = 0.85 * min(costs), 1.15 * max(costs)
  if right < 4 * left:
    # No power of ten, nor twice or five times one, may lie in between.
    axes.set_xlim(left, right)
    return
  # Within two and a half decades there is room for labels between the powers.
  labelled = (1, 2, 5) if right / left < 300 else (1,)
  axes.set_xscale('log')
  axes.set_xlim(left, right)
  label_log_axis(axes, labelled)


def label_log_axis(
  axes: mpl_axes.Axes, labelled: Sequence[int] = (1, 2, 5)
) -> None:
  """Writes plain numbers along x: powers of ten, times what is labelled."""
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=labelled))
  axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _finish(axes: mpl_axes.Axes, label: str, measure: str) -> None:
  axes.set_xlabel(label)
  axes.set_ylabel(MEASURES[measure].label)
  draw_grid(axes)


def draw_grid(
  axes: mpl_axes.Axes, axis: Literal['both', 'x', 'y'] = 'y'
) -> None:
  """Draws a grid below everything else."""
  axes.grid(axis=axis, linewidth=0.4, color='0.88')
  axes.set_axisbelow(True)


def _make_figure(
  curves: Sequence[Curve], costs: Sequence[np.ndarray], label: str
) -> mpl_figure.Figure:
  """Draws curves over what they cost; on a log axis but for rounds."""
  titles = [curve.title for curve in curves]
  num_columns = 2 if len(max(titles, key=len)) <= _LONG_TITLE_CHARACTERS else 1
  num_lines = sum(
    len(textwrap.wrap(title, _MAX_TITLE_CHARACTERS)) for title in titles
  )
  # A legend of two rows is part of the usual size; a longer one adds to it,
  # so that it takes no height from the curves.
  added_rows = max(math.ceil(num_lines / num_columns) - 2, 0)
  width, height = _SIZE_INCHES
  figure = mpl_figure.Figure(
    figsize=(width, height + _LEGEND_ROW_INCHES * added_rows),
    layout='constrained',
  )
  axes = figure.add_subplot()
  for index, (curve, x) in enumerate(zip(curves, costs, strict=True)):
    _draw(axes, curve, x, index)
  low, high = limits(curves)
  if _is_log(curves):
    axes.set_yscale('log')
  axes.set_ylim(low, high)
  _finish(axes, label, curves[0].measure)
  if label == _ROUND:
    _set_round_axis(axes, costs)
  else:
    visible = [
      x[(curve.high >= low) & (curve.low <= high)]
      for curve, x in zip(curves, costs, strict=True)
    ]
    _set_log_axis(axes, visible)
  figure.legend(
    loc='outside upper center',
    ncols=num_columns,
    frameon=False,
    handlelength=3.2,
    borderaxespad=0.2,
  )
  return figure


def _make_sparsity_figure(curves: Sequence[Curve]) -> mpl_figure.Figure:
  """Draws the last accuracy of each curve over what it keeps."""
  figure = mpl_figure.Figure(figsize=_SIZE_INCHES, layout='constrained')
  axes = figure.add_subplot()
  ordered = sorted(curves, key=lambda curve: -curve.kept_percent)
  kept = np.array([curve.kept_percent for curve in ordered])
  mean, low, high = (
    np.array([getattr(curve, name)[-1] for curve in ordered])
    for name in ('mean', 'low', 'high')
  )
  axes.errorbar(
    kept,
    mean,
    yerr=(mean - low, high - mean),
    color=_COLORS[1],
    marker=_MARKERS[0],
    markersize=3.8,
    linewidth=1.3,
    capsize=2,
  )
  axes.set_xscale('log')
  axes.invert_xaxis()
  axes.set_xticks(kept, [f'{percent:.3g}' for percent in kept])
  axes.xaxis.set_minor_locator(ticker.NullLocator())
  _finish(axes, 'Parameters kept (%)', curves[0].measure)
  return figure


def _make_cost_figures(
  curves: Sequence[Curve],
) -> dict[str, mpl_figure.Figure]:
  """Draws accuracy over each cost that every curve has."""
  costs = {
    name: [getattr(curve, attribute) for curve in curves]
    for name, (attribute, _) in _COSTS.items()
  }
  return {
    name: _make_figure(curves, values, _COSTS[name][1])
    for name, values in costs.items()
    if all(value is not None for value in values)
  }


def render_svg(curves: Sequence[Curve]) -> dict[str, bytes]:
  """Draws accuracy over each cost as SVG, with nothing outside of it.

  Equal curves give equal bytes. Matplotlib's global state is left as it was.

  Args:
    curves: one a variant, each with at least one evaluated round, of one
      measure.

  Returns:
    Files by what they show accuracy over: `rounds`, `uplink`, and where every
    curve has simulated time `time`.
  """
  files = {}
  with _style():
    for name, figure in _make_cost_figures(curves).items():
      file = io.BytesIO()
      figure.savefig(file, format='svg', metadata={'Date': None})
      files[name] = file.getvalue()
  return files


def _draw_all(
  curves: Sequence[Curve],
) -> Iterator[tuple[str, mpl_figure.Figure]]:
  """Yields each figure of each measure, and its name."""
  for measure, some in by_measure(curves).items():
    drawn = _make_cost_figures(some)
    if len({curve.kept_percent for curve in some}) >= _MANY_SPARSITIES:
      drawn['sparsity'] = _make_sparsity_figure(some)
    for name, figure in drawn.items():
      yield f'{measure.replace(" ", "-")}_{name}', figure


def write_figures(
  folder: pathlib.Path, curves: Sequence[Curve]
) -> list[pathlib.Path]:
  """Writes the figures as PNG (200 dpi) and PDF.

  Equal curves give equal bytes. Matplotlib's global state, backend included,
  is left as it was.

  Args:
    folder: an existing folder.
    curves: one a variant, each with at least one evaluated round.

  Returns:
    The files: `accuracy_rounds`, `accuracy_uplink`, where every curve has
    simulated time `accuracy_time`, and with four sparsities or more
    `accuracy_sparsity`; `.png` and `.pdf`; those of other measures are like it.
  """
  paths = []
  with _style():
    for name, figure in _draw_all(curves):
      png, pdf = (folder / f'{name}.{end}' for end in ('png', 'pdf'))
      with files.naming(png, problem='cannot be written to'):
        figure.savefig(png, dpi=200)
        figure.savefig(pdf, metadata={'CreationDate': None})
      paths += [png, pdf]
  return paths
