"""Metrics of a study as one table."""

import csv
import json

import pytest

from fps_jax.results import metrics, report, rows
from tests.helpers.runs import write_run


@pytest.fixture(name='workdir')
def _workdir(tmp_path):
  for seed in (10, 2):
    write_run(tmp_path, 'sharing', seed, [None, 0.9], [5, 6])
  write_run(tmp_path, 'a, "b"', 0, [0.1], [7])
  return tmp_path


def test_rows_are_read_by_variant_seed_and_round(workdir):
  found = list(rows.read_rows(workdir))
  assert [(row['variant'], row['seed'], row['round']) for row in found] == [
    ('a, "b"', 0, 1),
    ('sharing', 2, 1),
    ('sharing', 2, 2),
    ('sharing', 10, 1),
    ('sharing', 10, 2),
  ]
  assert found[0].keys() == set(rows.COLUMNS)
  assert found[0]['clients_per_tier'] == [4]


def test_rows_of_an_earlier_version_lack_its_columns(workdir):
  path = workdir / 'sharing' / 'seed_2' / 'metrics.jsonl'
  path.write_text('{"round": 1, "test_accuracy": 0.5}\n')
  assert {
    'variant': 'sharing',
    'seed': 2,
    'round': 1,
    'test_accuracy': 0.5,
  } in list(rows.read_rows(workdir))


def test_folder_without_runs_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='give the --workdir of a study'):
    list(rows.read_rows(tmp_path))


@pytest.mark.slow
def test_report_writes_what_json_lines_hold_as_csv(workdir):
  report.write_report(workdir, ['sharing'], 'sharing')
  with (workdir / 'metrics.csv').open(newline='') as file:
    heading, *read = csv.reader(file)
  assert heading == ['variant', 'seed', *metrics.MetricsRow.__annotations__]
  assert [row[:3] for row in read] == [
    ['sharing', seed, number] for seed in ('2', '10') for number in ('1', '2')
  ]
  row = dict(zip(heading, read[0], strict=True))
  assert row['test_accuracy'] == ''
  assert json.loads(row['clients_per_tier']) == [4]
  assert float(row['round_seconds']) == 60.0


def test_every_float_is_written_to_its_last_bit(tmp_path):
  value = 0.1 + 0.2
  rows.write_csv(tmp_path / 'metrics.csv', [{'sparsity': value}])
  with (tmp_path / 'metrics.csv').open(newline='') as file:
    (row,) = csv.DictReader(file)
  assert float(row['sparsity']) == value


def test_pandas_reads_the_csv_without_options(workdir):
  pandas = pytest.importorskip('pandas')
  rows.write_csv(workdir / 'metrics.csv', rows.read_rows(workdir))
  frame = pandas.read_csv(workdir / 'metrics.csv')
  assert list(frame.columns) == list(rows.COLUMNS)
  assert frame['uplink_bytes_per_client'].sum() == 29
  assert frame.groupby('variant')['test_accuracy'].max()['sharing'] == 0.9
  direct = pandas.DataFrame(rows.read_rows(workdir))
  assert (direct['round_seconds'] == frame['round_seconds']).all()
