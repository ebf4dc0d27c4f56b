"""Tests of the job `tradeoff`."""

import itertools
import json

import pytest
from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.config import defaults
from fps_jax.config.sections.cohort import largest_sample_count
from fps_jax.config.variants import resolve_variants
from fps_jax.jobs import study
from fps_jax.jobs.study import StudyError
from fps_jax.jobs.tradeoff import job as tradeoff
from fps_jax.jobs.tradeoff.results import TradeoffPoint, frontier
from fps_jax.results.metrics_file import read_metrics
from tests.helpers import small
from tests.helpers.runs import names_not_taken, write_run


@pytest.mark.parametrize('all_diverge', [False, True])
def test_variant_that_diverged_is_no_choice_and_named(
  tmp_path, monkeypatch, all_diverge
):
  def run_study(config, workdir, *rest):
    write_run(workdir, 'one', 0, [0.5], [10], diverged=all_diverge)
    write_run(workdir, 'two', 0, [0.9], [10], diverged=True)

  monkeypatch.setattr(study, 'run_study', run_study)
  if all_diverge:
    message = r"every variant diverged, \['one', 'two'\]: lower client.learn"
    with pytest.raises(StudyError, match=message):
      tradeoff.run(tradeoff_config(), tmp_path, [])
    return
  tradeoff.run(tradeoff_config(), tmp_path, [])
  results = json.loads((tmp_path / 'tradeoff.json').read_text())
  assert results['diverged'] == ['two']
  assert results['num_whose_sums_do_not_fit'] == 2
  assert {choice['test_accuracy'] for choice in results['choices']} == {0.5}
  page = (tmp_path / 'tradeoff.md').read_text()
  assert 'Training diverged under some seed, so left out: two.' in page


def choice_of(accuracy: float, uplink: float, colluding: int, missing: int):
  return TradeoffPoint(
    sparsity=0.9,
    value_bits=8,
    num_servers=5,
    threshold=3,
    secrets_per_polynomial=1,
    prime=7,
    test_accuracy=accuracy,
    test_accuracy_min=accuracy,
    test_accuracy_max=accuracy,
    uplink_bytes=uplink,
    colluding_servers=colluding,
    missing_servers=missing,
  )


def test_frontier_is_what_no_other_dominates():
  merits = list(itertools.product((0.5, 0.75), (1.0, 2.0), (1, 2), (0, 1)))
  # Any three of these choices.
  for some in itertools.combinations(merits, 3):
    choices = [choice_of(*numbers) for numbers in some]
    best = frontier(choices)
    for numbers, choice in zip(some, choices, strict=True):
      others = [other for other in some if other != numbers]
      is_worse = [
        other[0] >= numbers[0]
        and other[1] <= numbers[1]
        and other[2] >= numbers[2]
        and other[3] >= numbers[3]
        for other in others
      ]
      assert (choice in best) == (not any(is_worse))


def test_equal_choices_stay():
  assert len(frontier([choice_of(0.5, 1.0, 1, 1)] * 2)) == 2


def tradeoff_config() -> ConfigDict:
  config = small.make_config(job='tradeoff')
  defaults.add_section(config)
  config.tradeoff.servers = ((5, 3, 1), (5, 4, 2))
  config.tradeoff.primes = (2**31 - 1, 65537)
  config.sharing.scheme = 'ideal'
  config.variants.one = {'pruning': {'sparsity': 0.5}}
  config.variants.two = {'sharing': {'value_bits': 16}}
  return config


@pytest.mark.slow
def test_job_counts_the_bytes_of_every_scheme_that_fits(tmp_path):
  tradeoff.run(tradeoff_config(), tmp_path / 'run', [])
  assert names_not_taken(tmp_path / 'run', ('one', 'two')) == []
  results = json.loads((tmp_path / 'run' / 'tradeoff.json').read_text())
  # Eight values of 16 bits do not fit 65537.
  assert results['num_choices'] == 6
  assert results['num_whose_sums_do_not_fit'] == 2
  rows = read_metrics(tmp_path / 'run' / 'one' / 'seed_0' / 'metrics.jsonl')
  found = results['choices'][0]
  assert found['sparsity'] == rows[-1]['sparsity']
  assert found['value_bits'] == 8
  assert (found['threshold'], found['prime']) == (3, 2**31 - 1)
  assert found['uplink_bytes'] == sum(
    r['uplink_bytes_per_client'] for r in rows
  )
  assert found['test_accuracy'] == rows[-1]['test_accuracy']
  assert (found['colluding_servers'], found['missing_servers']) == (2, 2)
  assert all(choice in results['choices'] for choice in results['frontier'])
  assert '| (5, 4, 2) |' in (tmp_path / 'run' / 'tradeoff.md').read_text()
  assert (tmp_path / 'run' / 'tradeoff.png').exists()


@pytest.mark.thorough
def test_accuracy_is_the_mean_and_range_over_seeds(tmp_path):
  config = tradeoff_config()
  config.seeds = (0, 1, 2)
  del config.variants.two
  tradeoff.run(config, tmp_path / 'run', [])
  results = json.loads((tmp_path / 'run' / 'tradeoff.json').read_text())
  accuracies = [
    read_metrics(folder / 'metrics.jsonl')[-1]['test_accuracy']
    for folder in sorted((tmp_path / 'run' / 'one').glob('seed_*'))
  ]
  assert len(set(accuracies)) > 1
  for choice in results['choices']:
    assert choice['test_accuracy'] == pytest.approx(sum(accuracies) / 3)
    assert choice['test_accuracy_min'] == min(accuracies)
    assert choice['test_accuracy_max'] == max(accuracies)


@pytest.mark.parametrize(
  ('section', 'field', 'value'),
  [
    ('sharing', 'audit', 'clients'),
    ('sharing', 'scheme', 'none'),
    ('sharing', 'reveal', 'updates'),
    ('pruning', 'mask', 'local'),
    ('pruning', 'mask', 'top_k'),
    ('pruning', 'tiers', (0.5, 1.0)),
    ('faults', 'on_failed_round', 'retry'),
  ],
)
def test_what_is_not_counted_is_refused_in_any_variant(
  tmp_path, section, field, value
):
  config = tradeoff_config()
  config.profiles.distribution = 'same'
  config.profiles.deadline_seconds = 60.0
  config.variants.two[section] = {field: value}
  with pytest.raises(StudyError, match=rf"'two' has {section}.{field}=.*not c"):
    tradeoff.run(config, tmp_path / 'run', [])
  assert not (tmp_path / 'run').exists()


def test_sums_fit_for_the_largest_client_that_is_dealt_of_all_seeds(tmp_path):
  config = tradeoff_config()
  config.data.partition = 'dirichlet'
  config.data.partition_args.dirichlet.alpha = 0.1
  config.seeds = (0, 1)
  counts = [small.make(config, seed).planner.max_count for seed in (0, 1)]
  assert counts[0] != counts[1]
  dataset = data.load('fake')
  one = resolve_variants(config)['one']
  assert [largest_sample_count(one, seed, dataset) for seed in (0, 1)] == counts
  one.cohort.weighting = 'clients'
  assert largest_sample_count(one, 0, dataset) == 1


@pytest.mark.parametrize('servers', [(5, 3), 5, (5, 3, 1, 1)])
def test_servers_are_of_the_form_n_k_l(tmp_path, servers):
  config = tradeoff_config()
  config.tradeoff.servers = (servers,)
  with pytest.raises(StudyError, match=r'tradeoff.servers=.*\(N, k, l\)'):
    tradeoff.run(config, tmp_path / 'run', [])


def test_data_that_cannot_be_dealt_are_said_and_no_other_cure(tmp_path):
  config = tradeoff_config()
  config.data.num_clients = 200_000
  with pytest.raises(StudyError, match=r'num_clients=200000 is outside'):
    tradeoff.run(config, tmp_path / 'run', [])


def test_variant_that_is_wrong_is_named(tmp_path):
  config = tradeoff_config()
  config.variants.two = {'pruning': {'sparsity': 1.5}}
  with pytest.raises(
    StudyError, match=r'tradeoff: variant two: .*sparsity=1.5'
  ):
    tradeoff.run(config, tmp_path / 'run', [])


@pytest.mark.parametrize('name', ['servers', 'primes'])
def test_config_that_names_no_scheme_is_refused(tmp_path, name):
  config = tradeoff_config()
  config.tradeoff[name] = ()
  with pytest.raises(StudyError, match=rf'{name}=\(\) must hold at least 1'):
    tradeoff.run(config, tmp_path / 'run', [])


def test_fields_that_no_sum_fits_are_refused_before_anything_runs(tmp_path):
  config = tradeoff_config()
  config.tradeoff.primes = (17,)
  with pytest.raises(StudyError, match=r'fits any of tradeoff.primes: add a'):
    tradeoff.run(config, tmp_path / 'run', [])
  assert not (tmp_path / 'run').exists()


def test_config_without_schemes_is_refused(tmp_path):
  with pytest.raises(StudyError, match=r"no section 'tradeoff'"):
    tradeoff.run(small.make_config(), tmp_path / 'run', [])


def test_scheme_that_does_not_exist_is_refused_before_anything_runs(tmp_path):
  config = tradeoff_config()
  config.tradeoff.servers = ((5, 6, 1),)
  with pytest.raises(StudyError, match=r'tradeoff: .*threshold=6'):
    tradeoff.run(config, tmp_path / 'run', [])
  assert not (tmp_path / 'run').exists()
