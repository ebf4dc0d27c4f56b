"""Metrics of a whole study as tables: a row for each round of each run.

No cell holds a list. Where a column of the metrics does, a round's row has a
column for each place of it (`clients_per_tier_0`), or how many it holds
(`num_wrong_servers`); what these are, a number a row, is a table of its own.
"""

import ast
import csv
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fps_jax.core import files
from fps_jax.results.metrics import COLUMNS, TYPES
from fps_jax.results.metrics_file import read_metrics
from fps_jax.results.summary import Run, metrics_paths
from fps_jax.results.titles import split_variant

LISTED = ('variant', 'seed', 'round', 'column', 'number')
_FIRST = ('variant', 'seed')


def read_rows(workdir: str | pathlib.Path) -> Iterator[dict[str, Any]]:
  """Reads every run of a study, finished or not, for a table or DataFrame.

  Args:
    workdir: holds `<variant>/seed_<seed>/metrics.jsonl`.

  Yields:
    `variant`, `seed` and a round's metrics, by variant, seed and round. Of a
    sweep also `method`, the variant without what is swept, and each swept
    field, None where the variant does not read it. Columns that
    `eval.on_round` added to any of them are None where it did not. Rows of an
    earlier version lack the columns that it did not have.

  Raises:
    ValueError: if there is no run, or a file is damaged.
  """
  yield from rows_of(_read_runs(workdir))


def read_listed(workdir: str | pathlib.Path) -> Iterator[dict[str, Any]]:
  """Reads the numbers of servers and clients that rounds name, one a row.

  Args:
    workdir: as of `read_rows`.

  Yields:
    The columns `LISTED`: `column` is that of the metrics, `wrong_servers`, and
    `number` one of what it holds. Ordered as `read_rows`.

  Raises:
    ValueError: as `read_rows`.
  """
  yield from listed_of(_read_runs(workdir))


def _read_runs(workdir: str | pathlib.Path) -> list[Run]:
  runs = [
    Run(folder.name, seed, read_metrics(path, needed=()))
    for folder in sorted(pathlib.Path(workdir).glob('*/'))
    for seed, path in metrics_paths(folder).items()
  ]
  if not runs:
    raise ValueError(
      f'no {workdir}/<variant>/seed_<seed>/metrics.jsonl: give the --workdir '
      'of a study'
    )
  return runs


def rows_of(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
  """Yields what `read_rows` does, of runs that are read already."""
  swept = dict.fromkeys(
    field for run in runs for field in split_variant(run.variant)[1]
  )
  own = _own_columns(runs)
  for run in runs:
    first: dict[str, Any] = {'variant': run.variant, 'seed': run.seed}
    if swept:
      first['method'], values = split_variant(run.variant)
      first |= {field: _value(values.get(field)) for field in swept}
    for row in run.rows:
      added = {name: row.get(name) for name in own}
      yield {**first, **_without_lists(row), **added}


def _own_columns(runs: Iterable[Run]) -> list[str]:
  """Returns the columns that are no metrics, in the order of their coming."""
  names = (name for run in runs for row in run.rows for name in row)
  return [name for name in dict.fromkeys(names) if name not in TYPES]


def _value(text: str | None) -> Any:
  """Returns what a swept value's text stands for, as a sweep reads it."""
  try:
    value = ast.literal_eval(text or 'None')
  except (ValueError, SyntaxError):
    return text
  return text if isinstance(value, tuple | list | dict) else value


def _without_lists(row: Mapping[str, Any]) -> dict[str, Any]:
  found: dict[str, Any] = {}
  for name, value in row.items():
    if not isinstance(value, list):
      found[name] = value
    elif _has_places(name):
      found |= {f'{name}_{i}': item for i, item in enumerate(value)}
    else:
      found[f'num_{name}'] = len(value)
  return found


def _has_places(name: str) -> bool:
  """Returns whether a list's places mean something, not what it holds."""
  return name in COLUMNS and COLUMNS[name].plots_items


def listed_of(runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
  """Yields what `read_listed` does, of runs that are read already."""
  for run in runs:
    for row in run.rows:
      for name, value in row.items():
        if isinstance(value, list) and not _has_places(name):
          for number in value:
            cells = (run.variant, run.seed, row['round'], name, number)
            yield dict(zip(LISTED, cells, strict=True))


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
  """Returns the columns of some rows, those of a list side by side."""
  found = dict.fromkeys(name for row in rows for name in row)
  metrics = [
    column for name in TYPES for column in found if _stem(column) == name
  ]
  first = [*_FIRST, *(name for name in found if name not in metrics)]
  return list(dict.fromkeys([*first, *metrics]))


def _stem(column: str) -> str:
  """Returns the column of the metrics that one of a row is made of."""
  stem = column.removeprefix('num_')
  return stem if stem in TYPES else column.rpartition('_')[0]


def write_csv(
  path: pathlib.Path,
  rows: Iterable[Mapping[str, Any]],
  columns: Sequence[str] | None = None,
) -> None:
  """Writes rows under some columns; what is None, or lacks, is empty.

  Args:
    path: replaced if it exists.
    rows: as `read_rows` or `read_listed` have them.
    columns: by default those of `read_rows`.
  """
  rows = list(rows)
  columns = columns or columns_of(rows)
  with (
    files.naming(path, problem='cannot be written to'),
    path.open('w', encoding='utf-8', newline='') as file,
  ):
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
