"""Runs that begin with the model of another run."""

import io
import json
import re
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from fps_jax.config.validate import validate
from fps_jax.jobs import notices, study
from fps_jax.jobs.options import Options
from fps_jax.jobs.recording import Record
from fps_jax.results import workdir as workdirs
from fps_jax.runs import checkpoints, initial
from tests.helpers import small

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('no_figures')]


def _run(config, workdir, **options):
  console = Console(file=io.StringIO(), width=100)
  study.run_study(config, workdir, [], Options(**options), console)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """The folder of a variant with a sparse model for each of two seeds."""
  config = small.make_config(
    seeds=(0, 1),
    data__validation_fraction=0.25,
    checkpoint__keep_best=True,
    pruning__server='dense',
  )
  workdir = tmp_path_factory.mktemp('source') / 'work'
  _run(config, workdir)
  return workdir / 'study'


def _params(folder):
  return checkpoints.read(folder / 'checkpoints')['params']


def _begin(folder, **overrides):
  return small.make_config(model__init_from=str(folder), **overrides)


def test_run_begins_with_the_last_model_of_another_as_it_is(source):
  state = small.make(_begin(source / 'seed_1')).init_state()
  expected = _params(source / 'seed_1')
  assert np.mean(expected == 0) > 0.5  # It is sparse.
  np.testing.assert_array_equal(state.params, expected)
  assert state.round == 0
  assert state.remembered is None


def test_dense_server_remembers_zeros_of_what_was_pruned(source):
  config = _begin(source / 'seed_0', pruning__server='dense')
  state = small.make(config).init_state()
  expected = checkpoints.read(source / 'seed_0' / 'checkpoints')
  np.testing.assert_array_equal(state.remembered, expected['params'])
  assert np.any(expected['remembered'] != expected['params'])


def test_run_begins_with_the_best_model_if_asked_to(source):
  config = _begin(source / 'seed_0', model__init_model='best')
  best = checkpoints.read_best(source / 'seed_0' / 'checkpoints')
  np.testing.assert_array_equal(
    small.make(config).init_state().params, best.params
  )


def test_seed_in_the_path_is_that_of_the_run(source):
  config = _begin(source / 'seed_{seed}')
  for seed in (0, 1):
    np.testing.assert_array_equal(
      small.make(config, seed).init_state().params,
      _params(source / f'seed_{seed}'),
    )


def test_sparse_model_stays_as_sparse_under_a_constant_schedule(source):
  before = _params(source / 'seed_0')
  config = _begin(source / 'seed_0', pruning__schedule='constant', num_rounds=1)
  after, rows = small.run(config)
  np.testing.assert_array_equal(after == 0, before == 0)
  assert np.any(after != before)
  assert not list(notices._initial(config, small.make(config)))
  assert rows[0]['sparsity'] == pytest.approx(np.mean(before == 0), abs=0.01)


@pytest.mark.parametrize('schedule', ['none', 'cubic'])
def test_zeros_that_round_1_trains_again_are_warned_of(source, schedule):
  config = _begin(source / 'seed_0', pruning__schedule=schedule)
  (line,) = notices._initial(config, small.make(config))
  assert line.startswith('70.0 % of the model of model.init_from are 0, as if')
  assert 'round 1 keeps 1210 of 1210 parameters' in line


@pytest.mark.parametrize(
  ('begins', 'overrides', 'message'),
  [
    ('seed_{seed}', {}, ''),
    ('seed_0', {'seeds': (0,)}, ''),
    ('seed_0', {'data__validation_fraction': 0.0}, ''),
    ('seed_0', {}, r'has seed_0, data.source=.*=0.25, and this one seed_1, da'),
    (
      'seed_{seed}',
      {'data__validation_fraction': 0.3},
      r'seed_0, .*validation_fraction=0.25, and .*validation_fraction=0.3: its',
    ),
    ('seed_{seed}', {'data__source': 'mnist_sample'}, r'source=mnist_sample'),
  ],
)
def test_validation_part_that_the_first_model_was_trained_on_is_warned_of(
  source, begins, overrides, message
):
  config = _begin(
    source / begins,
    **{'seeds': (0, 1), 'data__validation_fraction': 0.25, **overrides},
  )
  lines = list(notices._held_out(config))
  assert len(lines) == bool(message)
  for line in lines:
    assert re.search(message, line)


def test_validation_part_of_a_run_that_does_not_say_its_own_is_warned_of(
  source, tmp_path
):
  shutil.copytree(source, tmp_path / 'study')
  begins = tmp_path / 'study' / 'seed_0'
  config = _begin(begins, data__validation_fraction=0.25)
  simulation = small.make(config)
  for content in ('[]', '{}', '{', '{"data": {"source": "fake"}}'):
    (begins.parent / 'config.json').write_text(content)
    lines = notices.before_run(config, [simulation])
    assert any(
      'source=None and validation_fraction=None' in line for line in lines
    )


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    (
      {'model__args__mlp__widths': (12,)},
      r'hidden_0/bias is of shape \[16\] there, of shape \[12\] here; '
      r'hidden_0/kernel is of shape \[64, 16\] there',
    ),
    (
      {'model__args__mlp__widths': (16, 10)},
      r'hidden_1/bias is not there, of shape \[10\] here',
    ),
    (
      {'data__source': 'mnist_sample'},
      r'hidden_0/kernel is of shape \[64, 16\] there, of shape \[784, 16\]',
    ),
  ],
)
def test_another_model_is_refused_by_the_names_of_its_arrays(
  source, overrides, message
):
  config = _begin(source / 'seed_0', **overrides)
  with pytest.raises(ValueError, match=rf'init_from=.*{message}'):
    small.make(config)


def test_model_with_another_head_is_refused(source, tmp_path):
  shutil.copytree(source, tmp_path / 'study')
  path = tmp_path / 'study' / 'model.json'
  model = json.loads(path.read_text())
  model['shapes']['output/kernel'] = [16, 62]
  path.write_text(json.dumps(model))
  with pytest.raises(
    ValueError,
    match=r'a head neither: output/kernel is of shape \[16, 62\] there, of '
    r'shape \[16, 10\] here; take the same',
  ):
    small.make(_begin(tmp_path / 'study' / 'seed_0'))


def test_folder_that_is_not_of_a_run_is_named(source, tmp_path):
  for folder, message in (
    (tmp_path, 'not a folder of checkpoints; give the folder of a run'),
    (source, 'not a folder of checkpoints; give the folder of a run'),
    (source / 'seed_7', 'seed_7/checkpoints is not a folder'),
  ):
    with pytest.raises(ValueError, match=message):
      small.make(_begin(folder))
  shutil.copytree(source / 'seed_0', tmp_path / 'alone' / 'seed_0')
  with pytest.raises(ValueError, match=r'model.json does not say what its'):
    small.make(_begin(tmp_path / 'alone' / 'seed_0'))


def test_model_of_a_run_that_diverged_is_refused(source, monkeypatch):
  infinite = {'params': np.float32([0, np.inf])}
  monkeypatch.setattr(initial, 'read', lambda folder: infinite)
  with pytest.raises(ValueError, match=r'its model is not finite, as the run'):
    small.make(_begin(source / 'seed_0'))


def test_which_model_without_a_run_is_refused():
  config = small.make_config(model__init_model='best')
  with pytest.raises(
    ValueError, match=r"init_model='best' is of model\.init_fr"
  ):
    validate(config)


def test_model_that_has_changed_stops_the_study_and_is_recorded(
  source, tmp_path
):
  shutil.copytree(source, tmp_path / 'other')
  begins = tmp_path / 'other' / 'seed_{seed}'
  config = _begin(begins, num_rounds=1, seeds=(0,))
  workdir = tmp_path / 'work'
  _run(config, workdir)
  recorded = json.loads((workdir / 'environment.json').read_text())
  (name,) = recorded['initial_models']
  assert name == f'last of {tmp_path}/other/seed_0'
  written = json.loads((workdir / 'study' / 'config.json').read_text())
  assert written['model']['init_from'] == str(begins)
  _run(config, workdir)
  shutil.rmtree(tmp_path / 'other' / 'seed_0')
  shutil.copytree(source / 'seed_1', tmp_path / 'other' / 'seed_0')
  with pytest.raises(
    study.StudyError, match=r'began with another model.*\n  initial_models.last'
  ):
    _run(config, workdir)
  _run(config, workdir, resume_changed=True)
  recorded = json.loads((workdir / 'environment.json').read_text())
  assert recorded['resumed'][-1]['changed'] == [f'initial_models.{name}']


@pytest.mark.parametrize('overwrite', [False, True])
def test_study_does_not_begin_with_what_its_work_directory_holds(
  source, tmp_path, overwrite
):
  workdir = tmp_path / 'work'
  shutil.copytree(source.parent, workdir)
  (tmp_path / 'link').symlink_to(workdir)
  before = sorted(workdir.rglob('*'))
  for begins in (workdir, tmp_path / 'link'):
    config = _begin(begins / 'study' / 'seed_{seed}', num_rounds=1)
    with pytest.raises(
      study.StudyError, match=r'seed_0 is in the work directory .*give another'
    ):
      _run(config, workdir, overwrite=overwrite)
  assert sorted(workdir.rglob('*')) == before
  shutil.copytree(source, tmp_path / 'workdir' / 'study')
  config = _begin(tmp_path / 'workdir' / 'study' / 'seed_0', num_rounds=1)
  _run(config, workdir, overwrite=True)


def test_without_a_model_of_another_run_nothing_is_new():
  """A program with no input but the seed."""
  simulation = small.make(small.make_config())
  leaves = jax.tree.leaves(simulation.init_state.args)
  assert leaves == [0]


def test_run_of_a_study_by_itself_is_asked_for_its_own_model_alone(
  source, tmp_path
):
  """As where the runs of a study are jobs."""
  config = _begin(source / 'seed_{seed}', seeds=(0, 1))
  of_all = Record.now(tmp_path, [], Options(), {'study': config})
  (tmp_path / 'study' / 'seed_0').mkdir(parents=True)
  workdirs.write_json(tmp_path / 'environment.json', of_all.environment)
  config.seeds = (1,)
  alone = Record.now(tmp_path, [], Options(), {'study': config})
  assert alone.changed == ()
  assert len(alone.environment['initial_models']) == 1
