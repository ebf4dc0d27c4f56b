"""Tests of `fps_jax.config.distributed`: noise of clients, from a config."""

import pytest

from fps_jax.config.sections import sharing
from fps_jax.config.validate import validate
from fps_jax.sharing.schemes.channels import Sent
from tests.helpers import small
from tests.helpers.config_cases import problems


def make_config(**overrides):
  return small.make_config(
    **{
      'cohort__weighting': 'clients',
      'privacy__mode': 'distributed',
      'privacy__noise_multiplier': 1.0,
      'sharing__scheme': 'ideal',
      **overrides,
    }
  )


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'sharing__scheme': 'quantised'},
      "privacy.mode='distributed' with sharing.scheme='quantised'",
    ),
    (
      {'privacy__min_honest': 9},
      'privacy.min_honest=9 must be at most cohort.size=8',
    ),
  ],
)
def test_what_has_no_noise_of_clients_is_refused(changes, message):
  found = problems(make_config(**changes))
  assert any(message in line for line in found), found


def test_clip_of_single_values_is_no_obstacle():
  """Sums of that codec would wrap; nobody builds it."""
  config = make_config(sharing__value_bits=16, sharing__prime=2**17 - 1)
  validate(config)
  config.privacy.mode = 'central'
  assert any('would wrap' in line for line in problems(config))


def test_too_few_bits_are_an_error_before_the_run():
  config = make_config(sharing__prime=127)
  with pytest.raises(
    ValueError, match=r'words of 7 bits .* That takes 1\d bits'
  ):
    small.make(config)


@pytest.mark.parametrize('neighbours', ['replace_one', 'zero_out'])
def test_noise_follows_from_epsilon(neighbours):
  config = make_config(
    privacy__noise_multiplier=0.0,
    privacy__epsilon=4.0,
    privacy__neighbours=neighbours,
  )
  run = small.make(config)
  assert 3.98 < run.accounts.ledger.epsilon(config.num_rounds) <= 4.0
  mechanism = run.protocol.codec.mechanism
  assert run.accounts.ledger.noise_multiplier == mechanism.noise_multiplier


def test_sum_of_fewer_than_the_noise_is_made_for_is_never_opened():
  assert sharing.min_contributors(make_config()) == 8
  assert sharing.min_contributors(make_config(privacy__min_honest=5)) == 5
  config = make_config(privacy__min_honest=5, sharing__min_contributors=6)
  assert sharing.min_contributors(config) == 6
  assert small.make(config).round.method.terms.min_contributors == 6
  config.privacy.mode = 'central'
  config.sharing.min_contributors = 2
  assert sharing.min_contributors(config) == 2


@pytest.mark.parametrize('rotates', [False, True])
def test_rotated_values_travel_in_whole_blocks(rotates):
  config = make_config(privacy__rotate=rotates)
  run = small.make(config)
  pruning = run.pruning_plans[-1]
  kept = int(pruning.keep_count)
  (num_values,) = run.round.method.counts_at(pruning)
  assert num_values == (1024 * -(-kept // 1024) if rotates else kept)
  channel = sharing.scheme_of(config).make_channel(
    sharing.make_setup(config, 0, 0)
  )
  sent = Sent(run.accounts.num_params, kept, 8, int(num_values))
  counted = run.accounts.count_bytes(pruning, [0] * 8, [0] * 8)
  assert counted.uplink_per_client == channel.uplink_bytes(sent)
  assert counted.server_to_central == channel.central_bytes(sent)
  tiling = run.round.method.tiling
  assert tiling.padded_size > num_values
  assert not rotates or tiling.size % 1024 == 0
