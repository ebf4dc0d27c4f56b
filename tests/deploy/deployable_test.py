"""What of a study can be deployed, and what is refused by name."""

import importlib.util
import types

import numpy as np
import pytest

from fps_jax import data
from fps_jax.config import defaults
from fps_jax.core import extras
from fps_jax.deploy import keys, study
from fps_jax.deploy.messages import SERVER
from fps_jax.jobs import run as jobs
from fps_jax.jobs.study import StudyError
from tests.helpers import small

REFUSED = {
  'sharing.scheme': 'none',
  'sharing.reveal': 'updates',
  'sharing.audit': 'clients',
  'sharing.threshold': 2,
  'defence.name': 'krum',
  'attack.malicious': 0.2,
  'privacy.mode': 'central',
  'pruning.mask': 'local',
  'pruning.tiers': (0.5, 1.0),
  'profiles.distribution': 'lognormal',
  'faults.client_dropout_probability': 0.1,
  'faults.lying_servers': (1,),
  'eval.by_client_every_rounds': 1,
  'data.validation_fraction': 0.1,
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_of_simulations_is_refused_by_its_field(name):
  config = small.make_config(**{name: REFUSED[name]})
  with pytest.raises(ValueError, match=rf'cannot be deployed: {name}='):
    study.prepare(config)


def test_what_can_be_deployed_has_keys_of_the_system_and_checkpoints():
  config = small.make_config()
  assert study.prepare(config) == {}
  assert config.sharing.entropy == 'os'
  assert config.checkpoint.every_rounds == 1


def test_variants_that_cannot_are_left_out_and_the_baseline_with_them():
  config = small.make_config()
  defaults.compare_methods(config)
  left_out = study.prepare(config)
  assert set(left_out) == {'fedavg', 'pruning'}
  assert list(config.variants) == ['sharing', 'fedpruneshare']
  assert config.baseline == 'sharing'


def test_other_jobs_are_refused():
  config = small.make_config()
  config.job = 'inversion'
  with pytest.raises(ValueError, match="job='inversion' cannot be deployed"):
    study.prepare(config)


def test_data_of_ones_own_is_trained_on_whole():
  config = small.make_config(cohort__weighting='clients')
  own = data.load('fake', num_train=40)
  trainer = study.Study(config, dataset=own).trainer(config.name, 0)
  rows = trainer._simulation.planner.plan_client(5, 0).indices
  np.testing.assert_array_equal(np.unique(rows[rows >= 0]), np.arange(40))


def test_run_that_is_none_of_the_study_is_refused_by_name():
  party = study.Study(small.make_config())
  for name, seed in (('other', 0), (party.config.name, 7)):
    with pytest.raises(ValueError, match=f'study .{name}. with seed {seed} is'):
      party.trainer(name, seed)


def test_data_of_ones_own_cannot_be_weighed():
  config = small.make_config()
  own = data.load('fake', num_train=40)
  with pytest.raises(ValueError, match="weighting='examples' needs"):
    study.Study(config, dataset=own).trainer(config.name, 0)


def test_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    extras.importlib.util,
    'find_spec',
    lambda name: None if name == 'flwr' else find(name),
  )
  with pytest.raises(StudyError, match=r'pip install .fps_jax\[deploy\]'):
    jobs.deploy([], tmp_path, None)


def test_node_whose_keys_are_not_those_of_the_roster_does_not_start(tmp_path):
  node = pytest.importorskip('fps_jax.deploy.node', exc_type=ImportError)
  own, other = (
    keys.make_node(tmp_path / name, 'one', SERVER, [1]) for name in 'ab'
  )
  keys.Roster({'one': own._replace(keys=other.keys)}).write(tmp_path / 'a')
  party = study.Study(small.make_config())
  with pytest.raises(ValueError, match='are not those of the roster'):
    node.make_parties(tmp_path / 'a', 'one', party)


def test_run_that_begins_again_is_known_by_its_name(tmp_path):
  """Also before a round of it has ended, and a checkpoint was written."""
  central = pytest.importorskip('fps_jax.deploy.central', exc_type=ImportError)
  run = types.SimpleNamespace(title='study', name='study', seed=0)
  first, again = (
    central._begin(tmp_path / 'occasion.json', run) for _ in range(2)
  )
  assert again.run == first.run
  assert (first.start, again.start) == (0, 1)
