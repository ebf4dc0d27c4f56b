"""Programs that are called once: optimised less, with the same bits."""

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fps_jax import data
from fps_jax.config import defaults
from fps_jax.config.sections.model import make_network
from fps_jax.core import compilation
from tests.helpers import small

OPTIONS = {'xla_backend_optimization_level': 1}


def test_what_is_called_once_on_a_cpu_is_optimised_less(monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=2')
  options = compilation.of_one_call('cpu')
  assert options == {'compiler_options': OPTIONS}
  assert compilation.of_one_call('cuda') == {}


def test_what_the_user_has_set_of_it_stays(monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_backend_optimization_level=3')
  assert compilation.of_one_call('cpu') == {}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mlp', 'mcmahan_cnn'])
def test_a_model_begins_with_the_bits_of_a_program_that_is_optimised_fully(
  name,
):
  config = defaults.default()
  config.model.name = name
  network = make_network(config, data.load(config.data.source).signature)

  def init(key):
    return ravel_pytree(network.init(key))[0]

  fully = small.full_jit.keywords['compiler_options']
  fast, slow = (
    jax.jit(init, compiler_options={**fully, **options})(jax.random.key(5))
    for options in ({}, OPTIONS)
  )
  assert np.any(np.asarray(fast))
  np.testing.assert_array_equal(fast, slow)
