"""Metrics of a run on disk: one JSON object a line, one line a round.

The file is the only record that figures and tables read, so every line is
checked when it is written and again when it is read.

>>> format_bytes(3_900_000)
'3.90 MB'
"""

import json
import math
import pathlib
import typing
from collections.abc import Mapping
from typing import Any, Self, TypedDict


class MetricsRow(TypedDict):
  """What one round reports; None means not measured in this round.

  Attributes:
    round: rounds completed, from 1.
    test_accuracy: fraction of the test set, in [0, 1].
    test_loss_nats: mean cross-entropy on the test set; None if an attack has
      made it infinite, too.
    train_loss_nats: mean cross-entropy of the clients' local steps; None if
      no client reported, or an attack has made it infinite.
    attack_success: fraction of test images with an attacker's trigger, of all
      classes but the target, that are classified as the target; None without a
      backdoor.
    sparsity: fraction of the global model's parameters removed, in [0, 1).
    kept_parameters: number of parameters not removed.
    clients_reporting: clients whose update reached the aggregate.
    clients_malicious: those of them that an attacker controls.
    clients_not_finite: clients whose update was not finite and left out; only
      under attack, since otherwise the run stops.
    malicious_weight: the part of all weight in the aggregate that a defence
      leaves to malicious clients, in [0, 1]; None without one that weighs
      clients.
    opened_values_per_client: numbers of each single update that the central
      server sees: all that are sent in the clear, those of a sketch that is
      opened for a defence, or none.
    clients_too_slow: clients that did not take part, as not even the smallest
      tier would have been in time.
    clients_per_tier: clients of each tier among them that report, smallest
      first.
    clipped_fraction: fraction of shared values the codec clipped; None
      without a codec or if no client reported.
    wrong_servers: numbers of the servers whose sum the audit found wrong and
      left out, ascending.
    inconsistent_clients: numbers of the clients whose shares did not fit
      together and who were left out, ascending.
    uplink_bytes_per_client: all messages one client sent in this round, to
      every server; the mean over clients where they differ.
    downlink_bytes_per_client: all messages one client received in this round;
      the mean.
    server_to_central_bytes: all messages from the servers to the centre in
      this round.
    simulated_seconds: what the round would take the clients' devices; None
      where they have no profiles.
    round_seconds: wall time of the round.
  """

  round: int
  test_accuracy: float | None
  test_loss_nats: float | None
  train_loss_nats: float | None
  attack_success: float | None
  sparsity: float
  kept_parameters: int
  clients_reporting: int
  clients_malicious: int
  clients_not_finite: int
  malicious_weight: float | None
  opened_values_per_client: int
  clients_too_slow: int
  clients_per_tier: list[int]
  clipped_fraction: float | None
  wrong_servers: list[int]
  inconsistent_clients: list[int]
  uplink_bytes_per_client: float
  downlink_bytes_per_client: float
  server_to_central_bytes: int
  simulated_seconds: float | None
  round_seconds: float


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


def _is_of_type(value: object, hint: Any) -> bool:
  if hint == list[int]:
    return isinstance(value, list) and all(isinstance(i, int) for i in value)
  # Python's own typing rule: an int is welcome where a float is.
  return isinstance(value, hint if hint is int else hint | int)


def _check_row(row: Mapping[str, object], expected_round: int) -> None:
  """Raises ValueError unless `row` is a MetricsRow of `expected_round`."""
  missing = sorted(_HINTS.keys() - row.keys())
  unknown = sorted(row.keys() - _HINTS.keys())
  if missing or unknown:
    raise ValueError(
      f'metrics row misses {missing} and has unknown {unknown}: '
      'give exactly the keys of MetricsRow'
    )
  for key, value in row.items():
    hint = _HINTS[key]
    if not _is_of_type(value, hint):
      raise ValueError(
        f'{key}={value!r} is a {type(value).__name__}: '
        f'convert it to {getattr(hint, "__name__", hint)}'
      )
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(
        f'{key}={value} in round {row["round"]} is not finite, which JSON '
        'cannot hold: look for divergence, e.g. too high a learning rate'
      )
  if row['round'] != expected_round:
    raise ValueError(
      f'row of round {row["round"]} where round {expected_round} is next: '
      'write every round once and in order'
    )


def _parse_line(line: str) -> MetricsRow:
  row = json.loads(line)
  if not isinstance(row, dict) or not line.endswith('\n'):
    raise ValueError('not one whole JSON object')
  return typing.cast(MetricsRow, row)


def read_metrics(path: str | pathlib.Path) -> list[MetricsRow]:
  """Reads the rows of a run, round 1 first.

  Args:
    path: a file that `MetricsWriter` wrote.

  Returns:
    One row a round; empty for an empty file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line is torn, or is not the next round's row; the message
      names the file and the line.
  """
  rows: list[MetricsRow] = []
  with open(path, encoding='utf-8') as file:
    for number, line in enumerate(file, start=1):
      try:
        row = _parse_line(line)
      except ValueError as error:
        raise ValueError(
          f'{path}:{number}: torn or invalid line: delete it, or the whole '
          'run if it is not the last line'
        ) from error
      try:
        _check_row(row, expected_round=number)
      except ValueError as error:
        raise ValueError(f'{path}:{number}: {error}') from error
      rows.append(row)
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
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    self._last_round = len(read_metrics(path)) if path.exists() else 0
    self._file = path.open('a', encoding='utf-8')

  @property
  def last_round(self) -> int:
    """The last round in the file; 0 when it is empty."""
    return self._last_round

  def __enter__(self) -> Self:
    """Returns the writer itself."""
    return self

  def __exit__(self, *exc_info: object) -> None:
    """Closes the file."""
    self._file.close()

  def write(self, row: Mapping[str, object]) -> None:
    """Appends one round.

    Args:
      row: exactly the keys of `MetricsRow`, with Python numbers.

    Raises:
      ValueError: a key is missing or unknown, a value has the wrong type, a
        float is NaN or infinite, or the round is not `last_round + 1`. The
        file is left as it was.
    """
    _check_row(row, expected_round=self._last_round + 1)
    self._file.write(json.dumps(dict(row), allow_nan=False) + '\n')
    self._file.flush()
    self._last_round += 1
