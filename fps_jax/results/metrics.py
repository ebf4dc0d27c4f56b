"""Metrics of a run on disk: one JSON object a line, one line a round.

The file is the only record that figures and tables read, so every line is
checked when it is written and again when it is read.

>>> format_bytes(3_900_000)
'3.90 MB'
"""

import contextlib
import json
import math
import pathlib
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Self, TypedDict

from fps_jax.core import files


class MetricsRow(TypedDict):
  """What one round reports; None means not measured in this round.

  Attributes:
    round: rounds completed, from 1.
    diverged: whether the run ends with this round, as its loss, the model or
      the updates of all clients that report are not finite. Never with
      malicious clients: a run under attack goes on.
    test_accuracy: fraction of the test set, in [0, 1].
    test_loss_nats: mean cross-entropy on the test set; None if it is not
      finite, too.
    train_loss_nats: mean cross-entropy of the clients' local steps; None if
      no client reported, or if it is not finite.
    attack_success: fraction of test images with an attacker's trigger, of all
      classes but the target, that are classified as the target; None without a
      backdoor.
    sparsity: fraction of the global model's parameters removed, in [0, 1);
      after regrowth, where there is any.
    kept_parameters: parameters that are trained and sent by the clients that
      train most: not removed, or removed and tried out in this round.
    clients_reporting: clients whose update arrived, is finite and, if that is
      audited, consistent; a defence may leave some of them out.
    clients_malicious: those of them that an attacker controls.
    clients_not_finite: clients whose update was not finite and left out.
    clients_out_of_range: clients among those that report who shared words which
      no honest client would, by what was opened for a defence, and were left
      out.
    capped_weight: the part of all weight that a defence gave and
      `sharing.min_contributors` took, so that the weighed sum hides each client
      (`fps_jax.federated.robust.hide`), in [0, 1]; None where no weighed sum is
      opened.
    malicious_weight: the part of all weight in the aggregate that a defence
      leaves to malicious clients, in [0, 1]; None without one that weighs
      clients.
    opened_values_per_client: numbers of each single update that the central
      server sees: all that are sent in the clear, those that are opened for a
      defence, or none.
    clients_dropped: clients that were drawn and never reported.
    clients_too_slow: clients that did not take part, as not even the smallest
      tier would have been in time.
    clients_per_tier: clients of each tier among them that report, smallest
      first.
    clipped_fraction: fraction of shared values the codec clipped; None
      without a codec or if no client reported.
    failed_attempts: attempts at the round that could not be completed. After
      the last of them it may have been skipped: no client reports, and the
      model is as it was, but for pruning.
    missing_servers: numbers of the servers that did not answer, ascending.
    wrong_servers: numbers of the servers whose sum the audit found wrong and
      left out, ascending; an honest one among them if clients dealt it shares
      that do not fit those of others and, with `sharing.audit='clients'`, are
      more than half of the round's.
    wrong_servers_correctable: wrong sums that the audit could have named and
      left out: half of the answers beyond `sharing.threshold`, 0 without an
      audit; None where servers hold no shares or the round was skipped.
    wrong_servers_detectable: wrong sums of which the audit could not have
      missed all: the answers beyond `sharing.threshold`. The round would have
      failed, or named some server; 0 and None as above.
    inconsistent_clients: numbers of the clients whose shares did not fit
      together and who were left out, ascending; found with
      `sharing.audit='clients'`, as long as they are at most half of the
      round's.
    uplink_bytes_per_client: all messages one client sent in this round, to
      every server; the mean over clients where they differ, the sum over
      attempts.
    downlink_bytes_per_client: all messages one client received in this round;
      the mean, and the sum.
    server_to_central_bytes: all messages from the servers to the centre in
      this round, in all attempts.
    simulated_seconds: what the round would take the clients' devices, in all
      attempts; None where they have no profiles.
    round_seconds: wall time of the round.
  """

  round: int
  diverged: bool
  test_accuracy: float | None
  test_loss_nats: float | None
  train_loss_nats: float | None
  attack_success: float | None
  sparsity: float
  kept_parameters: int
  clients_reporting: int
  clients_malicious: int
  clients_not_finite: int
  clients_out_of_range: int
  capped_weight: float | None
  malicious_weight: float | None
  opened_values_per_client: int
  clients_dropped: int
  clients_too_slow: int
  clients_per_tier: list[int]
  clipped_fraction: float | None
  failed_attempts: int
  missing_servers: list[int]
  wrong_servers: list[int]
  wrong_servers_correctable: int | None
  wrong_servers_detectable: int | None
  inconsistent_clients: list[int]
  uplink_bytes_per_client: float
  downlink_bytes_per_client: float
  server_to_central_bytes: int
  simulated_seconds: float | None
  round_seconds: float


_UNREADABLE = 'cannot be read'
_HINTS: Mapping[str, Any] = typing.get_type_hints(MetricsRow)


def format_bytes(num_bytes: float) -> str:
  """Formats bytes with three digits and decimal units (1 kB = 1000 B)."""
  value, unit = num_bytes, 'B'
  for larger in ('kB', 'MB', 'GB', 'TB'):
    # 999.5 would print as 1000, which belongs to the next unit.
    if value < 999.5:
      break
    value, unit = value / 1000, larger
  if unit == 'B':
    return f'{value:.0f} B'
  # The same bound below 100 and 10 keeps the digits at three.
  decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
  return f'{value:.{decimals}f} {unit}'


def show(form: Callable[[float], str], number: float | None) -> str:
  """Returns a number in some form; '-' where there is none."""
  return '-' if number is None else form(number)


def format_accuracy(
  mean: float | None, least: float | None, most: float | None
) -> str:
  """Formats fractions as `mean [min, max]` in percent; equal ones as one.

  >>> format_accuracy(0.975, 0.97, 0.98)
  '97.50 [97.00, 98.00]'
  >>> format_accuracy(0.975, 0.975, 0.975)
  '97.50'
  >>> format_accuracy(None, None, None)
  '-'
  """
  if mean is None or least is None or most is None:
    return '-'
  shown = f'{100 * mean:.2f}'
  if least == most:
    return shown
  return f'{shown} [{100 * least:.2f}, {100 * most:.2f}]'


def _is_of_type(value: object, hint: Any) -> bool:
  if hint == list[int]:
    return isinstance(value, list) and all(isinstance(i, int) for i in value)
  # Python's own typing rule: an int is welcome where a float is.
  return isinstance(value, hint if hint is int else hint | int)


def _check_keys(row: Mapping[str, object]) -> None:
  """Raises ValueError unless `row` has the keys of a MetricsRow."""
  missing = sorted(_HINTS.keys() - row.keys())
  unknown = sorted(row.keys() - _HINTS.keys())
  if missing or unknown:
    raise ValueError(
      f'metrics row misses {missing} and has unknown {unknown}: '
      'give exactly the keys of MetricsRow'
    )


def _check_values(row: Mapping[str, object], expected_round: int) -> None:
  """Raises ValueError unless known keys fit a MetricsRow of a round."""
  for key, value in row.items():
    if key not in _HINTS:
      continue
    hint = _HINTS[key]
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
        _check_keys(row)
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


def is_finished(path: pathlib.Path, num_rounds: int) -> bool:
  """Returns whether a run has all its rows, or has diverged.

  Raises:
    OSError: if its metrics cannot be read.
  """
  num_found = count_rounds(path)
  if num_found in (0, num_rounds):
    return num_found == num_rounds
  line = path.read_bytes().splitlines(keepends=True)[num_found - 1]
  try:
    return has_diverged([_parse_line(line)])
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


class MetricsWriter:
  """Appends the rows of a run to its file.

  Every row is on its way to disk when `write` returns, so a killed run keeps
  its rows. A file that exists is continued after its last round, never
  rewritten.
  """

  def __init__(self, path: str | pathlib.Path):
    """Opens `path`, and creates its folder if need be.

    Args:
      path: the run's `metrics.jsonl`.

    Raises:
      ValueError: the file exists and `read_metrics` refuses it.
      OSError: it cannot be read or written to.
    """
    self._path = pathlib.Path(path)
    with self._naming():
      self._path.parent.mkdir(parents=True, exist_ok=True)
      is_there = self._path.exists()
      self._last_round = len(read_metrics(path)) if is_there else 0
      self._file = self._path.open('a', encoding='utf-8')

  @property
  def last_round(self) -> int:
    """The last round in the file; 0 when it is empty."""
    return self._last_round

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
      row: exactly the keys of `MetricsRow`, with Python numbers.

    Raises:
      ValueError: a key is missing or unknown, a value has the wrong type, a
        float is NaN or infinite, or the round is not `last_round + 1`. The
        file is left as it was.
      OSError: it cannot be written to.
    """
    _check_keys(row)
    _check_values(row, expected_round=self._last_round + 1)
    with self._naming():
      self._file.write(json.dumps(dict(row), allow_nan=False) + '\n')
      self._file.flush()
    self._last_round += 1
