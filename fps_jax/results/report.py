"""Report of a study: tables and figures, from the metrics files alone."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence

from rich import box
from rich import console as rich_console
from rich import table as rich_table
from rich import text as rich_text

from fps_jax.core import files
from fps_jax.results import figures, kept_warnings
from fps_jax.results.metrics import format_accuracy, format_bytes, show
from fps_jax.results.rows import rows_of, write_csv
from fps_jax.results.summary import (
  TITLES,
  Run,
  Summary,
  collect,
  finished,
  summarise,
  title_of,
)

COLUMNS = (
  'Method',
  'Test accuracy (%)',
  'Uplink',
  'Downlink',
  'To central',
  'Saving',
  'Sparsity (%)',
  'Round (s)',
)
_TARGET_COLUMNS = (
  'Method',
  'Rounds',
  'Uplink per client',
  'Simulated time (minutes)',
)
_WRAPS_ON_NARROW_TERMINALS = ('Method', 'Test accuracy (%)')
NOTES = (
  'Test accuracy: last evaluated round; mean [min, max] over seeds.',
  'Uplink, Downlink: per client and round. To central: servers to the centre, '
  'per round. Means over rounds and seeds; 1 kB = 1000 B.',
  'Saving: uplink of {baseline} / uplink; below 1 the method sends more.',
  'Sparsity: parameters removed after the last round, mean over seeds.',
  'Round: median wall time, without round 1, which compiles.',
)


def title_with_seeds(summary: Summary) -> str:
  """Returns the name of a variant, and how many of its runs do not count."""
  num_diverged = len(summary.diverged)
  if not num_diverged:
    return summary.title
  num_runs = num_diverged + len(summary.seeds)
  return f'{summary.title} ({num_diverged} of {num_runs} diverged)'


def cells(summary: Summary) -> list[str]:
  """Returns what a summary says under `COLUMNS`."""
  accuracy = format_accuracy(
    summary.final_test_accuracy_fraction_mean,
    summary.final_test_accuracy_fraction_min,
    summary.final_test_accuracy_fraction_max,
  )
  return [
    title_with_seeds(summary),
    accuracy,
    show(format_bytes, summary.uplink_bytes_per_client_and_round),
    show(format_bytes, summary.downlink_bytes_per_client_and_round),
    show(format_bytes, summary.server_to_central_bytes_per_round),
    show('{:.2f}x'.format, summary.uplink_saving_factor),
    show('{:.1%}'.format, summary.final_sparsity_fraction).removesuffix('%'),
    show('{:.3g}'.format, summary.median_round_seconds),
  ]


def target_rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
  """Returns what the target cost, with a heading; '-' where not reached."""
  rows: list[tuple[str, ...]] = [_TARGET_COLUMNS]
  for summary in summaries:
    cost = summary.to_target
    shown = ['-', '-', '-']
    if cost is not None:
      seconds = cost.simulated_seconds
      shown = [
        f'{cost.rounds:,.4g}',
        format_bytes(cost.uplink_bytes_per_client),
        '-' if seconds is None else f'{seconds / 60:.3g}',
      ]
    rows.append((title_with_seeds(summary), *shown))
  return rows


def _caption(summaries: Sequence[Summary]) -> str:
  first = summaries[0]
  seeds = sorted([*first.seeds, *(run.seed for run in first.diverged)])
  shown = f'seed{"s" * (len(seeds) != 1)} {", ".join(map(str, seeds))}'
  rounds = next((each.rounds for each in summaries if each.rounds), None)
  if rounds is None:
    return shown
  return f'{rounds} round{"s" * (rounds != 1)}, {shown}'


def divergences(summaries: Sequence[Summary]) -> list[str]:
  """Returns a line for each run that diverged."""
  return [
    f'{summary.title}, seed {run.seed}: diverged in round {run.round}; in none '
    'of these numbers.'
    for summary in summaries
    for run in summary.diverged
  ]


def make_table(
  summaries: Sequence[Summary], baseline_title: str
) -> rich_table.Table:
  """Lays out the summaries for a terminal; one row each.

  Every row takes one line on 100 columns, and all numbers show on 80.
  """
  table = rich_table.Table(
    title=_caption(summaries),
    # As rich Text, because a title in brackets would be taken for markup.
    caption=rich_text.Text(
      'Uplink, downlink: per client and round. Saving: against '
      f'{baseline_title}.\nRound: median without round 1, which compiles.'
    ),
    box=box.SIMPLE_HEAD,
    padding=0,
  )
  for name in COLUMNS:
    wraps = name in _WRAPS_ON_NARROW_TERMINALS
    table.add_column(
      # Headings of two lines leave the width to the numbers.
      name if wraps else name.replace(' ', '\n'),
      justify='left' if name == 'Method' else 'right',
      no_wrap=not wraps,
      vertical='bottom',
    )
  for summary in summaries:
    table.add_row(*map(rich_text.Text, cells(summary)))
  return table


def make_curves(title: str, runs: Sequence[Run]) -> list[figures.Curve]:
  """Returns a curve of the finished runs, and one for each that diverged.

  Runs that no round before was evaluated of have none.
  """
  curves = []
  if complete := finished(runs):
    curves.append(figures.make_curve(title, [run.rows for run in complete]))
  for run in runs:
    before = run.rows_before
    is_drawn = any(row['test_accuracy'] is not None for row in before)
    if run.has_diverged and is_drawn:
      named = f'{title}, seed {run.seed}, diverged in round {len(run.rows)}'
      curves.append(figures.make_curve(named, [before]))
  return curves


def make_target_table(
  summaries: Sequence[Summary], target_accuracy: float
) -> rich_table.Table:
  """Lays out what the target accuracy cost for a terminal; one row each."""
  heading, *rows = target_rows(summaries)
  table = rich_table.Table(
    title=f'To {100 * target_accuracy:g} % test accuracy, means over seeds',
    box=box.SIMPLE_HEAD,
    padding=0,
  )
  for name in heading:
    table.add_column(name, justify='left' if name == 'Method' else 'right')
  for row in rows:
    table.add_row(*map(rich_text.Text, row))
  return table


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
  heading, *body = rows
  rule = ('---', *['---:'] * (len(heading) - 1))
  return [f'| {" | ".join(row)} |' for row in (heading, rule, *body)]


def make_markdown(
  summaries: Sequence[Summary],
  baseline_title: str,
  target_accuracy: float = 0.0,
  figure_names: Sequence[str] = ('accuracy_rounds', 'accuracy_uplink'),
  warnings: Sequence[str] = (),
) -> str:
  """Writes the summaries as a page of Markdown that shows the figures.

  Warnings about settings have a section of their own, if there are any.
  """
  table = _markdown_table([COLUMNS, *map(cells, summaries)])
  target = []
  if target_accuracy:
    target = [
      f'To {100 * target_accuracy:g} % test accuracy, means over seeds; `-` if '
      'a seed never reached it:',
      '',
      *_markdown_table(target_rows(summaries)),
      '',
    ]
  section = []
  if warnings:
    section = ['## Warnings', '', *(f'- {line}' for line in warnings), '']
  notes = [
    *(f'- {line}' for line in divergences(summaries)),
    *(f'- {note.format(baseline=baseline_title)}' for note in NOTES),
  ]
  return '\n'.join(
    [
      f'# Results: {_caption(summaries)}',
      '',
      *table,
      '',
      *notes,
      '',
      *section,
      *target,
      *(
        f'![Test accuracy over {name.split("_")[1]}]({name}.png)'
        for name in figure_names
      ),
      '',
    ]
  )


def write_report(
  workdir: pathlib.Path,
  variants: Sequence[str],
  baseline: str,
  titles: Mapping[str, str] = TITLES,
  target_accuracy: float = 0.0,
) -> rich_console.Group:
  """Writes `report.md` and `.json`, `metrics.csv` and figures to `workdir`.

  Everything comes from the metrics files and the warnings that a study keeps,
  so that a report can be made again without the study.

  Args:
    workdir: holds `<variant>/seed_<seed>/metrics.jsonl`.
    variants: the variants to report on, in order.
    baseline: the variant that uplink savings are measured against.
    titles: names for the reader; a variant not in it keeps its own.
    target_accuracy: whose cost is reported, in (0, 1), or 0 for none.

  Returns:
    The tables, for a rich console to print.

  Raises:
    ValueError: see `collect` and `summarise`; nothing is written then.
  """
  runs = collect(workdir, variants)
  summaries = summarise(runs, baseline, titles, target_accuracy)
  baseline_title = title_of(baseline, titles)
  report = {
    'baseline': baseline,
    'target_accuracy': target_accuracy,
    'variants': [dataclasses.asdict(summary) for summary in summaries],
  }
  files.write_text(
    workdir / 'report.json',
    json.dumps(report, indent=2, allow_nan=False) + '\n',
  )
  every_run = itertools.chain.from_iterable(runs.values())
  write_csv(workdir / 'metrics.csv', rows_of(every_run))
  curves = [
    curve
    for name, summary in zip(runs, summaries, strict=True)
    for curve in make_curves(summary.title, runs[name])
  ]
  paths = figures.write_figures(workdir, curves) if curves else []
  names = [path.stem for path in paths if path.suffix == '.png']
  files.write_text(
    workdir / 'report.md',
    make_markdown(
      summaries,
      baseline_title,
      target_accuracy,
      names,
      kept_warnings.read(workdir),
    ),
  )
  tables: list[rich_console.RenderableType] = [
    make_table(summaries, baseline_title),
    *map(rich_text.Text, divergences(summaries)),
  ]
  if target_accuracy:
    tables.append(make_target_table(summaries, target_accuracy))
  return rich_console.Group(*tables)
