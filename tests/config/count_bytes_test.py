"""What messages weigh, from a config alone."""

import pytest

import fps_jax as fps
from fps_jax.config import defaults
from tests.helpers import small


@pytest.mark.slow
def test_bytes_are_those_that_a_run_counts():
  config = small.make_config(num_rounds=1, sharing__scheme='shamir')
  config.pruning.schedule = 'constant'
  result = fps.run(config, progress=False)
  sent = fps.message_bytes(
    config, result.network.num_params, config.pruning.sparsity
  )
  assert sent == result.total_bytes


@pytest.mark.parametrize(
  ('method', 'arguments', 'message'),
  [
    ('fedavg', {'sparsity': 0.5}, 'sparsity=0.5 of a config that prunes noth'),
    ('fedpruneshare', {'sparsity': 1.0}, r'sparsity=1.0 must be in \[0, 1\)'),
    ('fedpruneshare', {'num_params': 0}, 'num_params=0 must be at least 1'),
    ('fedpruneshare', {'num_params': 1e6}, 'num_params=1000000.0 is of type'),
  ],
)
def test_numbers_that_do_not_fit_are_refused(method, arguments, message):
  config = defaults.default(method)
  with pytest.raises(ValueError, match=message):
    fps.message_bytes(config, **{'num_params': 1000, **arguments})


def test_tiers_are_refused_as_their_messages_differ():
  config = defaults.default()
  config.pruning.tiers = (0.5, 1.0)
  config.profiles.distribution = 'lognormal'
  config.profiles.deadline_seconds = 1.0
  with pytest.raises(ValueError, match=r'pruning.tiers=\(0.5, 1.0\) makes'):
    fps.message_bytes(config, 1000)
