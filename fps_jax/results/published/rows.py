"""Rows of published studies, one a run: what it came to, how, when and where.

A row has the columns of the metrics that summaries reduce, already reduced over
the run's rounds: a mean over rounds, or what was measured last. Wall times are
left out, since they depend on what else the machine does.
"""

import ast
import csv
import pathlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fps_jax.core import files
from fps_jax.results import recorded
from fps_jax.results.metrics import COLUMNS
from fps_jax.results.rows import write_csv
from fps_jax.results.summary import Run, reduce

_TIME = 'round_seconds'
MEASURED = (
  'round',
  'diverged',
  *(name for name in COLUMNS if COLUMNS[name].reduce and name != _TIME),
)
HOW = ('date', 'hardware', 'jax', 'code', 'command')
Row = dict[str, Any]


def read(path: pathlib.Path) -> list[Row]:
  """Returns the rows of a file, numbers as numbers; `path` need not exist.

  Raises:
    ValueError: if a cell is none that `write` writes.
  """
  if not path.exists():
    return []
  with path.open(encoding='utf-8', newline='') as file:
    return [_parse(path, row) for row in csv.DictReader(file)]


def _parse(path: pathlib.Path, row: Mapping[str, str]) -> Row:
  found: Row = {}
  for name, cell in row.items():
    found[name] = cell
    if name == 'seed' or name in MEASURED:
      try:
        found[name] = ast.literal_eval(cell or 'None')
      except (ValueError, SyntaxError) as error:
        raise ValueError(
          f'{path}: {name}={cell!r} is no number: add the run again'
        ) from error
  return found


def runs_of(rows: Iterable[Row]) -> dict[str, list[Run]]:
  """Returns rows as runs that have one round, by variant."""
  runs: dict[str, list[Run]] = {}
  for row in rows:
    measured: Any = {name: row.get(name) for name in MEASURED}
    run = Run(row['variant'], row['seed'], [measured])
    runs.setdefault(row['variant'], []).append(run)
  return runs


def add(folder: str | pathlib.Path, path: pathlib.Path) -> int:
  """Adds the runs of a study to a file, in place of those it has of them.

  Args:
    folder: work directory of a study whose runs have all their rounds, or
      diverged.
    path: of the file, created if need be.

  Returns:
    How many rows were added.

  Raises:
    ValueError: if the study is cut down or not finished, its runs have more or
      fewer rounds than others of the file, or marks cannot name the file.
  """
  check_name(path)
  (study,) = recorded.read_studies([folder])
  if study.notice:
    raise ValueError(f'{folder}: {study.notice} Publish a whole study')
  if missing := [
    f'{variant.name}/seed_{run.seed}'
    for variant in study.variants
    for run in variant.incomplete
  ]:
    raise ValueError(
      f'{folder} has runs that are not finished ({", ".join(missing)}): run '
      'its command again, which goes on with them'
    )
  # The baseline is what a file has first.
  runs = sorted(study.runs, key=lambda run: run.variant != study.baseline)
  how = how_of(study.folder, study.environment)
  rows = {(row['variant'], row['seed']): row for row in read(path)}
  rows |= {(run.variant, run.seed): _row_of(run) | how for run in runs}
  _check_rounds(path, rows.values())
  places = list(dict.fromkeys(variant for variant, _ in rows))
  ordered = sorted(
    rows.values(), key=lambda row: (places.index(row['variant']), row['seed'])
  )
  _write(path, ordered)
  return len(runs)


def _write(path: pathlib.Path, rows: Sequence[Row]) -> None:
  measured = [
    name for name in MEASURED if any(row.get(name) is not None for row in rows)
  ]
  kept = ('variant', 'seed', *measured, *HOW)
  path.parent.mkdir(parents=True, exist_ok=True)
  write_csv(
    path, [{name: row.get(name) for name in kept} for row in rows], kept
  )


def _row_of(run: Run) -> Row:
  spreads = reduce([run])
  row: Row = {'variant': run.variant, 'seed': run.seed}
  row |= {'round': len(run.rows), 'diverged': run.has_diverged}
  for name in MEASURED[2:]:
    spread = spreads[name]
    row[name] = spread and spread.middle
  return row


def _check_rounds(path: pathlib.Path, rows: Iterable[Row]) -> None:
  rounds = {row['round'] for row in rows if not row['diverged']}
  if len(rounds) > 1:
    raise ValueError(
      f'{path} would have runs of {sorted(rounds)} rounds, whose means cannot '
      'be compared: give another --name'
    )


def check_name(path: pathlib.Path) -> None:
  """Raises ValueError where a mark cannot name a file."""
  if not re.fullmatch('[a-z0-9_]+', path.stem):
    raise ValueError(
      f'name={path.stem!r} must consist of lower case, digits and _'
    )


def how_of(folder: pathlib.Path, environment: Mapping[str, Any]) -> Row:
  """Returns when, where and by what a work directory's numbers were measured.

  Args:
    folder: for the message.
    environment: as `describe_environment` returns it.

  Raises:
    ValueError: if it lacks something.
  """
  try:
    hardware = (
      f'{environment["cpu_logical_cores"]} cores of {environment["cpu_model"]}'
      if environment['jax_backend'] == 'cpu'
      else f'{environment["device_count"]} {environment["device_kind"]}'
    )
    return {
      'date': environment['started_utc'][: len('2026-01-31')],
      'hardware': hardware,
      'jax': environment['packages']['jax'],
      'code': environment['code_sha256'][:12],
      'command': command_of(environment['argv']),
    }
  except KeyError as error:
    raise ValueError(
      f'{folder}/environment.json has no {error}, which says when and where '
      'it was measured: run its command again'
    ) from error


def command_of(argv: Sequence[str]) -> str:
  """Returns a command line without what is of one machine alone.

  >>> command_of(['/a/launch.py', '--config=b.py', '--workdir', '/c'])
  'python launch.py --config=b.py'
  >>> command_of(['launch.py', '--config=/a/experiments/b.py:seeds=3'])
  'python launch.py --config=experiments/b.py:seeds=3'
  >>> command_of(['launch.py', '--config=b', '--tfds_data_dir=/data'])
  'python launch.py --config=b --tfds_data_dir=DIR'
  >>> command_of(['launch.py', '--config=b', '--config.seeds=(1,)'])
  "python launch.py --config=b '--config.seeds=(1,)'"
  """
  first, *rest = argv
  words, skips = [f'python {pathlib.Path(first).name}'], False
  for word in rest:
    flag, equals, value = word.partition('=')
    if skips or flag.lstrip('-') == 'workdir':
      skips = not skips and not equals
      continue
    if flag.lstrip('-') == 'tfds_data_dir' and equals:
      word = f'{flag}=DIR'
    elif value.startswith('/'):
      _, is_there, name = value.rpartition('/experiments/')
      word = f'{flag}=experiments/{name}' if is_there else f'{flag}=FILE'
    words.append(shlex.quote(word))
  return ' '.join(words)


def paths(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the files of rows in a folder, by name."""
  with files.naming(folder, problem='cannot be read'):
    return {path.stem: path for path in sorted(folder.glob('*.csv'))}
