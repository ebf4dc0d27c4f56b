"""One page about any studies, finished or not: `launch.py --report`."""

import datetime
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from fps_jax.core import files
from fps_jax.results import report
from fps_jax.results.formats import format_accuracy, format_bytes, show
from fps_jax.results.html import settings
from fps_jax.results.html.figures import figures_of, rounds_done
from fps_jax.results.html.markup import Markup, join, page, table, tag
from fps_jax.results.recorded import Study, Variant, read_studies
from fps_jax.results.summary import Run, Summary, summarise, title_of

_RUN_COLUMNS = (
  'Run',
  'Rounds done',
  'Test accuracy (%)',
  'Evaluated in round',
  'Uplink per client so far',
  'Time so far (s)',
)


def write(
  folders: Sequence[str | pathlib.Path],
  path: str | pathlib.Path | None = None,
) -> pathlib.Path:
  """Writes the page about some work directories.

  Args:
    folders: work directories of studies.
    path: of the page, replaced if it exists; by default `report.html` in the
      first folder.

  Returns:
    Its path.

  Raises:
    ValueError: if a folder is not the work directory of a study, or a file in
      it is damaged; nothing is written then.
    OSError: if the page cannot be written.
  """
  studies = read_studies([files.local(each, '--report') for each in folders])
  target = (
    files.local(path, '--report_file')
    if path
    else studies[0].folder / 'report.html'
  )
  made = make_page(studies, datetime.datetime.now(datetime.UTC))
  with files.naming(target, 'give another --report_file', 'cannot be written'):
    # Where it is, be it a link or a device.
    target.write_text(made, encoding='utf-8', errors='backslashreplace')
  return target


def make_page(studies: Sequence[Study], time: datetime.datetime) -> str:
  """Returns a page that needs no other file and runs no script.

  Args:
    studies: at least one.
    time: when they were read.

  Raises:
    ValueError: if a complete run sent nothing.
  """
  labels = ', '.join(study.label for study in studies)
  summaries = [_summarise(study) for study in studies]
  return page(
    f'Results: {labels}',
    tag('h1', f'Results: {labels}'),
    tag('p', f'As of {time:%Y-%m-%d %H:%M} UTC.', class_='quiet'),
    tag('ul', *map(_status, studies)),
    tag('h2', 'Results'),
    _results(studies, summaries),
    *_warnings(studies),
    *_runs_beside(studies),
    *_targets(studies, summaries),
    tag('h2', 'Test accuracy'),
    figures_of(studies),
    tag('h2', 'Configs'),
    *settings.configs(studies),
    tag('h2', 'Environment'),
    *settings.environment(studies),
  )


def _status(study: Study) -> Markup:
  runs = sum(len(variant.runs) for variant in study.variants)
  complete = sum(len(variant.complete) for variant in study.variants)
  diverged = sum(len(variant.diverged) for variant in study.variants)
  return tag(
    'li',
    tag('strong', study.label),
    f': {complete} of {runs} runs complete',
    f', {diverged} diverged' if diverged else '',
    f', in {study.folder}',
  )


def _summarise(study: Study) -> dict[str, Summary]:
  """Summarises the complete runs of the variants that have any."""
  runs = {v.name: v.complete for v in study.variants if v.complete}
  baseline = study.baseline if study.baseline in runs else None
  try:
    summaries = summarise(runs, baseline, target_accuracy=study.target_accuracy)
  except ValueError as error:
    raise ValueError(f'{study.folder}: {error}') from error
  return {summary.variant: summary for summary in summaries}


def _results(
  studies: Sequence[Study], summaries: Sequence[Mapping[str, Summary]]
) -> Markup:
  groups = [
    (
      study.label if len(studies) > 1 else '',
      [_result(variant, found.get(variant.name)) for variant in study.variants],
    )
    for study, found in zip(studies, summaries, strict=True)
  ]
  baselines = ', '.join(
    title_of(study.baseline) + (f' ({study.label})' * (len(studies) > 1))
    for study in studies
  )
  notes = [
    'Seeds: of the complete runs, which alone count; (1 of 3) says that others '
    'diverged or are not finished.',
    *report.notes(baselines),
  ]
  first, *columns = report.COLUMNS
  return join(
    [
      table('Complete runs', [first, 'Seeds', *columns], groups, 'numbers'),
      tag('ul', *(tag('li', note) for note in notes), class_='notes'),
    ]
  )


def _result(variant: Variant, summary: Summary | None) -> list[str]:
  """Returns a row of the results; one without numbers if no run is complete."""
  seeds = ', '.join(str(run.seed) for run in variant.complete) or 'none'
  if len(variant.complete) < len(variant.runs):
    seeds += f' ({len(variant.complete)} of {len(variant.runs)})'
  if summary is None:
    return [variant.title, seeds, *['-'] * (len(report.COLUMNS) - 1)]
  title, *cells = report.cells(summary)
  return [title, seeds, *cells]


def _warnings(studies: Sequence[Study]) -> Iterator[Markup]:
  lines = [
    (f'{study.label}: ' * (len(studies) > 1)) + line
    for study in studies
    for line in study.warnings
  ]
  if lines:
    yield tag('h2', 'Warnings')
    yield tag('ul', *(tag('li', line) for line in lines), class_='notes')


def _runs_beside(studies: Sequence[Study]) -> Iterator[Markup]:
  """Yields the runs that are in no mean."""
  yield from _list_runs(
    studies,
    'Diverged',
    'Ended early, since a loss, the model or all updates of a round were not '
    'finite; in none of the means above.',
    'Runs that diverged',
    lambda variant: variant.diverged,
  )
  yield from _list_runs(
    studies,
    'Not finished',
    'Still running, given up or not begun: as far as they have come, and in '
    'none of the means above.',
    'Runs with rounds to go',
    lambda variant: variant.incomplete,
  )


def _list_runs(
  studies: Sequence[Study],
  heading: str,
  text: str,
  caption: str,
  chosen: Callable[[Variant], Sequence[Run]],
) -> Iterator[Markup]:
  groups = [
    (
      study.label if len(studies) > 1 else '',
      [
        _progress(run, variant)
        for variant in study.variants
        for run in chosen(variant)
      ],
    )
    for study in studies
  ]
  shown = [(title, rows) for title, rows in groups if rows]
  if shown:
    yield tag('h2', heading)
    yield tag('p', text)
    yield table(caption, _RUN_COLUMNS, shown, 'numbers')


def _progress(run: Run, variant: Variant) -> list[str]:
  accuracy, number = '-', '-'
  if run.evaluated:
    last = run.evaluated[-1]
    accuracy = show(format_accuracy, last['test_accuracy'])
    number = str(last['round'])
  uplink = sum(row['uplink_bytes_per_client'] for row in run.rows)
  seconds = sum(row['round_seconds'] for row in run.rows)
  return [
    f'{variant.title}, seed {run.seed}',
    rounds_done(run, variant),
    accuracy,
    number,
    format_bytes(uplink),
    f'{seconds:.0f}',
  ]


def _targets(
  studies: Sequence[Study], summaries: Sequence[Mapping[str, Summary]]
) -> Iterator[Markup]:
  """Yields what the target cost, of the studies that have one."""
  tables = []
  for study, found in zip(studies, summaries, strict=True):
    if study.target_accuracy and found:
      cost = report.target_table(
        list(found.values()),
        f'{study.label}: what {100 * study.target_accuracy:g} % test accuracy '
        'took; means over seeds, - if one never reached it',
      )
      groups = [('', cost.lines)]
      tables.append(table(cost.title, cost.header, groups, 'numbers'))
  if tables:
    yield tag('h2', 'Cost of the target accuracy')
    yield from tables
