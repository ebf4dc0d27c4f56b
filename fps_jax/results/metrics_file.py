"""Metrics of a run on disk: one JSON object a line, one line a round.

The file is the only record that figures and tables read, so every line is
checked when it is written and again when it is read.
"""

import contextlib
import json
import math
import pathlib
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Self

from fps_jax.core import files
from fps_jax.core.registry import is_number
from fps_jax.results.metrics import TYPES, MetricsRow

_UNREADABLE = 'cannot be read'


def _is_of_type(value: object, hint: Any) -> bool:
  if hint == list[int]:
    return isinstance(value, list) and all(isinstance(i, int) for i in value)
  # Python's own typing rule: an int is welcome where a float is.
  return isinstance(value, hint if hint is int else hint | int)


def _is_own(value: object) -> bool:
  return value is None or (is_number(value) and math.isfinite(value))  # type: ignore[arg-type]


def _check_keys(row: Mapping[str, object], takes_own: bool) -> None:
  """Raises ValueError unless `row` has the keys of a MetricsRow.

  Numbers of the user's own, if these are taken, it may have besides.
  """
  missing = sorted(TYPES.keys() - row.keys())
  unknown = sorted(
    key
    for key in row.keys() - TYPES.keys()
    if not (takes_own and key.isidentifier() and _is_own(row[key]))
  )
  if missing or unknown:
    raise ValueError(
      f'metrics row misses {missing} and has unknown {unknown}: '
      'give exactly the keys of MetricsRow'
    )


def _check_values(row: Mapping[str, object], expected_round: int) -> None:
  """Raises ValueError unless known keys fit a MetricsRow of a round."""
  for key, value in row.items():
    if key not in TYPES:
      continue
    hint = TYPES[key]
    if not _is_of_type(value, hint):
      raise ValueError(
        f'{key}={value!r} is a {type(value).__name__}: '
        f'convert it to {getattr(hint, "__name__", hint)}'
      )
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(
        f'{key}={value} in round {expected_round} is not finite, which JSON '
        'cannot hold: look for divergence, e.g. too high a learning rate'
      )
  if row.get('round') != expected_round:
    raise ValueError(
      f'row of round {row.get("round")} where round {expected_round} is next: '
      'write every round once and in order'
    )


def _parse_line(line: bytes) -> MetricsRow:
  row = json.loads(line)
  if not isinstance(row, dict) or not line.endswith(b'\n'):
    raise ValueError('not one whole JSON object')
  return typing.cast(MetricsRow, row)


def read_metrics(
  path: str | pathlib.Path, needed: Collection[str] | None = None
) -> list[MetricsRow]:
  """Reads the rows of a run, round 1 first.

  Args:
    path: a file that `MetricsWriter` wrote.
    needed: None for a run of this version that is not being written. Else the
      keys to rely on: rows may lack others and have unknown ones, as another
      version's do, and a last line that is not whole yet is left out.

  Returns:
    One row a round; empty for an empty file.

  Raises:
    OSError: there is no such file, or it cannot be read.
    ValueError: a line is torn, or is not the next round's row; the message
      names the file and the line.
  """
  with (
    files.naming(path, 'leave out the run, or make it again', _UNREADABLE),
    open(path, 'rb') as file,
  ):
    return _parse(path, file, needed)


def _parse(
  path: str | pathlib.Path,
  lines: Iterable[bytes],
  needed: Collection[str] | None = None,
) -> list[MetricsRow]:
  """Returns the rows of a run; arguments and errors as of `read_metrics`."""
  rows: list[MetricsRow] = []
  for number, line in enumerate(lines, start=1):
    if needed is not None and not line.endswith(b'\n'):
      break
    try:
      row = _parse_line(line)
    except ValueError as error:
      raise ValueError(
        f'{path}:{number}: torn or invalid line: delete it, or the whole run '
        'if it is not the last line'
      ) from error
    try:
      if needed is None:
        _check_keys(row, takes_own=True)
      elif missing := sorted(set(needed) - row.keys()):
        raise ValueError(
          f'metrics row misses {missing}: read it with the version of fps_jax '
          'that wrote it'
        )
      _check_values(row, expected_round=number)
    except ValueError as error:
      raise ValueError(f'{path}:{number}: {error}') from error
    rows.append(row)
  return rows


def has_diverged(rows: Sequence[Mapping[str, Any]]) -> bool:
  """Returns whether a run ended with the last of its rows, as it diverged.

  Rows of earlier versions do not say so: such a run stopped its study then.
  """
  return bool(rows) and bool(rows[-1].get('diverged'))


def has_reached_accuracy(rows: Sequence[Mapping[str, Any]]) -> bool:
  """Returns whether a run ended with the last of its rows, as it was to."""
  return bool(rows) and bool(rows[-1].get('reached_accuracy'))


def has_ended(rows: Sequence[Mapping[str, Any]]) -> bool:
  """Returns whether no round follows the last row, whatever is planned."""
  return has_diverged(rows) or has_reached_accuracy(rows)


def is_finished(path: pathlib.Path, num_rounds: int) -> bool:
  """Returns whether a run has all its rows, or has ended before.

  Raises:
    OSError: if its metrics cannot be read.
  """
  num_found = count_rounds(path)
  if num_found in (0, num_rounds):
    return num_found == num_rounds
  line = path.read_bytes().splitlines(keepends=True)[num_found - 1]
  try:
    return has_ended([_parse_line(line)])
  except ValueError:
    return False


def count_rounds(path: pathlib.Path) -> int:
  """Returns how many whole lines a file of metrics has; 0 without one."""
  with files.naming(path, problem=_UNREADABLE):
    return path.read_bytes().count(b'\n') if path.exists() else 0


def keep_rounds(path: pathlib.Path, num_rounds: int) -> list[MetricsRow]:
  """Removes what follows the first rounds of a run, torn or whole.

  Args:
    path: of the metrics; may not exist if no rounds are kept.
    num_rounds: that are kept.

  Returns:
    The rows of these rounds.

  Raises:
    ValueError: if there are fewer, or one of them is not valid; nothing is
      removed.
  """
  found = count_rounds(path)
  if found < num_rounds:
    raise ValueError(
      f'{path} has {found} rounds where a checkpoint follows round '
      f'{num_rounds}: give another --workdir, or --overwrite'
    )
  if not path.exists():
    return []
  lines = path.read_bytes().splitlines(keepends=True)[:num_rounds]
  rows = _parse(path, lines)
  with files.naming(path), path.open('r+b') as file:
    file.truncate(sum(map(len, lines)))
  return rows


def forget_evaluations(
  path: pathlib.Path, every_rounds: Mapping[str, int], num_rounds: int
) -> list[MetricsRow]:
  """Removes evaluations that are not due, and were as a run had fewer rounds.

  A round that reached the accuracy to stop at is the last, however many there
  are, and keeps its own.

  Args:
    path: of the metrics; may not exist.
    every_rounds: rounds between those of a column, by its name.
    num_rounds: that the run has now, of which the last is evaluated, too.

  Returns:
    The rows.
  """
  rows, is_changed = read_metrics(path) if path.exists() else [], False
  for row in rows:
    early: dict[str, Any] = {
      name: None
      for name, every in every_rounds.items()
      if row['round'] % every
      and row['round'] != num_rounds
      and not has_reached_accuracy([row])
      and row.get(name) is not None
    }
    row.update(early)  # type: ignore[typeddict-item]
    is_changed |= bool(early)
  if is_changed:
    lines = (json.dumps(row, allow_nan=False) + '\n' for row in rows)
    files.write_text(path, ''.join(lines))
  return rows


class MetricsWriter:
  """Appends the rows of a run to its file.

  Every row is on its way to disk when `write` returns, so a killed run keeps
  its rows. A file that exists is continued after its last round, never
  rewritten.

  Attributes:
    last_round: the last round in the file; 0 when it is empty.
  """

  def __init__(self, path: str | pathlib.Path, takes_own: bool = False):
    """Opens `path`, and creates its folder if need be.

    Args:
      path: the run's `metrics.jsonl`.
      takes_own: whether rows may have numbers of the user's own.

    Raises:
      ValueError: the file exists and `read_metrics` refuses it.
      OSError: it cannot be read or written to.
    """
    self._path, self._takes_own = pathlib.Path(path), takes_own
    with self._naming():
      self._path.parent.mkdir(parents=True, exist_ok=True)
      is_there = self._path.exists()
      self.last_round = len(read_metrics(path)) if is_there else 0
      self._file = self._path.open('a', encoding='utf-8')

  def __enter__(self) -> Self:
    """Returns the writer itself."""
    return self

  def __exit__(self, *exc_info: object) -> None:
    """Closes the file."""
    with self._naming():
      self._file.close()

  def _naming(self) -> contextlib.AbstractContextManager[None]:
    return files.naming(self._path, problem='cannot be written to')

  def write(self, row: Mapping[str, object]) -> None:
    """Appends one round.

    Args:
      row: exactly the keys of `MetricsRow`, with Python numbers; and those of
        the user's own, if they are taken.

    Raises:
      ValueError: a key is missing or unknown, a value has the wrong type, a
        float is NaN or infinite, or the round is not `last_round + 1`. The
        file is left as it was.
      OSError: it cannot be written to.
    """
    _check_keys(row, self._takes_own)
    _check_values(row, expected_round=self.last_round + 1)
    with self._naming():
      self._file.write(json.dumps(dict(row), allow_nan=False) + '\n')
      self._file.flush()
    self.last_round += 1
