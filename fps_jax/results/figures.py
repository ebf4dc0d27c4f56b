"""Figures of a study for a paper column: accuracy over what it cost.

Of models without an accuracy they show the test loss.
"""

import contextlib
import dataclasses
import io
import math
import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import ticker

from fps_jax.core import files
from fps_jax.results.metrics import MetricsRow, is_evaluated

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
# What is drawn: a column of the metrics, what multiplies it, the axis' label.
_MEASURES = {
  'accuracy': ('test_accuracy', 100, 'Test accuracy (%)'),
  'loss': ('test_loss', 1, 'Test loss'),
  'worst tenth': ('', 100, 'Worst tenth of clients (%)'),
}
_MANY_SPARSITIES = 4


@dataclasses.dataclass(frozen=True)
class Curve:
  """What one variant comes to in its evaluated rounds.

  Attributes:
    title: name of the variant in the legend.
    rounds: [E] rounds in which every seed was evaluated.
    uplink_megabytes: [E] sent by a client from round 1 on, mean over seeds.
    simulated_minutes: [E] that the clients' devices take from round 1 on, mean
      over seeds; None where they have no profiles.
    mean: [E] test accuracy in per cent or test loss, mean over seeds.
    low: [E] its minimum over seeds.
    high: [E] its maximum over seeds.
    kept_percent: parameters kept in the last round, mean over seeds.
    measure: `'accuracy'`, `'loss'` where there is none, or `'worst tenth'`.
  """

  title: str
  rounds: np.ndarray
  uplink_megabytes: np.ndarray
  simulated_minutes: np.ndarray | None
  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray
  kept_percent: float
  measure: str = 'accuracy'


def make_curve(title: str, seeds: Sequence[Sequence[MetricsRow]]) -> Curve:
  """Reduces the runs of one variant to a curve.

  Args:
    title: name of the variant in the legend.
    seeds: the rows of each run.

  Returns:
    The curve over the rounds in which every run was evaluated.
  """
  has_accuracy = any(r['test_accuracy'] is not None for s in seeds for r in s)
  measure = 'accuracy' if has_accuracy else 'loss'
  column, scale, _ = _MEASURES[measure]
  shared = [rows[: min(map(len, seeds))] for rows in seeds]
  tested_SxR = scale * _read(shared, column)
  uplink_SxR = np.cumsum(_read(shared, 'uplink_bytes_per_client'), axis=1)
  seconds_SxR = np.cumsum(_read(shared, 'simulated_seconds'), axis=1)
  is_timed = bool(np.isfinite(seconds_SxR).all())
  evaluated = np.isfinite(tested_SxR).all(axis=0)
  tested_SxE = tested_SxR[:, evaluated]
  return Curve(
    title=title,
    rounds=1 + np.flatnonzero(evaluated),
    uplink_megabytes=uplink_SxR[:, evaluated].mean(axis=0) / 1e6,
    simulated_minutes=(
      seconds_SxR[:, evaluated].mean(axis=0) / 60 if is_timed else None
    ),
    mean=tested_SxE.mean(axis=0),
    low=tested_SxE.min(axis=0),
    high=tested_SxE.max(axis=0),
    kept_percent=100 * float(np.mean([1 - r[-1]['sparsity'] for r in seeds])),
    measure=measure,
  )


def _read(seeds: Sequence[Sequence[MetricsRow]], column: str) -> np.ndarray:
  """Returns a column [S, R] of some runs; NaN where it was not measured."""
  return np.array([[row.get(column) for row in r] for r in seeds], dtype=float)


def make_curves(
  title: str,
  complete: Sequence[Sequence[MetricsRow]],
  others: Mapping[str, Sequence[MetricsRow]],
) -> list[Curve]:
  """Returns one curve of a variant's complete runs, and one of each other.

  Args:
    title: name of the variant in the legend.
    complete: the rows of each complete run.
    others: the rows to draw of each other run, by what follows the title. Those
      that were never evaluated have no curve.
  """
  curves = [make_curve(title, complete)] if complete else []
  return curves + [
    make_curve(f'{title}, {name}', [rows])
    for name, rows in others.items()
    if any(map(is_evaluated, rows))
  ]


def by_measure(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
  """Returns the curves of each measure that there are some of."""
  found = {
    measure: [curve for curve in curves if curve.measure == measure]
    for measure in _MEASURES
  }
  return {measure: some for measure, some in found.items() if some}


def limits(curves: Sequence[Curve]) -> tuple[float, float]:
  """Limits that show every curve of one measure after its first fifth.

  The first rounds climb tens of points; with them in view, the differences
  between variants of less than a point would be invisible.
  """
  low, high = math.inf, 0.0
  for curve in curves:
    late = curve.rounds > 0.2 * curve.rounds[-1]
    low = min(low, curve.low[late].min())
    high = max(high, curve.high[late].max())
  if curves[0].measure == 'loss':
    margin = 0.05 * max(high - low, 0.01 * high)
    return max(low - margin, 0.0), high + margin
  margin = 0.05 * max(high - low, 1.0)
  return max(low - margin, 0.0), min(high + margin, 100.0)


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


def _set_log_axis(axes: mpl_axes.Axes, visible: Sequence[np.ndarray]) -> None:
  # What no client has sent yet has no place on such an axis.
  costs = [cost for x in visible for cost in x if cost > 0]
  if not costs:
    return
  left, right = 0.85 * min(costs), 1.15 * max(costs)
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
  axes.set_ylabel(_MEASURES[measure][2])
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
  axes.set_ylim(low, high)
  _finish(axes, label, curves[0].measure)
  if label == _ROUND:
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
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
