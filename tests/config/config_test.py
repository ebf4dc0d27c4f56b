"""Tests of `fps_jax.config.defaults`."""

from typing import Any

import pytest
from ml_collections import ConfigDict

from fps_jax import models
from fps_jax.config import defaults as configs
from fps_jax.config.validate import validate
from fps_jax.config.variants import resolve_variants
from fps_jax.data import PARTITIONERS

DEFAULTS = {'seeds': 1, 'rate': 0.5, 'tiny': False, 'full': True, 'data': 'x'}


@pytest.mark.parametrize(
  ('text', 'changes'),
  [
    (None, {}),
    ('', {}),
    ('seeds=3', {'seeds': 3}),
    ('seeds=-3', {'seeds': -3}),
    ('rate=2', {'rate': 2.0}),
    ('rate=1e-3', {'rate': 0.001}),
    ('tiny', {'tiny': True}),
    ('tiny=true', {'tiny': True}),
    ('tiny=True', {'tiny': True}),
    ('tiny=false', {}),
    ('full', {}),
    ('full=false', {'full': False}),
    ('full=False', {'full': False}),
    ('data=mnist', {'data': 'mnist'}),
    ('data=7', {'data': '7'}),
    ('data=a=b', {'data': 'a=b'}),
    ('seeds=3,tiny,data=', {'seeds': 3, 'tiny': True, 'data': ''}),
    ('seeds=3,,tiny,', {'seeds': 3, 'tiny': True}),
  ],
)
def test_values_take_the_type_of_their_default(
  text: str | None, changes: dict[str, Any]
):
  arguments = configs.parse_arguments(text, **DEFAULTS)
  assert isinstance(arguments, ConfigDict)
  assert arguments.to_dict() == {**DEFAULTS, **changes}
  for name, default in DEFAULTS.items():
    assert type(arguments[name]) is type(default)


@pytest.mark.parametrize('text', ['seed=3', 'tiny,seed', '=3', ' tiny'])
def test_unknown_argument_raises_and_lists_the_known_ones(text: str):
  message = r"is not one of \['data', 'full', 'rate', 'seeds', 'tiny'\]"
  with pytest.raises(ValueError, match=message):
    configs.parse_arguments(text, **DEFAULTS)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('seeds=three', "seeds='three' must be .* int"),
    ('seeds=1.5', r"seeds='1\.5' must be .* int"),
    ('seeds=', "seeds='' must be .* int"),
    ('seeds', "'seeds' needs a value"),
    ('rate=fast', "rate='fast' must be .* float"),
    ('tiny=yes', "tiny='yes' must be true or false"),
    ('tiny=1', "tiny='1' must be true or false"),
    ('tiny=', "tiny='' must be true or false"),
  ],
)
def test_value_of_another_type_raises(text: str, message: str):
  with pytest.raises(ValueError, match=message):
    configs.parse_arguments(text, **DEFAULTS)


def test_default_is_valid():
  validate(configs.default())


def test_default_makes_a_new_config_each_time():
  changed = configs.default()
  changed.client.learning_rate = 7.0
  changed.variants.update(configs.FOUR_METHODS)
  assert configs.default().client.learning_rate != 7.0
  assert not configs.default().variants


@pytest.mark.parametrize('num_clients', [3, 100])
def test_tiny_is_valid_and_never_grows_a_config(num_clients: int):
  config = configs.default()
  config.data.num_clients = config.cohort.size = num_clients
  configs.tiny(config)
  validate(config)
  assert config.data.source == 'fake'
  assert config.num_rounds == 3
  assert config.data.num_clients == config.cohort.size == min(8, num_clients)


@pytest.mark.parametrize(
  'method', ['fedavg', 'sharing', 'quantisation', 'local_masks', 'top_k']
)
def test_baseline_trains_all_in_a_study_that_trains_parts(method):
  config = configs.default()
  config.pruning.trained_fraction = 0.2
  config.variants.update({method: configs.METHODS[method]})
  (variant,) = resolve_variants(config).values()
  assert variant.pruning.trained_fraction == 1
  validate(variant)


@pytest.mark.parametrize('method', list(configs.METHODS))
def test_methods_are_valid(method: str):
  config = configs.default()
  config.update(configs.METHODS[method])
  validate(config)


def test_four_methods_switch_parts_off():
  parts = {}
  for method, overrides in configs.FOUR_METHODS.items():
    config = configs.default()
    config.update(overrides)
    parts[method] = (
      config.pruning.schedule != 'none',
      config.sharing.scheme != 'none',
    )
  assert parts == {
    'fedavg': (False, False),
    'pruning': (True, False),
    'sharing': (False, True),
    'fedpruneshare': (True, True),
  }


def test_arguments_of_models_and_partitioners_are_known():
  config = configs.default()
  assert set(config.data.partition_args) <= set(PARTITIONERS)
  for name, fields in config.model.args.items():
    models.make(name, 10, **fields)


def test_sparsities_of_parts_of_a_percent_name_variants():
  config = configs.default()
  configs.compare_sparsities(config, (0.9, 0.975))
  names = ['fedavg', 'fedpruneshare_90', 'fedpruneshare_97.5']
  assert list(config.variants) == names
  resolved = resolve_variants(config)
  assert resolved['fedpruneshare_97.5'].pruning.sparsity == 0.975
