"""Rounds in which clients add noise: what is opened, when, and how noisy."""

import dataclasses
import math

import numpy as np
import pytest

from fps_jax.sharing import randomness
from tests.helpers import small

pytestmark = pytest.mark.slow


def make_config(**overrides):
  return small.make_config(
    **{
      'cohort__weighting': 'clients',
      'num_rounds': 2,
      'pruning__schedule': 'constant',
      'privacy__mode': 'distributed',
      'privacy__noise_multiplier': 1.0,
      'privacy__clip': 0.05,
      'privacy__rotate': True,
      'sharing__scheme': 'ideal',
      'sharing__threshold': 4,
      'sharing__secrets_per_polynomial': 2,
      **overrides,
    }
  )


@pytest.fixture(scope='module')
def simulation():
  return small.make(make_config(privacy__min_honest=7))


def moved_by(simulation, number: int) -> np.ndarray:
  """Returns how far a round of so many clients moves the model."""
  state = simulation.init_state()
  before = np.array(state.params)
  after, _, _ = small.step(
    simulation, state, small.with_clients(simulation.plan(0), number)
  )
  return np.asarray(after.params) - before


def test_ideal_and_shamir_give_identical_models_with_noise(simulation):
  """In chunks of other clients, too."""
  config = make_config(privacy__min_honest=7)
  expected, _ = small.run_simulation(simulation, config)
  config = make_config(
    privacy__min_honest=7, sharing__scheme='shamir', perf__chunk_size=3
  )
  params, rows = small.run(config)
  np.testing.assert_array_equal(params, expected)
  assert rows[-1]['epsilon'] > 0


def test_sum_of_one_client_fewer_than_min_honest_is_not_opened(simulation):
  state = simulation.init_state()
  plan = small.with_clients(simulation.plan(0), 6)
  collected = simulation.start(state, plan, simulation.put_data())
  assert not np.any(collected.sums.held)
  kept = moved_by(simulation, 6)
  pruned = np.asarray(simulation.init_state().params) + kept == 0
  assert np.all((kept == 0) | pruned)
  assert np.any(moved_by(simulation, 7) != kept)


def test_noise_of_a_round_is_that_of_all_who_contribute(simulation):
  """Two rounds of the same updates and roundings differ by their noise."""
  mechanism = simulation.round.method.terms.privacy.codec.mechanism
  other = dataclasses.replace(simulation, sharing_root=randomness.root_key(9))
  for number in (7, 8):
    moved = moved_by(simulation, number) - moved_by(other, number)
    noise = moved[moved != 0] * 8 / 0.05 * mechanism.words.levels
    assert len(noise) > 200
    # Twice as much variance, in steps; the cohort is 8, the clip 0.05.
    expected = math.sqrt(2 * number * mechanism.variance)
    assert np.std(noise) == pytest.approx(expected, rel=0.15)
  assert np.any(
    simulation.plan(0).client_noise_Cx8 != simulation.plan(1).client_noise_Cx8
  )


def test_without_noise_the_mean_is_that_of_clipped_updates():
  """By the central server's noise, which can be as small."""
  almost_none = {
    'privacy__noise_multiplier': 1e-3,
    'num_rounds': 1,
    'sharing__value_bits': 16,
    'sharing__clip': 0.05,
  }
  by_clients = small.make(make_config(**almost_none, privacy__rotate=False))
  by_server = small.make(
    make_config(**almost_none, privacy__mode='central', privacy__rotate=False)
  )
  expected = moved_by(by_server, 8)
  np.testing.assert_allclose(moved_by(by_clients, 8), expected, atol=6e-5)
  assert np.abs(expected).max() > 2e-3
