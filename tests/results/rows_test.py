"""Metrics of a study as one table."""

import csv

import pandas
import pytest

from fps_jax.results import metrics, report, rows
from fps_jax.results.metrics_file import MetricsWriter
from tests.helpers.runs import make_row, write_run

# Those of lists are others in a table.
_NAMES = {
  'clients_per_tier': 'clients_per_tier_0',
  **{
    name: f'num_{name}'
    for name in ('missing_servers', 'wrong_servers', 'inconsistent_clients')
  },
}
_COLUMNS = [
  'variant',
  'seed',
  *(_NAMES.get(name, name) for name in metrics.MetricsRow.__annotations__),
]


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
  assert found[0].keys() == set(_COLUMNS)
  assert found[0]['clients_per_tier_0'] == 4
  assert found[0]['num_wrong_servers'] == 0


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
  assert heading == _COLUMNS
  assert [row[:3] for row in read] == [
    ['sharing', seed, number] for seed in ('2', '10') for number in ('1', '2')
  ]
  row = dict(zip(heading, read[0], strict=True))
  assert row['test_accuracy'] == ''
  assert row['clients_per_tier_0'] == '4'
  assert float(row['round_seconds']) == 60.0


def test_every_float_is_written_to_its_last_bit(tmp_path):
  value = 0.1 + 0.2
  rows.write_csv(tmp_path / 'metrics.csv', [{'sparsity': value}])
  with (tmp_path / 'metrics.csv').open(newline='') as file:
    (row,) = csv.DictReader(file)
  assert float(row['sparsity']) == value


def test_pandas_reads_the_csv_without_options(workdir):
  rows.write_csv(workdir / 'metrics.csv', rows.read_rows(workdir))
  frame = pandas.read_csv(workdir / 'metrics.csv')
  assert list(frame.columns) == _COLUMNS
  assert frame['uplink_bytes_per_client'].sum() == 29
  assert frame.groupby('variant')['test_accuracy'].max()['sharing'] == 0.9
  direct = pandas.DataFrame(rows.read_rows(workdir))
  assert (direct['round_seconds'] == frame['round_seconds']).all()


def _write(workdir, variant, seed=0, **changes):
  path = workdir / variant / f'seed_{seed}' / 'metrics.jsonl'
  with MetricsWriter(path) as writer:
    writer.write(make_row(1, **changes))


def test_list_has_a_column_for_each_place_or_a_count_and_rows_of_its_own(
  tmp_path,
):
  _write(tmp_path, 'tiers', clients_per_tier=[3, 0, 5])
  _write(tmp_path, 'one', wrong_servers=[2, 4], inconsistent_clients=[7])
  one, tiers = rows.read_rows(tmp_path)
  assert [tiers[f'clients_per_tier_{i}'] for i in range(3)] == [3, 0, 5]
  assert (one['num_wrong_servers'], one['num_missing_servers']) == (2, 0)
  assert not [
    value
    for row in (one, tiers)
    for value in row.values()
    if isinstance(value, list)
  ]
  assert [tuple(row.values()) for row in rows.read_listed(tmp_path)] == [
    ('one', 0, 1, 'wrong_servers', 2),
    ('one', 0, 1, 'wrong_servers', 4),
    ('one', 0, 1, 'inconsistent_clients', 7),
  ]
  columns = rows.columns_of([one, tiers])
  start = columns.index('clients_per_tier_0')
  assert columns[start : start + 3] == [
    f'clients_per_tier_{i}' for i in range(3)
  ]


def test_swept_fields_are_columns_that_are_empty_where_they_are_not_read(
  tmp_path,
):
  _write(tmp_path, 'fedavg')
  name = 'fedpruneshare--pruning.sparsity=0.5--data.partition=iid'
  _write(tmp_path, name)
  plain, swept = rows.read_rows(tmp_path)
  assert list(swept)[:5] == [
    'variant',
    'seed',
    'method',
    'pruning.sparsity',
    'data.partition',
  ]
  assert list(swept.values())[:5] == [name, 0, 'fedpruneshare', 0.5, 'iid']
  assert list(plain.values())[:5] == ['fedavg', 0, 'fedavg', None, None]


@pytest.mark.slow
def test_report_writes_what_rounds_name_to_a_file_of_its_own(tmp_path):
  _write(tmp_path, 'one', wrong_servers=[2], test_accuracy=0.5)
  report.write_report(tmp_path, ['one'], 'one')
  assert (tmp_path / 'metrics_listed.csv').read_text().splitlines() == [
    'variant,seed,round,column,number',
    'one,0,1,wrong_servers,2',
  ]
