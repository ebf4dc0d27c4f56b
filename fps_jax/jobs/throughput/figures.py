"""Figures of the throughput benchmark."""

import pathlib
from collections.abc import Sequence

from matplotlib import figure as mpl_figure
from matplotlib import ticker

from fps_jax.jobs.throughput.phases import PHASES
from fps_jax.jobs.throughput.report import PHASE_TITLES, Row
from fps_jax.results.titles import title_of


def write_figures(rows: Sequence[Row], folder: pathlib.Path) -> None:
  """Draws where the time of each case goes, and how cohorts scale.

  Args:
    rows: of the results.
    folder: gets `phases.png`, if any case was traced, and `scaling.png`, if
      several cases differ by their cohort alone.
  """
  traced = [row for row in rows if 'phases' in row]
  if traced:
    _draw_phases(traced, folder / 'phases.png')
  scaling = [row for row in rows if row['name'].startswith('scaling_')]
  if len(scaling) > 1:
    _draw_scaling(scaling, folder / 'scaling.png')


def _draw_phases(rows: Sequence[Row], path: pathlib.Path) -> None:
  # The legend takes as much.
  height = max(1.2 + 0.28 * len(rows), 2.0)
  figure = mpl_figure.Figure(figsize=(6.5, height), layout='constrained')
  axes = figure.add_subplot()
  names = [title_of(row['name']) for row in rows]
  left = [0.0] * len(rows)
  for phase in PHASES:
    totals = [sum(row['phases'].values()) for row in rows]
    shares = [
      100 * row['phases'][phase] / total
      for row, total in zip(rows, totals, strict=True)
    ]
    axes.barh(names, shares, left=left, label=PHASE_TITLES[phase])
    left = [a + b for a, b in zip(left, shares, strict=True)]
  axes.invert_yaxis()
  axes.set_xlim(0, 100)
  axes.set_xlabel('Part of the time that devices are busy (%)')
  figure.legend(loc='outside right center', fontsize=8)
  figure.savefig(path, dpi=200)


def _draw_scaling(rows: Sequence[Row], path: pathlib.Path) -> None:
  figure = mpl_figure.Figure(figsize=(6.5, 2.8), layout='constrained')
  time, memory = figure.subplots(1, 2)
  cohorts = [row['cohort'] for row in rows]
  seconds = [row['sec_per_round'] for row in rows]
  time.plot(cohorts, seconds, 'o-', label='Measured')
  # Proportional to the largest cohort.
  time.plot(
    cohorts,
    [seconds[-1] * c / cohorts[-1] for c in cohorts],
    'k--',
    lw=1,
    label='Proportional to clients',
  )
  time.legend(fontsize=7, frameon=False)
  time.set_yscale('log')
  time.set_ylabel('Time per round (s)')
  mebibytes = [row['peak_rss_mb'] for row in rows]
  memory.plot(cohorts, mebibytes, 'o-')
  memory.set_ylim(0, 1.1 * max(mebibytes))
  memory.set_ylabel('Peak memory (MiB)')
  for axes in (time, memory):
    axes.set_xscale('log')
    axes.set_xticks(cohorts, [f'{cohort:,}' for cohort in cohorts])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel('Clients per round')
    axes.grid(alpha=0.3)
  figure.savefig(path, dpi=200)
