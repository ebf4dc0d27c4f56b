"""Report of a study: tables and figures, from the metrics files alone."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from fps_jax.core import files
from fps_jax.results import curves, figures, kept_warnings, rows, smoke, subject
from fps_jax.results import study_tables as tables
from fps_jax.results import workdir as workdirs
from fps_jax.results.summary import Run, Summary, collect, finished, summarise
from fps_jax.results.tables import Table, bullets, page
from fps_jax.results.titles import title_of


def _caption(summaries: Sequence[Summary]) -> str:
  first = summaries[0]
  seeds = sorted([*first.seeds, *(run.seed for run in first.diverged)])
  shown = f'seed{"s" * (len(seeds) != 1)} {", ".join(map(str, seeds))}'
  rounds = max((each.rounds or 0 for each in summaries), default=0)
  if not rounds:
    return shown
  most = 'up to ' * any(each.reached for each in summaries)
  return f'{most}{rounds} round{"s" * (rounds != 1)}, {shown}'


def make_table(
  summaries: Sequence[Summary], baseline_title: str
) -> RenderableType:
  """Lays out the summaries for a terminal; one row each.

  Every row takes one line on 100 columns, and all numbers show on any width.
  """
  shown = tables.shown_of(summaries)
  return Table(
    _caption(summaries),
    tables.header(shown),
    [tables.cells(summary, shown) for summary in summaries],
    'Bytes are per round. The uplink saving is against '
    f'{baseline_title}.\nThe time is a median without round 1, which compiles.',
    # Names, and ranges.
    num_wrapping=1 + sum(column.has_range for column in shown.values()),
  ).terminal()


def make_curves(title: str, runs: Sequence[Run]) -> list[curves.Curve]:
  """Returns a curve of the finished runs, and one for each that diverged.

  Runs that no round before was evaluated of have none.
  """
  return curves.make_curves(
    title,
    [run.rows for run in finished(runs)],
    {
      f'seed {run.seed}, diverged in round {len(run.rows)}': run.rows_before
      for run in runs
      if run.has_diverged
    },
  )


def make_markdown(
  summaries: Sequence[Summary],
  baseline_title: str,
  target_accuracy: float = 0.0,
  figure_names: Sequence[str] = ('accuracy_rounds', 'accuracy_uplink'),
  warnings: Sequence[str] = (),
  notice: str = '',
  about: str = '',
) -> str:
  """Writes the summaries as a page of Markdown that shows the figures.

  Warnings about settings have a section of their own, if there are any. What a
  reader must know first goes first, and then what the study is about.
  """
  shown = tables.shown_of(summaries)
  return page(
    f'# Results: {_caption(summaries)}',
    f'**{notice}**' if notice else '',
    about,
    Table(
      '',
      tables.header(shown),
      [tables.cells(summary, shown) for summary in summaries],
    ),
    bullets(
      [
        *tables.divergences(summaries),
        *tables.endings(summaries),
        *tables.notes(baseline_title, shown),
      ]
    ),
    *_under_headings(_others(summaries, target_accuracy)),
    '## Warnings' if warnings else '',
    bullets(warnings),
    '\n'.join(f'![{_shown(name)}]({name}.png)' for name in figure_names),
  )


def _under_headings(found: Sequence[Table]) -> list[str | Table]:
  """Returns tables with their titles as headings."""
  return [
    block
    for table in found
    for block in (f'## {table.title}', table._replace(title=''))
  ]


def _shown(figure_name: str) -> str:
  """Returns what a figure shows, by the name of its file."""
  measure, _, cost = figure_name.partition('_')
  return f'{curves.MEASURES[measure.replace("-", " ")].words} over {cost}'


def write_report(
  workdir: pathlib.Path,
  variants: Sequence[str],
  baseline: str,
  target_accuracy: float = 0.0,
) -> Group:
  """Writes `report.md` and `.json`, tables of rows and figures to `workdir`.

  The tables are `metrics.csv` and, where rounds name servers or clients,
  `metrics_listed.csv`: see `fps_jax.results.rows`.

  Everything comes from the metrics files and the warnings that a study keeps,
  so that a report can be made again without the study.

  Args:
    workdir: holds `<variant>/seed_<seed>/metrics.jsonl`.
    variants: the variants to report on, in order.
    baseline: the variant that uplink savings are measured against.
    target_accuracy: whose cost is reported, in (0, 1), or 0 for none.

  Returns:
    The tables, for a rich console to print.

  Raises:
    ValueError: see `collect` and `summarise`; nothing is written then.
  """
  runs, notice = collect(workdir, variants), smoke.read(workdir)
  about = subject.describe(subject.read_configs(workdir, variants))
  summaries = summarise(runs, baseline, target_accuracy)
  baseline_title = title_of(baseline)
  report = {
    'baseline': baseline,
    'target_accuracy': target_accuracy,
    'variants': [summary.to_json() for summary in summaries],
  }
  workdirs.write_json(workdir / 'report.json', report)
  every_run = list(itertools.chain.from_iterable(runs.values()))
  rows.write_csv(workdir / 'metrics.csv', rows.rows_of(every_run))
  if listed := list(rows.listed_of(every_run)):
    rows.write_csv(workdir / 'metrics_listed.csv', listed, rows.LISTED)
  markdown = make_markdown(
    summaries,
    baseline_title,
    target_accuracy,
    _write_figures(workdir, runs),
    kept_warnings.read(workdir),
    notice,
    about,
  )
  files.write_text(workdir / 'report.md', markdown)
  ended = [*tables.divergences(summaries), *tables.endings(summaries)]
  return Group(
    make_table(summaries, baseline_title),
    *map(Text, ended),
    *(table.terminal() for table in _others(summaries, target_accuracy)),
    *([Text(notice)] if notice else []),
  )


def _others(
  summaries: Sequence[Summary], target_accuracy: float
) -> list[Table]:
  """Returns the tables about clients, validation and the target."""
  found = [
    tables.client_table(summaries, tables.CLIENTS_TITLE),
    tables.best_table(summaries, tables.BEST_TITLE),
  ]
  if target_accuracy:
    title = tables.target_title(target_accuracy)
    found.append(tables.target_table(summaries, title))
  return [table for table in found if table]


def _write_figures(
  workdir: pathlib.Path,
  runs: Mapping[str, Sequence[Run]],
) -> list[str]:
  """Draws the runs of each variant, and returns the names of the figures."""
  drawn = [
    curve
    for name, of_variant in runs.items()
    for curve in make_curves(title_of(name), of_variant)
  ]
  for name, of_variant in runs.items():
    complete = [run.rows for run in finished(of_variant)]
    drawn += curves.make_worst_curves(title_of(name), complete)
  paths = figures.write_figures(workdir, drawn) if drawn else []
  return [path.stem for path in paths if path.suffix == '.png']
