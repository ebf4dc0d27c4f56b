"""Runs from Python, and their results."""

import dataclasses
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pandas
import pytest

import fps_jax as fps
from fps_jax import data
from fps_jax.jobs.study import StudyError
from tests.helpers import small

pytestmark = pytest.mark.usefixtures('no_figures')


def tiny(**overrides):
  return small.make_config(
    **{'num_rounds': 2, 'sharing__scheme': 'ideal', **overrides}
  )


def equal(one, other) -> bool:
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return tmp_path_factory.mktemp('study')


@pytest.fixture(scope='module')
def kept(workdir):
  """A study of two variants and two seeds, and the same from disk."""
  config = tiny(seeds=(0, 1), num_rounds=2)
  fps.compare_methods(config, 'fedavg+fedpruneshare')
  return fps.run(config, workdir, progress=False)


@pytest.mark.thorough
def test_run_without_a_work_directory_gives_what_one_with_it_does(kept):
  config = tiny(seeds=(0, 1), num_rounds=2)
  fps.compare_methods(config, 'fedavg+fedpruneshare')
  result = fps.run(config, progress=False)
  assert result.workdir is None
  for one, other in zip(result.runs, kept.runs, strict=True):
    assert (one.variant, one.seed) == (other.variant, other.seed)
    assert equal(one.params, other.params)
    for row, same in zip(one.rows, other.rows, strict=True):
      row['round_seconds'] = same['round_seconds']
      assert row == same


@pytest.mark.slow
def test_study_is_loaded_as_it_was_run_whole_or_a_run_of_it(kept, workdir):
  whole = fps.load(str(workdir))
  named = [(run.variant, run.seed) for run in whole.runs]
  assert named == [
    (variant, seed)
    for variant in ('fedavg', 'fedpruneshare')
    for seed in (0, 1)
  ]
  alone = fps.load(workdir / 'fedpruneshare' / 'seed_1')
  assert alone.workdir == workdir
  assert equal(alone.params, whole['fedpruneshare', 1].params)
  assert alone.rows == [
    row
    for row in whole.rows
    if (row['variant'], row['seed']) == ('fedpruneshare', 1)
  ]
  assert alone.config.pruning.sparsity == 0.7
  assert alone.config.seeds == (0, 1)


@pytest.mark.slow
def test_trained_model_has_the_accuracy_that_its_row_says(kept):
  run = kept['fedpruneshare', 0]
  dataset = fps.load_data('fake')
  outputs = run.apply(dataset.test_inputs)
  right = np.mean(np.argmax(outputs, axis=1) == dataset.test_targets)
  assert right == run.rows[-1]['test_accuracy']
  with pytest.raises(ValueError, match=r'inputs is float64 .*must be uint8'):
    run.apply(dataset.test_inputs / 255)
  # The module itself, on inputs that are scaled already.
  pixels = np.float32(dataset.test_inputs) / 255
  same = run.module.apply({'params': run.params}, pixels)
  np.testing.assert_allclose(outputs, same, atol=1e-5)


@pytest.mark.slow
def test_bytes_of_a_run_are_those_of_its_rounds(kept):
  run = kept['fedavg', 0]
  total = run.total_bytes
  each = [row['uplink_bytes_per_client'] for row in run.rows]
  assert total.uplink_per_client == sum(each) > 0
  assert total.server_to_central == 0


@pytest.mark.slow
def test_what_is_of_one_run_is_asked_of_one(kept):
  with pytest.raises(AttributeError, match=r'params is of one run.* 4: result'):
    _ = kept.params
  with pytest.raises(KeyError, match="'fedavg' names 2 runs"):
    kept['fedavg']
  with pytest.raises(KeyError, match='names 0 runs'):
    kept['fedavg', 7]
  with pytest.raises(AttributeError, match="no attribute 'parms'"):
    _ = kept.parms


@pytest.mark.slow
def test_rows_are_a_dataframe_where_pandas_is_there(kept, monkeypatch):
  frame = kept.dataframe()
  assert isinstance(frame, pandas.DataFrame)
  assert len(frame) == 8
  assert set(frame['variant']) == {'fedavg', 'fedpruneshare'}
  monkeypatch.setitem(sys.modules, 'pandas', None)
  with pytest.raises(ImportError, match='pip install pandas, or take rows'):
    kept.dataframe()


@pytest.mark.slow
def test_data_set_of_ones_own_needs_no_name_in_a_registry():
  mine = dataclasses.replace(fps.load_data('fake'), name='mine')
  result = fps.run(tiny(num_rounds=1), dataset=mine, progress=False)
  source = result.config.data.source
  assert source.startswith('mine@') and source not in data.SOURCES
  assert len(result.rows) == 1


@pytest.mark.slow
def test_study_does_not_go_on_with_other_data_of_the_same_name(tmp_path):
  mine = fps.load_data('fake')
  config = tiny(num_rounds=1)
  fps.run(config, tmp_path, dataset=mine, progress=False)
  other = dataclasses.replace(mine, test_targets=mine.test_targets[::-1])
  with pytest.raises(StudyError, match=r'data\.source'):
    fps.run(config, tmp_path, dataset=other, progress=False)


def test_study_that_does_not_say_what_its_models_are_is_refused(tmp_path):
  run = tmp_path / 'fedavg' / 'seed_0'
  run.mkdir(parents=True)
  (run / 'metrics.jsonl').touch()
  with pytest.raises(ValueError, match=r'model\.json does not say what its'):
    fps.load(run)


def test_folder_without_a_study_is_refused(tmp_path):
  with pytest.raises(ValueError, match='holds no study and no run: give a'):
    fps.load(tmp_path)


@pytest.mark.slow
def test_run_without_checkpoints_cannot_be_loaded_and_says_why(tmp_path):
  config = tiny(num_rounds=1, checkpoint__every_rounds=0)
  result = fps.run(config, tmp_path / 'study', progress=False)
  assert result.params and result.folder.is_dir()
  message = re.escape('which checkpoint.every_rounds=0 writes')
  with pytest.raises(ValueError, match=message):
    fps.load(result.folder)
  with pytest.raises(StudyError, match='give overwrite=True to run it'):
    fps.run(config, tmp_path / 'study', progress=False)


@pytest.mark.slow
def test_unfinished_run_is_loaded_as_of_its_last_checkpoint(tmp_path):
  def stop(context):
    if context.seed == 1 and context.row['round'] == 3:
      raise RuntimeError('stop')

  config = tiny(seeds=(0, 1), num_rounds=4, checkpoint__every_rounds=2)
  with pytest.raises(StudyError, match='stop'):
    fps.run(config, tmp_path, progress=False, on_round=stop)
  kept = tmp_path / 'study' / 'seed_1' / 'checkpoints'
  shutil.rmtree(kept / '3')  # As if it had been killed there.
  loaded = fps.load(tmp_path)
  assert [len(run.rows) for run in loaded.runs] == [4, 2]
  shutil.rmtree(kept)
  with pytest.warns(UserWarning, match='no checkpoint yet, left out: .*seed_1'):
    assert len(fps.load(tmp_path).runs) == 1


@pytest.mark.slow
def test_study_that_was_finished_is_not_run_again_but_read(kept, workdir):
  config = tiny(seeds=(0, 1), num_rounds=2)
  fps.compare_methods(config, 'fedavg+fedpruneshare')
  again = fps.run(
    config, workdir, progress=False, on_round=lambda _: pytest.fail('ran')
  )
  for one, other in zip(again.runs, kept.runs, strict=True):
    assert equal(one.params, other.params)
  assert again.rows == kept.rows


@pytest.mark.slow
def test_best_model_is_there_from_memory_and_from_disk(tmp_path):
  config = tiny(
    num_rounds=2, data__validation_fraction=0.2, checkpoint__keep_best=True
  )
  result = fps.run(config, tmp_path / 'study', progress=False)
  loaded = fps.load(tmp_path / 'study')
  assert result.best.round == loaded.best.round
  assert equal(result.best.params, loaded.best.params)
  accuracies = [row['validation_accuracy'] for row in result.runs[0].rows]
  assert result.best.accuracy == max(accuracies)


def test_wrong_config_or_option_is_refused_before_anything_runs(tmp_path):
  with pytest.raises(StudyError, match=r'pruning.sparsity=1.5'):
    fps.run(tiny(pruning__sparsity=1.5), tmp_path / 'study')
  with pytest.raises(TypeError, match='tfds_dir'):
    fps.run(tiny(), tfds_dir='x')
  with pytest.raises(StudyError, match='--overwrite without a work directory'):
    fps.run(tiny(), overwrite=True)


def test_every_public_name_is_there_and_typed():
  source = fps.__loader__.get_source('fps_jax')
  block = source.split('if TYPE_CHECKING:')[1].split('__version__')[0]
  typed = re.findall(r'\b(\w+)(?:,|\n)', re.sub(r'\w+ as ', '', block))
  for name in fps.__all__:
    assert getattr(fps, name) is not None
    assert name in typed, name
    assert name in dir(fps)
  with pytest.raises(AttributeError, match="'fps_jax' has no attribute 'rum'"):
    _ = fps.rum


def test_importing_the_package_imports_nothing_heavy():
  code = 'import fps_jax, sys; print(*sorted(sys.modules))'
  modules = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  ).stdout.split()
  assert not {'jax', 'numpy', 'flax', 'orbax', 'matplotlib'} & set(modules)
