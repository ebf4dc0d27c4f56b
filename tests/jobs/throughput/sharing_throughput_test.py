"""Tests of the sharing benchmark: everything it says but the times."""

import json
import math
import pathlib

import pytest
from ml_collections import ConfigDict

from fps_jax.jobs import run as jobs
from fps_jax.jobs.options import Options
from fps_jax.jobs.sharing_throughput import (
  galois_peer,
)
from fps_jax.jobs.sharing_throughput import (
  job as sharing_throughput,
)
from fps_jax.jobs.study import StudyError
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.schemes.channels import Sent, ShareChannel
from fps_jax.sharing.shamir import Shamir

pytestmark = pytest.mark.slow

OPERATIONS = (
  'share_given',
  'share_cipher',
  'share_cipher_in_program',
  'add_to_sums',
  'sum',
  'reconstruct',
  'check',
)


def tiny_config() -> ConfigDict:
  config = sharing_throughput.default()
  config.cases = ((5, 3, 1, 2**31 - 1), (5, 4, 2, 2**22 - 3))
  config.log2_words = (6, 8)
  config.num_clients = 3
  config.max_sum_words = 2**9
  config.repeats = 1
  return config


@pytest.fixture(scope='module')
def output(tmp_path_factory) -> tuple[pathlib.Path, dict]:
  workdir = tmp_path_factory.mktemp('bench') / 'new'
  jobs.run(tiny_config(), workdir, ['launch.py'])
  return workdir, json.loads((workdir / 'results.json').read_text())


def test_every_case_and_operation_is_measured(output):
  _, results = output
  cases = [
    (
      row['num_servers'],
      row['threshold'],
      row['secrets_per_polynomial'],
      row['prime'],
      row['words'],
    )
    for row in results['rows']
  ]
  assert cases == [
    (*case, words) for case in tiny_config().cases for words in (64, 256)
  ]
  for row in results['rows']:
    for operation in OPERATIONS:
      assert row[f'{operation}_million_per_second'] > 0
      assert row[f'{operation}_page_faults'] >= 0
    for operation in ('share_given', 'sum', 'reconstruct'):
      factor = row[f'{operation}_over_copy']
      assert factor > 0
      assert math.isfinite(factor)
  for name in ('openssl', 'xla'):
    assert results['cipher'][f'{name}_million_words_per_second'] > 0


def test_bytes_over_those_of_the_copy_are_words_read_and_written(output):
  # (5, 4, 2): 2 secrets and 2 random words in, 3 explicit shares out; 4 shares
  # in, 2 secrets out; 2 clients in (the limit), 1 sum out.
  row = output[1]['rows'][3]
  per_second = {
    name: row[f'{name}_million_per_second'] * 1e6 for name in OPERATIONS
  }
  copied = row['copy_gigabytes_per_second'] * 1e9
  assert row['sum_clients'] == 2
  for name, words, items in (
    ('share_given', 7, 2),
    ('reconstruct', 6, 2),
    ('sum', 3, 2),
  ):
    moved = per_second[name] / items * words * 4
    assert row[f'{name}_over_copy'] == pytest.approx(moved / copied)


def test_last_line_of_output_is_every_figure(tmp_path, capsys):
  config = tiny_config()
  config.cases = config.cases[:1]
  config.log2_words = (4,)
  options = Options(prints_json=True)
  jobs.run(config, tmp_path / 'new', ['launch.py'], options)
  last = capsys.readouterr().out.rstrip('\n').splitlines()[-1]
  written = (tmp_path / 'new' / 'results.json').read_text()
  assert json.loads(last) == json.loads(written)


def test_tables_and_figure_are_written(output):
  workdir, results = output
  report = (workdir / 'report.md').read_text()
  assert '| (5, 4, 2), 2^22 - 3 | 256 |' in report
  assert '| (5, 4, 2), 2^22 - 3 | 412,733 |' in report
  assert (workdir / 'throughput.png').read_bytes().startswith(b'\x89PNG')
  assert json.loads((workdir / 'environment.json').read_text())
  for row in results['uplink_bytes']:
    scheme = Shamir(
      PrimeField(row['prime']),
      row['num_servers'],
      row['threshold'],
      row['secrets_per_polynomial'],
    )
    sent = Sent(10**6, 10**5, 1)
    assert row['uplink_bytes'] == ShareChannel(scheme).uplink_bytes(sent)


def test_galois_is_measured_where_it_is_installed():
  pytest.importorskip('galois')
  scheme = Shamir(PrimeField(2**31 - 1), 5, 3)
  measured = galois_peer.measure_sharing(scheme, 64, 1)
  assert len(measured) == 3
  assert all(value > 0 for value in measured.values())


def test_galois_is_not_measured_on_packed_sharing_or_without_it(monkeypatch):
  packed = Shamir(PrimeField(2**31 - 1), 5, 4, 2)
  assert galois_peer.measure_sharing(packed, 64, 1) == {}
  monkeypatch.setattr(galois_peer, 'version', lambda: None)
  plain = Shamir(PrimeField(2**31 - 1), 5, 3)
  assert galois_peer.measure_sharing(plain, 64, 1) == {}


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('repeats', 0, 'repeats=0 must be at least 1'),
    ('num_clients', 0, 'num_clients=0 must be at least 1'),
    ('max_sum_words', 0, 'max_sum_words=0 must be at least 1'),
    ('log2_words', (3,), r'log2_words=3 must be in \[4, 26\]'),
    ('log2_words', (27,), r'log2_words=27 must be in \[4, 26\]'),
    ('log2_words', (), r'log2_words=\(\) must hold at least one'),
    ('cases', (), r'cases=\(\) must hold at least one'),
    ('cases', ((5, 3, 1),), r'\(5, 3, 1\) must be \(N, k, l, prime\)'),
    ('cases', ((5, 6, 1, 7),), 'threshold=6 must be in'),
    ('cases', ((5, 3, 1, 9),), 'modulus=9 is not a prime'),
    ('job', 'shares', r"job='shares' is not one of \[.*'sharing_thr"),
  ],
)
def test_bad_config_is_refused_before_anything_is_written(
  tmp_path, field, value, message
):
  config = tiny_config()
  config[field] = value
  with pytest.raises(StudyError, match=message):
    jobs.run(config, tmp_path / 'new', ['launch.py'])
  assert not (tmp_path / 'new').exists()


def test_work_directory_in_use_is_refused(tmp_path):
  (tmp_path / 'old').write_text('')
  with pytest.raises(StudyError, match='is not empty'):
    jobs.run(tiny_config(), tmp_path, ['launch.py'])
