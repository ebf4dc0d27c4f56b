"""Tests of the metrics file."""

import json
import pathlib
from typing import Any

import pytest

from fps_jax import metrics


def _row(round_: int, **changes: Any) -> dict[str, Any]:
  row = metrics.MetricsRow(
    round=round_,
    test_accuracy=None,
    test_loss_nats=None,
    train_loss_nats=0.5,
    sparsity=0.25,
    kept_parameters=75,
    clients_reporting=4,
    clients_malicious=0,
    clients_not_finite=0,
    malicious_weight=None,
    opened_values_per_client=0,
    attack_success=None,
    clients_too_slow=0,
    clients_per_tier=[4],
    clipped_fraction=None,
    wrong_servers=[],
    inconsistent_clients=[],
    uplink_bytes_per_client=400,
    downlink_bytes_per_client=400,
    server_to_central_bytes=0,
    simulated_seconds=None,
    round_seconds=0.1,
  )
  return {**row, **changes}


def test_rows_read_back_as_written(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'new' / 'folder' / 'metrics.jsonl'
  rows = [
    _row(1, wrong_servers=[2, 5]),
    _row(2, test_accuracy=0.5, clipped_fraction=0),
  ]
  with metrics.MetricsWriter(path) as writer:
    for row in rows:
      writer.write(row)
  assert metrics.read_metrics(path) == rows
  assert [json.loads(line) for line in path.read_text().splitlines()] == rows


def test_killed_run_keeps_its_rows(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  writer = metrics.MetricsWriter(path)
  with writer:
    writer.write(_row(1))
    # The writer is still open, as it is when the process gets killed.
    assert metrics.read_metrics(path) == [_row(1)]


def test_existing_file_is_continued(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  with metrics.MetricsWriter(path) as writer:
    assert writer.last_round == 0
    writer.write(_row(1))
  with metrics.MetricsWriter(path) as writer:
    assert writer.last_round == 1
    with pytest.raises(ValueError, match='round 1 where round 2 is next'):
      writer.write(_row(1))
    writer.write(_row(2))
  assert metrics.read_metrics(path) == [_row(1), _row(2)]


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    (_row(2), 'round 2 where round 1 is next'),
    (_row(1, train_loss_nats=float('nan')), 'train_loss_nats=nan in round 1'),
    (_row(1, round_seconds=float('inf')), 'round_seconds=inf in round 1'),
    (_row(1, round_seconds=None), 'round_seconds=None is a NoneType'),
    (_row(1, kept_parameters=7.5), 'kept_parameters=7.5 is a float'),
    (_row(1, wrong_servers=(2,)), r'wrong_servers=\(2,\) is a tuple'),
    (_row(1, wrong_servers=[2.0]), r'wrong_servers=\[2.0\] is a list'),
    (_row(1, kept=7), r"unknown \['kept'\]"),
    ({'round': 1}, r"misses \['attack_success', "),
  ],
)
def test_refused_row_leaves_the_file_as_it_was(
  tmp_path: pathlib.Path, row: dict[str, Any], message: str
) -> None:
  path = tmp_path / 'metrics.jsonl'
  with metrics.MetricsWriter(path) as writer:
    with pytest.raises(ValueError, match=message) as caught:
      writer.write(row)
    assert '\n' not in str(caught.value)
    writer.write(_row(1))
  assert metrics.read_metrics(path) == [_row(1)]


@pytest.mark.parametrize(
  'last_line', ['{"round": 2, "test_acc', json.dumps(_row(2)), '[2]\n', '\n']
)
def test_torn_last_line_is_named(
  tmp_path: pathlib.Path, last_line: str
) -> None:
  path = tmp_path / 'metrics.jsonl'
  path.write_text(json.dumps(_row(1)) + '\n' + last_line)
  with pytest.raises(ValueError, match=r'metrics\.jsonl:2: torn or invalid'):
    metrics.read_metrics(path)
  with pytest.raises(ValueError, match=r'metrics\.jsonl:2: torn or invalid'):
    metrics.MetricsWriter(path)


def test_line_of_wrong_round_is_named(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  path.write_text(2 * (json.dumps(_row(1)) + '\n'))
  with pytest.raises(ValueError, match=r'metrics\.jsonl:2: row of round 1'):
    metrics.read_metrics(path)


def test_empty_file_has_no_rows(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  path.touch()
  assert metrics.read_metrics(path) == []


def test_missing_file_is_an_error(tmp_path: pathlib.Path) -> None:
  with pytest.raises(FileNotFoundError, match='absent'):
    metrics.read_metrics(tmp_path / 'absent')


@pytest.mark.parametrize(
  ('num_bytes', 'text'),
  [
    (0, '0 B'),
    (999, '999 B'),
    (999.7, '1.00 kB'),
    (1000, '1.00 kB'),
    (9_996, '10.0 kB'),
    (99_960, '100 kB'),
    (800_000, '800 kB'),
    (999_600, '1.00 MB'),
    (3_900_000, '3.90 MB'),
    (12_340_000, '12.3 MB'),
    (2.5e9, '2.50 GB'),
    (4.2e15, '4200 TB'),
  ],
)
def test_bytes_show_three_digits_in_decimal_units(
  num_bytes: float, text: str
) -> None:
  assert metrics.format_bytes(num_bytes) == text
