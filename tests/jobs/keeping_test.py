"""A study in memory comes to what one in a work directory does."""

import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console

from fps_jax.jobs import study
from fps_jax.jobs.keeping import InMemory
from fps_jax.jobs.options import Options
from fps_jax.results.metrics_file import read_metrics
from fps_jax.runs import checkpoints
from tests.helpers import small

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('no_figures')]


def _quiet():
  return Console(file=io.StringIO())


def _run_in_memory(config, **flags):
  options = Options(**flags)
  return study.run(config, InMemory(options), options, _quiet())


def _without_times(rows):
  return [{**row, 'round_seconds': 0.0} for row in rows]


@pytest.fixture(scope='module')
def both(tmp_path_factory):
  """The folder of a study, and what the same study in memory came to."""
  config = small.make_config(seeds=(0, 3))
  config.variants.update({'fedavg': {'sharing': {'scheme': 'none'}}})
  workdir = tmp_path_factory.mktemp('both') / 'work'
  study.run_study(config, workdir, [], console=_quiet())
  return workdir, _run_in_memory(config)


def test_study_in_memory_has_the_rows_and_models_of_one_on_disk(both):
  workdir, results = both
  assert [(each.name, each.seed) for each in results] == [
    ('fedavg', 0),
    ('fedavg', 3),
  ]
  for each in results:
    folder = workdir / each.name / f'seed_{each.seed}'
    rows = read_metrics(folder / 'metrics.jsonl')
    assert _without_times(each.rows) == _without_times(rows)
    params = checkpoints.read(folder / 'checkpoints')['params']
    np.testing.assert_array_equal(each.state.params, params)
    assert each.variant.sharing.scheme == 'none'


def test_study_in_memory_writes_no_file(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  _run_in_memory(small.make_config(num_rounds=1))
  assert not list(tmp_path.iterdir())


def test_flag_that_writes_files_needs_a_work_directory():
  with pytest.raises(study.StudyError, match=r'--profile, --tensorboard with'):
    _run_in_memory(small.make_config(), profile=True, tensorboard=True)


def test_variant_folder_says_what_its_models_are_made_for(both):
  workdir, results = both
  written = json.loads((workdir / 'fedavg' / 'model.json').read_text())
  model = results[0].simulation.accounts.model
  params = jax.tree.map(np.shape, model.unravel(results[0].state.params))
  assert written == {
    'name': 'fake',
    'input_shape': [8, 8, 1],
    'input_dtype': 'uint8',
    'num_classes': 10,
    'shapes': {
      'hidden_0/bias': [16],
      'hidden_0/kernel': [64, 16],
      'output/bias': [10],
      'output/kernel': [16, 10],
    },
  }
  for path, shape in written['shapes'].items():
    layer, name = path.split('/')
    assert params[layer][name] == tuple(shape)
