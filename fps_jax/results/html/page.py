"""One page about any studies, finished or not: `launch.py --report`."""

import datetime
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jinja2
from markupsafe import Markup

from fps_jax.core import files
from fps_jax.results import study_tables as tables
from fps_jax.results import subject
from fps_jax.results.differences import Field, compare
from fps_jax.results.formats import format_bytes, show_tested
from fps_jax.results.html.figures import draw, rounds_done
from fps_jax.results.metrics import Column
from fps_jax.results.recorded import Study, Variant, read_studies
from fps_jax.results.summary import Run, Summary, summarise
from fps_jax.results.tables import Table
from fps_jax.results.titles import title_of

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
  autoescape=True,
  trim_blocks=True,
  lstrip_blocks=True,
  undefined=jinja2.StrictUndefined,
)
_MARKED = Markup('<mark>{}</mark>')
# Title and lines of each group of a table's; '' shows no title.
Groups = list[tuple[str, list[list[str]]]]


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
  summaries = [_summarise(study) for study in studies]
  drawn = draw(studies)
  shown = tables.shown_of(
    summary for found in summaries for summary in found.values()
  )
  return _ENVIRONMENT.get_template('page.html').render(
    title=f'Results: {", ".join(study.label for study in studies)}',
    time=f'{time:%Y-%m-%d %H:%M}',
    studies=studies,
    columns=tables.header(shown),
    results=_results(studies, summaries, shown),
    notes=tables.notes(
      ', '.join(
        title_of(study.baseline) + (f' ({study.label})' * (len(studies) > 1))
        for study in studies
      ),
      shown,
    ),
    endings=_endings(studies, summaries),
    warnings=[
      (f'{study.label}: ' * (len(studies) > 1)) + line
      for study in studies
      for line in study.warnings
    ],
    diverged=_progress(studies, lambda variant: variant.diverged),
    incomplete=_progress(studies, lambda variant: variant.incomplete),
    clients=_tables(
      tables.client_table, tables.CLIENTS_TITLE, studies, summaries
    ),
    best=_tables(tables.best_table, tables.BEST_TITLE, studies, summaries),
    targets=_targets(studies, summaries),
    drawn=drawn,
    describe=_describe,
    configs=_configs(studies),
    environments=_environments(studies),
    to_json=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
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
  studies: Sequence[Study],
  summaries: Sequence[Mapping[str, Summary]],
  shown: Mapping[str, Column],
) -> Groups:
  of_each = [
    [
      _result(variant, found.get(variant.name), shown)
      for variant in study.variants
    ]
    for study, found in zip(studies, summaries, strict=True)
  ]
  return _grouped(studies, of_each)


def _result(
  variant: Variant, summary: Summary | None, shown: Mapping[str, Column]
) -> list[str]:
  """Returns a row of the results; one without numbers if no run is complete."""
  seeds = ', '.join(str(run.seed) for run in variant.complete) or 'none'
  if len(variant.complete) < len(variant.runs):
    seeds += f' ({len(variant.complete)} of {len(variant.runs)} complete)'
  if summary is None:
    return [variant.title, seeds, *['-'] * len(shown)]
  title, *cells = tables.cells(summary, shown)
  return [title, seeds, *cells]


def _grouped(
  studies: Sequence[Study], of_each: Sequence[list[list[str]]]
) -> Groups:
  """Returns the rows of each study under its name, if there are several."""
  return [
    (_labelled(study) if len(studies) > 1 else '', rows)
    for study, rows in zip(studies, of_each, strict=True)
    if rows
  ]


def _labelled(study: Study) -> str:
  """Returns a study's name, and its data sets and models where recorded."""
  subjects = dict.fromkeys(
    str(subject.subject_of(variant.config)) for variant in study.variants
  )
  return f'{study.label} ({"; ".join(subjects)})'


def _describe(study: Study) -> str:
  """Returns a sentence about what a study is about."""
  return subject.describe(variant.config for variant in study.variants)


def _progress(
  studies: Sequence[Study], chosen: Callable[[Variant], Sequence[Run]]
) -> Groups:
  """Returns how far the chosen runs of each study have come."""
  of_each = [
    [
      _reached(run, variant)
      for variant in each.variants
      for run in chosen(variant)
    ]
    for each in studies
  ]
  return _grouped(studies, of_each)


def _reached(run: Run, variant: Variant) -> list[str]:
  accuracy, number = '-', '-'
  if run.evaluated:
    last = run.evaluated[-1]
    accuracy = show_tested(last['test_accuracy'], last.get('test_loss'))
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


def _tables(
  make: Callable[[Sequence[Summary], str], Table | None],
  title: str,
  studies: Sequence[Study],
  summaries: Sequence[Mapping[str, Summary]],
) -> list[Table]:
  """Returns a table of each study that has one, by its name and a title."""
  made = (
    make(list(found.values()), f'{study.label}: {title}')
    for study, found in zip(studies, summaries, strict=True)
  )
  return [table for table in made if table]


def _endings(
  studies: Sequence[Study], summaries: Sequence[Mapping[str, Summary]]
) -> list[str]:
  """Returns a line for each run that ended as it was accurate enough."""
  return [
    (f'{study.label}: ' * (len(studies) > 1)) + line
    for study, found in zip(studies, summaries, strict=True)
    for line in tables.endings(found.values())
  ]


def _targets(
  studies: Sequence[Study], summaries: Sequence[Mapping[str, Summary]]
) -> list[Table]:
  """Returns what the target cost, of the studies that have one."""
  return [
    tables.target_table(
      list(found.values()),
      f'{study.label}: {tables.target_title(study.target_accuracy)}',
    )
    for study, found in zip(studies, summaries, strict=True)
    if study.target_accuracy and found
  ]


def _configs(studies: Sequence[Study]) -> dict[str, list[list[str]]]:
  """Returns what differs between configs, and what does not."""
  titles = [
    f'{study.label}: {variant.title}' if len(studies) > 1 else variant.title
    for study in studies
    for variant in study.variants
  ]
  fields = compare([v.config for study in studies for v in study.variants])
  rows = _rows([field for field in fields if field.differs], titles)
  # The longer side goes down, where a page has room.
  if len(titles) >= len(rows) > 1:
    rows = [list(column) for column in zip(*rows, strict=True)]
    rows[0][0] = 'Config'
  return {
    'differing': rows if len(rows) > 1 else [],
    'equal': [
      [field.name, field.values[0]] for field in fields if not field.differs
    ],
  }


def _rows(fields: Sequence[Field], titles: Sequence[str]) -> list[list[str]]:
  """Returns a header and fields, with marks on what is not as in the first."""
  return [
    ['Field', *titles],
    *(
      [
        field.name,
        *(
          value if value == field.values[0] else _MARKED.format(value)
          for value in field.values
        ),
      ]
      for field in fields
    ),
  ]


def _environments(studies: Sequence[Study]) -> list[list[str]]:
  """Returns what studies ran on, what differs first."""
  fields = [
    field
    for field in compare([study.environment for study in studies])
    if field.name not in ('argv', 'resumed')
  ]
  return _rows(fields, [study.label for study in studies])
