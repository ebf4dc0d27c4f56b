"""Tables and numbers of a document that are made of published rows.

They stand between marks, comments of Markdown that no reader sees. A mark names
a file of rows, and what of it:

  <!-- rows: mnist --> a table of all variants <!-- end -->
  <!-- rows: mnist, columns test_accuracy uplink_bytes_per_client -->
  <!-- rows: poisoning, grid attack_success --> attacks and defences
  <!-- rows: non_iid, grid test_accuracy Dealt --> of another heading
  <!-- value: mnist fedavg test_accuracy -->94.25<!-- end -->
  <!-- lines: inversion, 1 image per client --> a benchmark's table <!-- end -->

Numbers are means over seeds, with the 95 % confidence interval; differences are
to the file's first variant, seed by seed. A variant that the document names in
code style in the first cell of a line keeps that cell.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence

from fps_jax.results import study_tables, titles
from fps_jax.results.column import Column
from fps_jax.results.metrics import COLUMNS
from fps_jax.results.published import lines
from fps_jax.results.published import rows as published
from fps_jax.results.published.rows import Row
from fps_jax.results.reported import REPORTED
from fps_jax.results.summary import Summary, summarise
from fps_jax.results.tables import Table

# The first cell of a line, with a name in code style.
_NAMED = re.compile(r'\n\| ([^|`]*`([^|`]+)`\)?)')
# Names are of lower case, so that NAME may stand for one.
_BEGIN = re.compile(r'<!-- (rows|value|lines): ([a-z0-9_][^>]*?) -->')
_MARKED = re.compile(
  rf'{_BEGIN.pattern}((?:(?!<!--).)*)<!-- end -->', re.DOTALL
)
_COLUMNS: Mapping[str, Column] = {**COLUMNS, **REPORTED}


def update(text: str, folder: pathlib.Path) -> str:
  """Returns a document with what is between its marks made anew.

  Args:
    text: Markdown.
    folder: of the files of rows.

  Raises:
    ValueError: if a mark has no end or names what there is not, or a file is
      named by none.
  """
  paths, named = published.paths(folder), set()

  def make(match: re.Match[str]) -> str:
    kind, mark, old = match.groups()
    name, *rest = re.split(r'[, ]+', mark)
    if name not in paths:
      raise ValueError(
        f'the mark {mark!r} names {name}, of which {folder} has no rows: add '
        f'a run, or name one of {sorted(paths)}'
      )
    named.add(name)
    rows = published.read(paths[name])
    try:
      if kind == 'rows':
        new = _block(rows, rest, old)
      elif kind == 'lines':
        title = mark.removeprefix(name).lstrip(', ')
        new = _shown(lines.table_of(rows, title), rows)
      else:
        new = _value(rows, *rest)
    except (KeyError, TypeError) as error:
      raise ValueError(
        f'the mark {mark!r} asks for what there is not ({error}): name a '
        f'variant of {paths[name]} and columns of the metrics'
      ) from error
    return f'<!-- {kind}: {mark} -->{new}<!-- end -->'

  made, num_made = _MARKED.subn(make, text)
  if num_made != len(_BEGIN.findall(text)):
    raise ValueError(
      f'only {num_made} of {len(_BEGIN.findall(text))} marks have their '
      '<!-- end --> before another begins: write it'
    )
  if missing := sorted(set(paths) - named):
    raise ValueError(
      f'no mark names the rows of {", ".join(missing)}: write '
      f'<!-- rows: {missing[0]} --> and <!-- end --> where they are to stand'
    )
  return made


def summaries_of(rows: Sequence[Row]) -> list[Summary]:
  """Returns what each variant comes to; the first one is the baseline."""
  return summarise(published.runs_of(rows), rows[0]['variant'])


def _block(rows: Sequence[Row], rest: Sequence[str], old: str) -> str:
  summaries = summaries_of(rows)
  kind, names = rest[0] if rest else '', rest[1:]
  if kind == 'grid':
    table = _grid(summaries, *names)
  else:
    shown = {
      name: column
      for name, column in study_tables.shown_of(summaries).items()
      if name in published.MEASURED or name not in COLUMNS
    }
    if names:
      shown = {name: _COLUMNS[name] for name in names}
    headings = [shown[name].heading or name for name in shown]
    table = Table(
      '', ['Method', *headings], _of_variants(summaries, shown, old)
    )
  return _shown(table, rows)


def _shown(table: Table, rows: Sequence[Row]) -> str:
  return f'\n\n{table.markdown()}\n\n{_how(rows)}\n\n'


def _of_variants(
  summaries: Sequence[Summary], shown: Mapping[str, Column], old: str
) -> list[list[str]]:
  """Returns a line a variant, called as the old table does by its name."""
  called = {match[2]: match[1] for match in _NAMED.finditer(old)}
  found = []
  for each in summaries:
    first, *cells = study_tables.cells(each, shown)
    title = called.get(each.variant, each.title)
    found.append([first.replace(each.title, title, 1), *cells])
  return found


def _grid(
  summaries: Sequence[Summary],
  name: str = 'test_accuracy',
  heading: str = 'Attack',
) -> Table:
  """Returns the variants `FIRST--SECOND`, the second ones side by side."""
  column = _COLUMNS[name]
  cells = {}
  for each in summaries:
    attack, _, defence = each.variant.partition(titles.SEPARATOR)
    cells[attack, defence] = column.show(each.numbers[name])
  attacks, defences = (
    dict.fromkeys(names) for names in zip(*cells, strict=True)
  )
  found = [
    [
      titles.title_of_attack(attack),
      *(cells.get((attack, defence), '-') for defence in defences),
    ]
    for attack in attacks
  ]
  header = (heading, *map(titles.title_of_defence, defences))
  return Table('', header, found)


def _value(rows: Sequence[Row], variant: str, name: str) -> str:
  by_variant = {each.variant: each for each in summaries_of(rows)}
  return _COLUMNS[name].show(by_variant[variant].numbers[name])


def _how(rows: Sequence[Row]) -> str:
  """Returns when and where rows were measured and, of runs, the seeds."""
  seeds = sorted({row['seed'] for row in rows if 'seed' in row})
  several = ', '.join(map(str, seeds))
  if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
    several = f'{seeds[0]} to {seeds[-1]}'
  parts = [f'Seed{"s" * (len(seeds) > 1)} {several}'] if seeds else []
  for name, form in (('hardware', '{}'), ('jax', 'JAX {}'), ('date', '{}')):
    found = sorted({row[name] for row in rows})
    parts.append(form.format(', '.join(found)))
  return f'{"; ".join(parts)}.'
