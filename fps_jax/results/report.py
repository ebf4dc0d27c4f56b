"""Report of a study: tables and figures, from the metrics files alone."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from fps_jax.core import files
from fps_jax.results import figures, kept_warnings, rows, smoke
from fps_jax.results import workdir as workdirs
from fps_jax.results.formats import (
  format_accuracy,
  format_bytes,
  format_loss,
  show,
  show_range,
)
from fps_jax.results.metrics import BY_CLIENT, REPORTED, Column, MetricsRow
from fps_jax.results.summary import (
  Run,
  Summary,
  collect,
  finished,
  summarise,
  title_of,
)
from fps_jax.results.tables import Table, bullets, page

_METHOD = 'Method'
# Above what reports say of single clients.
CLIENTS_TITLE = (
  'Test accuracy by client, after the last round; means over seeds'
)
_BEST_COLUMNS = (_METHOD, 'Round', 'Validation (%)', 'Test accuracy (%)')
BEST_TITLE = 'Where validation is best, means over seeds'
_TARGET_COLUMNS = (
  _METHOD,
  'Rounds',
  'Uplink per client',
  'Simulated time (minutes)',
)


def shown_of(summaries: Iterable[Summary]) -> dict[str, Column]:
  """Returns what a report on some variants says: what any of them has."""
  summaries = list(summaries)
  return {
    name: column
    for name, column in REPORTED.items()
    if not column.is_optional or any(each.numbers[name] for each in summaries)
  }


def header(shown: Mapping[str, Column]) -> tuple[str, ...]:
  """Returns the headings over `cells`."""
  return (_METHOD, *(column.heading for column in shown.values()))


# Those that every report has.
COLUMNS = header(shown_of(()))


def _or_always(shown: Mapping[str, Column] | None) -> Mapping[str, Column]:
  return shown_of(()) if shown is None else shown


def notes(
  baseline_title: str, shown: Mapping[str, Column] | None = None
) -> list[str]:
  """Returns what a reader must know of the numbers."""
  return [
    column.note.format(baseline=baseline_title)
    for column in _or_always(shown).values()
    if column.note
  ]


def title_with_seeds(summary: Summary) -> str:
  """Returns the name of a variant, and how many of its runs do not count."""
  num_diverged = len(summary.diverged)
  if not num_diverged:
    return summary.title
  num_runs = num_diverged + len(summary.seeds)
  return f'{summary.title} ({num_diverged} of {num_runs} diverged)'


def cells(
  summary: Summary, shown: Mapping[str, Column] | None = None
) -> list[str]:
  """Returns what a summary says under the `header`.

  Where there is no accuracy, its place has the test loss, and says so.
  """
  numbers = summary.numbers
  found = {
    name: column.show(numbers[name])
    for name, column in _or_always(shown).items()
  }
  loss = numbers['test_loss']
  if numbers['test_accuracy'] is None and loss is not None:
    found['test_accuracy'] = f'loss {show_range(format_loss, loss)}'
  return [title_with_seeds(summary), *found.values()]


def target_table(summaries: Sequence[Summary], title: str) -> Table:
  """Returns what the target accuracy cost; '-' where it was not reached."""
  lines = []
  for summary in summaries:
    cost = summary.to_target
    shown = ['-', '-', '-']
    if cost is not None:
      shown = [
        f'{cost.rounds:,.4g}',
        format_bytes(cost.uplink_bytes_per_client),
        show(lambda s: f'{s / 60:.3g}', cost.simulated_seconds),
      ]
    lines.append([title_with_seeds(summary), *shown])
  return Table(title, _TARGET_COLUMNS, lines)


def client_table(summaries: Sequence[Summary], title: str) -> Table | None:
  """Returns what was measured of single clients; None where nothing was."""
  lines = [
    [
      title_with_seeds(summary),
      *(
        column.show(summary.numbers[name]) for name, column in BY_CLIENT.items()
      ),
    ]
    for summary in summaries
    if summary.numbers['client_accuracy']
  ]
  headings = [column.heading for column in BY_CLIENT.values()]
  return Table(title, (_METHOD, *headings), lines) if lines else None


def best_table(summaries: Sequence[Summary], title: str) -> Table | None:
  """Returns what models were worth where they were best in validation.

  None without a validation part.
  """
  lines = [
    [
      title_with_seeds(summary),
      f'{best.round:,.4g}',
      format_accuracy(best.validation_accuracy),
      format_accuracy(best.test_accuracy),
    ]
    for summary in summaries
    if (best := summary.at_best)
  ]
  return Table(title, _BEST_COLUMNS, lines) if lines else None


def _target_title(target_accuracy: float) -> str:
  return f'To {100 * target_accuracy:g} % test accuracy, means over seeds'


def _caption(summaries: Sequence[Summary]) -> str:
  first = summaries[0]
  seeds = sorted([*first.seeds, *(run.seed for run in first.diverged)])
  shown = f'seed{"s" * (len(seeds) != 1)} {", ".join(map(str, seeds))}'
  rounds = max((each.rounds or 0 for each in summaries), default=0)
  if not rounds:
    return shown
  most = 'up to ' * any(each.reached for each in summaries)
  return f'{most}{rounds} round{"s" * (rounds != 1)}, {shown}'


def endings(summaries: Iterable[Summary]) -> list[str]:
  """Returns a line for each run that ended as it was accurate enough."""
  return [
    f'{summary.title}, seed {run.seed}: reached eval.stop_at_accuracy in round '
    f'{run.round}, its last.'
    for summary in summaries
    for run in summary.reached
  ]


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
) -> RenderableType:
  """Lays out the summaries for a terminal; one row each.

  Every row takes one line on 100 columns, and all numbers show on any width.
  """
  shown = shown_of(summaries)
  return Table(
    _caption(summaries),
    header(shown),
    [cells(summary, shown) for summary in summaries],
    'Uplink, downlink: per client and round. Saving: against '
    f'{baseline_title}.\nRound: median without round 1, which compiles.',
    # Names, and ranges.
    num_wrapping=1 + sum(column.has_range for column in shown.values()),
  ).terminal()


def make_curves(title: str, runs: Sequence[Run]) -> list[figures.Curve]:
  """Returns a curve of the finished runs, and one for each that diverged.

  Runs that no round before was evaluated of have none.
  """
  return figures.make_curves(
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
) -> str:
  """Writes the summaries as a page of Markdown that shows the figures.

  Warnings about settings have a section of their own, if there are any, and
  what a reader must know first goes first.
  """
  clients = client_table(
    summaries,
    f'{CLIENTS_TITLE}. Clients that are honest and have test examples count '
    'alike. Own: of the model that each makes by training on its own '
    'examples:',
  )
  target_title = (
    f'{_target_title(target_accuracy)}; `-` if a seed never reached it:'
  )
  shown = shown_of(summaries)
  return page(
    f'# Results: {_caption(summaries)}',
    f'**{notice}**' if notice else '',
    Table('', header(shown), [cells(summary, shown) for summary in summaries]),
    bullets(
      [
        *divergences(summaries),
        *endings(summaries),
        *notes(baseline_title, shown),
      ]
    ),
    clients or '',
    '## Warnings' if warnings else '',
    bullets(warnings),
    best_table(summaries, f'{BEST_TITLE}:') or '',
    target_table(summaries, target_title) if target_accuracy else '',
    '\n'.join(f'![Test {_shown(name)}]({name}.png)' for name in figure_names),
  )


def _shown(figure_name: str) -> str:
  of_worst = figure_name.replace('worst-tenth', 'accuracy of the worst tenth')
  return of_worst.replace('_', ' over ')


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
  )
  files.write_text(workdir / 'report.md', markdown)
  tables: list[RenderableType] = [
    make_table(summaries, baseline_title),
    *map(Text, [*divergences(summaries), *endings(summaries)]),
  ]
  tables += [table.terminal() for table in _tables(summaries)]
  if target_accuracy:
    target = target_table(summaries, _target_title(target_accuracy))
    tables.append(target.terminal())
  if notice:
    tables.append(Text(notice))
  return Group(*tables)


def _tables(summaries: Sequence[Summary]) -> list[Table]:
  """Returns what was measured besides, of clients and in validation."""
  tables = (
    client_table(summaries, CLIENTS_TITLE),
    best_table(summaries, BEST_TITLE),
  )
  return [table for table in tables if table]


def _worst_curves(title: str, runs: Sequence[Run]) -> list[figures.Curve]:
  """Returns the curve of the worst tenth of clients, if it was measured."""
  rows = [[_of_worst(row) for row in run.rows] for run in runs]
  if not any(row['test_accuracy'] for of_run in rows for row in of_run):
    return []
  curve = figures.make_curve(title, rows)
  return [dataclasses.replace(curve, measure='worst tenth')]


def _of_worst(row: MetricsRow) -> MetricsRow:
  """Returns a row whose accuracy is that of the worst tenth of clients."""
  changed = row.copy()
  changed['test_accuracy'] = row.get('client_accuracy_worst_tenth')
  return changed


def _write_figures(
  workdir: pathlib.Path,
  runs: Mapping[str, Sequence[Run]],
) -> list[str]:
  """Draws the runs of each variant, and returns the names of the figures."""
  curves = [
    curve
    for name, of_variant in runs.items()
    for curve in make_curves(title_of(name), of_variant)
  ]
  curves += [
    curve
    for name, of_variant in runs.items()
    for curve in _worst_curves(title_of(name), finished(of_variant))
  ]
  paths = figures.write_figures(workdir, curves) if curves else []
  return [path.stem for path in paths if path.suffix == '.png']
