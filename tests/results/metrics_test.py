"""Tests of the metrics file."""

import json
import pathlib
from typing import Any

import pytest

from fps_jax.results import formats, metrics_file
from tests.helpers.runs import make_row


def test_rows_read_back_as_written(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'new' / 'folder' / 'metrics.jsonl'
  rows = [
    make_row(1, wrong_servers=[2, 5]),
    make_row(2, test_accuracy=0.5, clipped_fraction=0),
  ]
  with metrics_file.MetricsWriter(path) as writer:
    for row in rows:
      writer.write(row)
  assert metrics_file.read_metrics(path) == rows
  assert [json.loads(line) for line in path.read_text().splitlines()] == rows


def test_killed_run_keeps_its_rows(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  writer = metrics_file.MetricsWriter(path)
  with writer:
    writer.write(make_row(1))
    # The writer is still open, as it is when the process gets killed.
    assert metrics_file.read_metrics(path) == [make_row(1)]


def test_existing_file_is_continued(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  with metrics_file.MetricsWriter(path) as writer:
    assert writer.last_round == 0
    writer.write(make_row(1))
  with metrics_file.MetricsWriter(path) as writer:
    assert writer.last_round == 1
    with pytest.raises(ValueError, match='round 1 where round 2 is next'):
      writer.write(make_row(1))
    writer.write(make_row(2))
  assert metrics_file.read_metrics(path) == [make_row(1), make_row(2)]


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    (make_row(2), 'round 2 where round 1 is next'),
    (
      make_row(1, train_loss=float('nan')),
      'train_loss=nan in round 1',
    ),
    (make_row(1, round_seconds=float('inf')), 'round_seconds=inf in round 1'),
    (make_row(1, round_seconds=None), 'round_seconds=None is a NoneType'),
    (make_row(1, kept_parameters=7.5), 'kept_parameters=7.5 is a float'),
    (make_row(1, wrong_servers=(2,)), r'wrong_servers=\(2,\) is a tuple'),
    (make_row(1, wrong_servers=[2.0]), r'wrong_servers=\[2.0\] is a list'),
    (make_row(1, kept=7), r"unknown \['kept'\]"),
    ({'round': 1}, r"misses \['attack_success', "),
  ],
)
def test_refused_row_leaves_the_file_as_it_was(
  tmp_path: pathlib.Path, row: dict[str, Any], message: str
) -> None:
  path = tmp_path / 'metrics.jsonl'
  with metrics_file.MetricsWriter(path) as writer:
    with pytest.raises(ValueError, match=message) as caught:
      writer.write(row)
    assert '\n' not in str(caught.value)
    writer.write(make_row(1))
  assert metrics_file.read_metrics(path) == [make_row(1)]


@pytest.mark.parametrize(
  'last_line',
  ['{"round": 2, "test_acc', json.dumps(make_row(2)), '[2]\n', '\n'],
)
def test_torn_last_line_is_named(
  tmp_path: pathlib.Path, last_line: str
) -> None:
  path = tmp_path / 'metrics.jsonl'
  path.write_text(json.dumps(make_row(1)) + '\n' + last_line)
  with pytest.raises(ValueError, match=r'metrics\.jsonl:2: torn or invalid'):
    metrics_file.read_metrics(path)
  with pytest.raises(ValueError, match=r'metrics\.jsonl:2: torn or invalid'):
    metrics_file.MetricsWriter(path)


def test_rows_with_what_is_needed_are_read_whatever_else_they_hold(
  tmp_path: pathlib.Path,
) -> None:
  path = tmp_path / 'metrics.jsonl'
  rows = [{'round': 1, 'sparsity': 0.5, 'of_another_version': 'x'}]
  # The second row is being written.
  path.write_text(json.dumps(rows[0]) + '\n{"round": 2, "spar')
  assert metrics_file.read_metrics(path, ['round', 'sparsity']) == rows
  with pytest.raises(
    ValueError, match=r"jsonl:1: .* misses \['round_seconds'\]"
  ):
    metrics_file.read_metrics(path, ['round_seconds'])
  path.write_text('{"round": 1, "sparsity": "x"}\n')
  with pytest.raises(ValueError, match="sparsity='x' is a str"):
    metrics_file.read_metrics(path, [])


def test_line_of_wrong_round_is_named(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  path.write_text(2 * (json.dumps(make_row(1)) + '\n'))
  with pytest.raises(ValueError, match=r'metrics\.jsonl:2: row of round 1'):
    metrics_file.read_metrics(path)


def test_empty_file_has_no_rows(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'metrics.jsonl'
  path.touch()
  assert metrics_file.read_metrics(path) == []


def test_missing_file_is_an_error(tmp_path: pathlib.Path) -> None:
  with pytest.raises(FileNotFoundError, match='absent'):
    metrics_file.read_metrics(tmp_path / 'absent')


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
  assert formats.format_bytes(num_bytes) == text


def test_rounds_that_are_kept_are_returned_and_the_rest_is_removed(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  rows = [make_row(number) for number in (1, 2, 3)]
  with metrics_file.MetricsWriter(path) as writer:
    for row in rows:
      writer.write(row)
  with path.open('a') as file:
    file.write('{"round": 4, "test_acc')
  assert metrics_file.count_rounds(path) == 3
  assert metrics_file.keep_rounds(path, 2) == rows[:2]
  assert metrics_file.read_metrics(path) == rows[:2]


def test_nothing_is_removed_where_kept_rounds_are_too_few_or_invalid(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  assert metrics_file.keep_rounds(path, 0) == []
  for content, message in (('', '0 rounds where a'), ('torn\n', ':1: torn or')):
    path.write_text(content + 'more')
    with pytest.raises(ValueError, match=message):
      metrics_file.keep_rounds(path, 1)
    assert path.read_text() == content + 'more'
