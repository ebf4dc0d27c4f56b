"""Tests of the job `poisoning`."""

import json

import pytest
from ml_collections import ConfigDict

from fps_jax.jobs.poisoning import job as poisoning
from fps_jax.jobs.poisoning import report as poisoning_report
from fps_jax.jobs.poisoning.results import PoisoningResult
from fps_jax.jobs.study import StudyError
from fps_jax.results.metrics_file import read_metrics
from fps_jax.results.summary import collect
from tests.helpers import small
from tests.helpers.runs import names_not_taken, write_run

ATTACKS = {'none': {}, 'backdoor': {'data': 'backdoor', 'malicious': 0.25}}
DEFENCES = {
  'sharing': {},
  'norm_bound': {'defence': {'name': 'norm_bound', 'num_malicious': 2}},
}


def poisoning_config() -> ConfigDict:
  config = small.make_config(
    job='poisoning',
    num_rounds=2,
    seeds=(0, 1),
    sharing__scheme='ideal',
    cohort__weighting='clients',
    defence__sketch_size=64,
  )
  for attack, fields in ATTACKS.items():
    for defence, changes in DEFENCES.items():
      config.variants[f'{attack}--{defence}'] = {'attack': fields, **changes}
  return config


@pytest.mark.thorough
def test_every_attack_meets_every_defence_in_tables_and_a_figure(tmp_path):
  config = poisoning_config()
  poisoning.run(config, tmp_path / 'run', [])
  cells = json.loads((tmp_path / 'run' / 'poisoning.json').read_text())
  pairs = [(cell['attack'], cell['defence']) for cell in cells]
  assert pairs == [(a, d) for a in ATTACKS for d in DEFENCES]
  for cell in cells:
    folder = tmp_path / 'run' / f'{cell["attack"]}--{cell["defence"]}'
    runs = [
      read_metrics(folder / f'seed_{seed}' / 'metrics.jsonl') for seed in (0, 1)
    ]
    last = [rows[-1]['test_accuracy'] for rows in runs]
    assert cell['test_accuracy_mean'] == pytest.approx(sum(last) / 2)
    assert cell['test_accuracy_min'] == min(last)
    assert cell['test_accuracy_max'] == max(last)
    is_attacked = cell['attack'] == 'backdoor'
    assert (cell['attack_success_mean'] is not None) == is_attacked
    # A sketch and the sums of the range check.
    opened = 64 + 32 if cell['defence'] == 'norm_bound' else 0
    assert cell['opened_values_per_client'] == opened
  page = (tmp_path / 'run' / 'poisoning.md').read_text()
  for heading in (
    'Test accuracy',
    'Weight that malicious',
    'classified as its target',
  ):
    assert heading in page
  assert (tmp_path / 'run' / 'poisoning.png').stat().st_size > 5000
  assert names_not_taken(tmp_path / 'run', config.variants) == []


def test_seeds_that_diverged_are_named_and_in_no_mean(tmp_path):
  for name, first, second in (
    ('none--sharing', False, True),
    ('none--mean', True, True),
  ):
    write_run(tmp_path, name, 0, [0.5], [10], diverged=first)
    write_run(tmp_path, name, 1, [0.1], [90], diverged=second)
  runs = collect(tmp_path, ['none--sharing', 'none--mean'])
  cells = list(map(PoisoningResult.of, runs.values()))
  assert [cell.diverged_seeds for cell in cells] == [[1], [0, 1]]
  for key, values in (
    ('test_accuracy_mean', [0.5, None]),
    ('uplink_bytes_per_client', [10, None]),
  ):
    assert [cell.to_json()[key] for cell in cells] == values
  page = poisoning_report.markdown(cells)
  assert '50.00 (diverged: seed 1)' in page
  assert '- (diverged: seed 0, 1)' in page
  poisoning_report.write_figure(cells, tmp_path / 'poisoning.png')
  assert (tmp_path / 'poisoning.png').exists()


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (['fedavg'], "variants \\['fedavg'\\] must be named ATTACK--DEFENCE"),
    ([], 'must be named'),
    (['a--x', 'a--y', 'b--x'], "variants \\['b--y'\\] are missing"),
  ],
)
def test_variants_that_are_not_all_pairs_are_refused(names, message, tmp_path):
  config = poisoning_config()
  config.variants = ConfigDict({name: {} for name in names})
  with pytest.raises(StudyError, match=message):
    poisoning.run(config, tmp_path / 'run', [])
  assert not (tmp_path / 'run').exists()
