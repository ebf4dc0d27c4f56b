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


def round_of(simulation, number: int) -> tuple[np.ndarray, float]:
  """Returns how far so many clients move the model, and the next clip."""
  state = simulation.init_state()
  before = np.array(state.params)
  after, _, _ = small.step(
    simulation, state, small.with_clients(simulation.plan(0), number)
  )
  return np.asarray(after.params) - before, float(after.clip)


def moved_by(simulation, number: int) -> np.ndarray:
  """Returns how far a round of so many clients moves the model."""
  return round_of(simulation, number)[0]


@pytest.mark.thorough
def test_ideal_and_shamir_give_identical_models_with_noise():
  """In chunks of other clients, too, and with a clip that follows votes."""
  follows = {'privacy__clip_quantile': 0.4, 'privacy__count_deviation': 4.0}
  expected, expected_rows = small.run(make_config(**follows))
  config = make_config(**follows, sharing__scheme='shamir', perf__chunk_size=3)
  params, rows = small.run(config)
  np.testing.assert_array_equal(params, expected)
  assert rows[-1]['epsilon'] > 0
  clips = [row['clip_norm'] for row in rows]
  assert clips == [row['clip_norm'] for row in expected_rows]
  assert clips[0] != clips[1]


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
    'privacy__clip_quantile': 0.9,
    'privacy__count_deviation': 1e-2,
  }
  by_clients = small.make(make_config(**almost_none, privacy__rotate=False))
  by_server = small.make(
    make_config(**almost_none, privacy__mode='central', privacy__rotate=False)
  )
  expected, next_clip = round_of(by_server, 8)
  moved, follows = round_of(by_clients, 8)
  np.testing.assert_allclose(moved, expected, atol=6e-5)
  assert np.abs(expected).max() > 2e-3
  # A vote more or less would move it by a fortieth.
  assert follows == pytest.approx(next_clip, rel=2e-3)
  assert follows != pytest.approx(0.05, rel=2e-2)
  # Of fewer than the noise is made for, nothing is opened, and no vote.
  assert round_of(by_clients, 7)[1] == np.float32(0.05)
