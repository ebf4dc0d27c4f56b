"""Lines of the tables that benchmarks report, which have no runs of studies.

Cells stay the text that the benchmark wrote, since each has columns of its own.
"""

import json
import pathlib
import re
from collections.abc import Sequence

from fps_jax.core import files
from fps_jax.results import smoke
from fps_jax.results.published import rows as published
from fps_jax.results.published.rows import HOW, Row
from fps_jax.results.rows import write_csv
from fps_jax.results.tables import Table

_TABLE = re.compile(r'(?:\*\*(.+)\*\*\n\n)?((?:\|.*\|\n)+)')


def is_of_benchmark(folder: pathlib.Path) -> bool:
  """Returns whether a work directory is that of a benchmark."""
  return (folder / 'results.json').exists()


def add(folder: pathlib.Path, path: pathlib.Path) -> int:
  """Adds the lines of a benchmark's report to a file, in place of the same.

  Lines are the same if their tables and their first cells are.

  Args:
    folder: work directory of the benchmark.
    path: of the file, created if need be.

  Returns:
    How many lines were added.

  Raises:
    ValueError: if the benchmark is cut down, or marks cannot name the file.
    OSError: if a file of the folder cannot be read.
  """
  published.check_name(path)
  if notice := smoke.read(folder):
    raise ValueError(f'{folder}: {notice} Publish a whole benchmark')
  environment = json.loads(files.read_text(folder / 'environment.json'))
  how = published.how_of(folder, environment)
  rows = {_key(row): row for row in published.read(path)}
  added = 0
  for title, text in _TABLE.findall(files.read_text(folder / 'report.md')):
    headings, _, *lines = (_cells(line) for line in text.splitlines())
    for cells in lines:
      row = {'table': title, **dict(zip(headings, cells, strict=True)), **how}
      rows[_key(row)] = row
      added += 1
  columns = dict.fromkeys(name for row in rows.values() for name in row)
  path.parent.mkdir(parents=True, exist_ok=True)
  ordered = [name for name in columns if name not in HOW]
  write_csv(path, list(rows.values()), [*ordered, *HOW])
  return added


def _cells(line: str) -> list[str]:
  return [cell.strip() for cell in line.strip('|').split('|')]


def _key(row: Row) -> tuple[str, str]:
  _, first, *_ = row.values()
  return row['table'], first


def table_of(rows: Sequence[Row], title: str) -> Table:
  """Returns one of the tables of a file; '' asks for its lines of all.

  Raises:
    KeyError: if there is none of the title.
  """
  chosen = [row for row in rows if title in ('', row['table'])]
  if not chosen:
    raise KeyError(title)
  headings = [
    name
    for name in chosen[0]
    if name not in ('table', *HOW) and any(row[name] for row in chosen)
  ]
  lines = [[row[name] or '-' for name in headings] for row in chosen]
  return Table('', headings, lines)
