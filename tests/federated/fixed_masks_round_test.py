"""Whole rounds whose masks are chosen once, before training."""

from typing import Any

import numpy as np
import pytest

from fps_jax.config.sections.pruning import make_pruner
from tests.helpers import small

pytestmark = pytest.mark.slow
FIXED = ('initial_magnitude', 'random')


def config_of(score: str, **overrides: Any):
  changes = {'sharing__scheme': 'none', 'num_rounds': 2, **overrides}
  return small.make_config(
    pruning__schedule='constant', pruning__score=score, **changes
  )


@pytest.mark.parametrize('score', FIXED)
@pytest.mark.parametrize('scope', ['global', 'erk'])
def test_mask_is_of_what_was_ranked_before_training_in_all_rounds(
  score: str, scope: str
):
  config = config_of(score, pruning__scope=scope)
  simulation = small.make(config)
  state = simulation.init_state()
  ranked = np.asarray(state.scores)
  if score == 'initial_magnitude':
    np.testing.assert_array_equal(ranked, state.params)
  unravel = simulation.accounts.model.unravel
  pruner = make_pruner(config, unravel(state.params))
  expected = np.asarray(pruner.keep(ranked, simulation.pruning_plans[0]))
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    params = np.asarray(state.params)
    assert np.all(params[~expected] == 0)
    # Trained weights are 0 by chance alone.
    assert np.mean(params[expected] != 0) > 0.9
  np.testing.assert_array_equal(state.scores, ranked)


def test_random_masks_are_those_of_the_seed_and_follow_no_weight():
  config = config_of('random')
  one, again, other = (small.make(config, seed) for seed in (0, 0, 1))
  drawn = [np.asarray(each.init_state().scores) for each in (one, again, other)]
  np.testing.assert_array_equal(drawn[0], drawn[1])
  assert np.all(drawn[0] != drawn[2])
  assert np.all((drawn[0] >= 1) & (drawn[0] < 2))
  magnitudes = np.abs(one.init_state().params)
  assert abs(np.corrcoef(drawn[0], magnitudes)[0, 1]) < 0.1


@pytest.mark.parametrize('score', FIXED)
def test_fixed_masks_are_shared_to_the_bits_of_ideal_sums(score: str):
  ideal, ideal_rows = small.run(config_of(score, sharing__scheme='ideal'))
  shared, shared_rows = small.run(config_of(score, sharing__scheme='shamir'))
  np.testing.assert_array_equal(ideal, shared)
  for one, other in zip(ideal_rows, shared_rows, strict=True):
    for name in ('uplink_bytes_per_client', 'server_to_central_bytes'):
      assert one[name] == other[name] > 0


def test_masks_of_magnitude_are_ranked_anew():
  simulation = small.make(config_of('magnitude'))
  assert simulation.init_state().scores is None
