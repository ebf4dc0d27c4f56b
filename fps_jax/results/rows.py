"""Metrics of a whole study as one table: a row for each round of each run."""

import csv
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fps_jax.core import files
from fps_jax.results.metrics import TYPES
from fps_jax.results.metrics_file import read_metrics
from fps_jax.results.summary import Run, metrics_paths

COLUMNS = ('variant', 'seed', *TYPES)


def read_rows(workdir: str | pathlib.Path) -> Iterator[dict[str, Any]]:
  """Reads every run of a study, finished or not, for a table or DataFrame.

  Args:
    workdir: holds `<variant>/seed_<seed>/metrics.jsonl`.

  Yields:
    `variant`, `seed` and a round's metrics, by variant, seed and round. Rows of
    an earlier version lack the columns that it did not have.

  Raises:
    ValueError: if there is no run, or a file is damaged.
  """
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
  yield from rows_of(runs)


def rows_of(runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
  """Yields what `read_rows` does, of runs that are read already."""
  for run in runs:
    for row in run.rows:
      yield {'variant': run.variant, 'seed': run.seed, **row}


def write_csv(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes rows under `COLUMNS`; None is empty, and a list is JSON."""
  with (
    files.naming(path, problem='cannot be written to'),
    path.open('w', encoding='utf-8', newline='') as file,
  ):
    writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
    writer.writeheader()
    for row in rows:
      writer.writerow(
        {
          name: json.dumps(value) if isinstance(value, list) else value
          for name, value in row.items()
        }
      )
