"""Studies: variants, checks before work, files, reproducibility."""

import html
import io
import json

import pytest
from rich.console import Console

from fps_jax.config import defaults as configs
from fps_jax.config.variants import resolve_variants
from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.results import metrics_file
from fps_jax.results.html import page as html_page
from tests.helpers import small
from tests.helpers.runs import names_not_taken

pytestmark = pytest.mark.usefixtures('no_figures')


def _study_config():
  config = small.make_config()
  config.variants.update(configs.FOUR_METHODS)
  config.baseline = 'fedavg'
  config.seeds = (0, 1)
  return config


def _run(config, workdir):
  console = Console(file=io.StringIO(), width=100)
  study.run_study(config, workdir, ['launch.py'], console=console)
  return console.file.getvalue()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('study') / 'work'
  return workdir, _run(_study_config(), workdir)


def _without_times(path):
  rows = metrics_file.read_metrics(path)
  return [{**row, 'round_seconds': 0} for row in rows]


@pytest.mark.slow
def test_study_writes_every_file_it_promises(finished):
  workdir, _ = finished
  expected = {'config.json', 'environment.json', 'report.md', 'report.json'}
  expected |= {'lock', 'metrics.csv', 'warnings.json'}
  for figure in ('accuracy_rounds', 'accuracy_uplink'):
    expected |= {f'{figure}.png', f'{figure}.pdf'}
  expected |= set(configs.FOUR_METHODS)
  assert {path.name for path in workdir.iterdir()} == expected
  for variant in configs.FOUR_METHODS:
    for seed in (0, 1):
      rows = metrics_file.read_metrics(
        workdir / variant / f'seed_{seed}' / 'metrics.jsonl'
      )
      assert len(rows) == 3


@pytest.mark.slow
def test_no_variant_may_be_named_like_what_a_study_writes(finished):
  workdir, _ = finished
  assert names_not_taken(workdir, configs.FOUR_METHODS) == []


@pytest.mark.slow
def test_variant_folder_holds_its_resolved_config(finished):
  workdir, _ = finished
  resolved = json.loads((workdir / 'pruning' / 'config.json').read_text())
  assert resolved['sharing']['scheme'] == 'none'
  assert resolved['pruning']['schedule'] == 'cubic'
  assert 'variants' not in resolved


@pytest.mark.slow
def test_table_names_every_method_and_ends_the_output(finished):
  _, output = finished
  table = output[output.index('3 rounds, seeds 0, 1') :]
  for title in ('FedAvg', 'Pruning only', 'Secret sharing', 'FedPruneShare'):
    assert title in table
  assert 'Results are in' in table


@pytest.mark.thorough
def test_same_study_again_gives_identical_metrics(finished, tmp_path):
  workdir, _ = finished
  _run(_study_config(), tmp_path / 'again')
  for path in workdir.glob('*/seed_*/metrics.jsonl'):
    other = tmp_path / 'again' / path.relative_to(workdir)
    assert _without_times(path) == _without_times(other)


def test_variants_override_the_base_and_keep_their_order():
  config = _study_config()
  config.pruning.sparsity = 0.5
  resolved = resolve_variants(config)
  assert list(resolved) == ['fedavg', 'pruning', 'sharing', 'fedpruneshare']
  assert resolved['fedavg'].pruning.schedule == 'none'
  assert all(variant.pruning.sparsity == 0.5 for variant in resolved.values())


def test_config_without_variants_is_one_run():
  config = small.make_config()
  assert list(resolve_variants(config)) == ['study']


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda c: c.pruning.update(sparsity=1.0), r'sparsity=1\.0.*\[0, 1\)'),
    (lambda c: c.pruning.update(sparsity=-0.1), r'sparsity=-0\.1.*\[0, 1\)'),
    (lambda c: c.pruning.update(sparsity=0.99), 'sparsity=0.99 keeps'),
    (lambda c: c.sharing.update(threshold=6), 'threshold=6.*num_servers=5'),
    (lambda c: c.sharing.update(prime=5), 'num_servers=5.*prime 5'),
    (lambda c: c.sharing.update(prime=1009), 'would wrap.*larger prime'),
    (
      lambda c: c.faults.update(missing_servers=(1, 2, 5)),
      '2 of 5 servers answer.*at most 2',
    ),
    (lambda c: c.data.update(source='no_such_set'), "'no_such_set'"),
    (lambda c: c.update(baseline='fedsgd'), "baseline='fedsgd'"),
    (
      lambda c: c.variants.update({'typo': {'prunning': {}}}),
      'variants.typo.*prunning',
    ),
    (
      lambda c: c.variants.update({'typed': {'num_rounds': 'many'}}),
      "variants.typed.num_rounds='many' must be of type int",
    ),
    (
      lambda c: c.variants.update({'long': {'num_rounds': 4}}),
      r'variants.long.num_rounds=4 must be 3, as of all variants: '
      'leave it out there, and run a study for each value',
    ),
    (
      lambda c: c.variants.update({'lucky': {'seeds': (7,)}}),
      r'variants.lucky.seeds=\(7,\) must be \(0, 1\), as of all variants',
    ),
    (
      lambda c: c.variants.update({'easy': {'target_accuracy': 0.5}}),
      r'variants.easy.target_accuracy=0.5 must be 0.0, as of all variants',
    ),
    (
      lambda c: c.variants.update({'huge': {'client': {'momentum': 10**400}}}),
      r'huge.client.momentum=\(an int of 1329 bits\) must be of type float',
    ),
    (
      lambda c: c.variants.update({'none': {'client': {'momentum': None}}}),
      r'variant none: client.momentum=None must be a number in \[0, 1\)',
    ),
    (
      lambda c: c.variants.update({'a/b': {}}),
      "variants: 'a/b' must name a folder",
    ),
    (
      lambda c: c.variants.update({'tensorboard': {}}),
      "variants: 'tensorboard' must name a folder",
    ),
    (
      lambda c: c.variants.update({'metrics.csv': {}}),
      "variants: 'metrics.csv' must name a folder.*and no end like",
    ),
    (
      lambda c: c.variants.update({'FedAvg': {}}),
      "variants: 'fedavg' and 'FedAvg' differ in case only.*rename one",
    ),
    (
      lambda c: c.variants.update({'bare': 5}),
      'variants.bare=5 must be fields and their values',
    ),
  ],
)
def test_bad_input_is_named_before_any_run_starts(tmp_path, change, message):
  config = _study_config()
  with config.unlocked():
    change(config)
  with pytest.raises(study.StudyError, match=message) as caught:
    _run(config, tmp_path / 'work')
  assert all(
    len(line) < 300 and line for line in str(caught.value).splitlines()
  )
  assert not list(tmp_path.glob('work/*/seed_*'))


def test_missing_tfds_set_is_one_line_with_its_cure(tmp_path):
  config = small.make_config(data__source='cifar10')
  console = Console(file=io.StringIO())
  with pytest.raises(
    study.StudyError, match=r'cifar10.*tfds_data_dir'
  ) as caught:
    study.run_study(
      config, tmp_path / 'work', [], Options(str(tmp_path)), console
    )
  assert '\n' not in str(caught.value)


def test_work_directory_in_use_is_left_alone(tmp_path):
  (tmp_path / 'precious.txt').write_text('results')
  with pytest.raises(study.StudyError, match='not empty: give another'):
    _run(small.make_config(), tmp_path)
  assert (tmp_path / 'precious.txt').read_text() == 'results'


def _diverging_config():
  config = small.make_config()
  config.variants.update(
    {
      'calm': {},
      'wild': {'client': {'learning_rate': 1e30}},
      'calm_again': {},
    }
  )
  return config


def _num_rounds_done(workdir):
  return {
    path.parent.parent.name: len(metrics_file.read_metrics(path))
    for path in workdir.glob('*/seed_0/metrics.jsonl')
  }


@pytest.mark.slow
def test_run_that_diverges_ends_and_the_study_goes_on(tmp_path, caplog):
  with caplog.at_level('WARNING'):
    output = _run(_diverging_config(), tmp_path)
  assert _num_rounds_done(tmp_path) == {'calm': 3, 'wild': 1, 'calm_again': 3}
  assert (
    'wild, seed 0: training diverged, the updates of all 8 clients are not '
    'finite in round 1 of 3: lower client.learning_rate'
  ) in caplog.text
  assert (
    'wild, seed 0: training diverged in round 1. The run is left out' in output
  )
  assert 'wild (1 of 1 diverged)' in ' '.join(output.split())
  of_wild = json.loads((tmp_path / 'report.json').read_text())['variants'][1]
  assert of_wild['diverged'] == [{'seed': 0, 'round': 1}]
  assert of_wild['final_test_accuracy_fraction_mean'] is None


@pytest.mark.slow
def test_run_that_diverges_stops_the_study_again_and_again_if_asked_to(
  tmp_path,
):
  config = _diverging_config()
  config.on_divergence = 'stop'
  for _ in range(2):
    with pytest.raises(
      study.StudyError, match=r'round 1 of 3: lower client\.l'
    ):
      _run(config, tmp_path)
    assert _num_rounds_done(tmp_path) == {'calm': 3, 'wild': 1}


@pytest.mark.slow
def test_heavy_clipping_is_reported(tmp_path, caplog):
  config = small.make_config(sharing__clip=1e-4)
  with caplog.at_level('WARNING'):
    _run(config, tmp_path / 'work')
  assert 'were clipped: raise sharing.clip' in caplog.text


@pytest.mark.slow
def test_warning_is_logged_once_and_stays_with_the_results(tmp_path, caplog):
  config = small.make_config(
    num_rounds=1, pruning__schedule='none', sharing__scheme='ideal'
  )
  config.variants.update({'one': {'sharing': {'threshold': 1}}, 'two': {}})
  with caplog.at_level('WARNING'):
    _run(config, tmp_path / 'work')
  (logged,) = caplog.messages
  assert logged.startswith('one: sharing.threshold=1 with secrets_per_')
  page = (tmp_path / 'work' / 'report.md').read_text()
  assert f'## Warnings\n\n- {logged}\n' in page
  assert logged in html.unescape(
    html_page.write([tmp_path / 'work']).read_text()
  )


@pytest.mark.slow
def test_study_without_warnings_has_no_section_of_them(finished):
  workdir, _ = finished
  assert 'Warnings' not in (workdir / 'report.md').read_text()
  assert 'Warnings' not in html_page.write([workdir]).read_text()
  (workdir / 'report.html').unlink()


@pytest.mark.slow
def test_layer_of_which_nothing_is_left_is_reported(tmp_path, caplog):
  config = small.make_config(num_rounds=1)
  config.pruning.update(
    {'schedule': 'constant', 'sparsity': 0.95, 'exempt': ('bias$',)}
  )
  with caplog.at_level('WARNING'):
    _run(config, tmp_path / 'work')
  assert 'nothing is left of hidden_0/kernel: prune' in caplog.text


def test_pattern_of_what_is_exempt_that_matches_nothing_is_an_error(tmp_path):
  config = small.make_config(pruning__exempt=('bias$', '^outptu/'))
  with pytest.raises(study.StudyError, match=r"exempt has '\^outptu/', which"):
    _run(config, tmp_path / 'work')


@pytest.mark.slow
def test_deadline_that_nobody_meets_is_reported_and_nothing_is_sent(
  tmp_path, caplog
):
  config = small.make_config(
    num_rounds=2, profiles__distribution='same', profiles__deadline_seconds=1e-9
  )
  with caplog.at_level('WARNING'):
    _run(config, tmp_path / 'work')
  assert 'in 2 of 2 rounds no client was in time: raise' in caplog.text
  (path,) = (tmp_path / 'work').glob('*/seed_0/metrics.jsonl')
  for row in metrics_file.read_metrics(path):
    assert row['clients_too_slow'] == config.cohort.size
    assert row['uplink_bytes_per_client'] == 0
    assert row['downlink_bytes_per_client'] == 0
    assert row['server_to_central_bytes'] == 0


def test_chosen_methods_are_compared_with_the_first():
  config = small.make_config()
  configs.compare_methods(config, 'pruning+fedpruneshare')
  assert list(resolve_variants(config)) == ['pruning', 'fedpruneshare']
  assert config.baseline == 'pruning'


def test_unknown_method_is_named():
  with pytest.raises(ValueError, match=r"'fedsgd' is not one of \['fedavg'"):
    configs.compare_methods(small.make_config(), 'fedavg+fedsgd')
