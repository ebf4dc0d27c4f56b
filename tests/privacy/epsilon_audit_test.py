"""Guesses bound epsilon from below, and refute what is not true."""

import math

import numpy as np
import pytest
from scipy import stats

from fps_jax.privacy import audit


def test_pure_bound_is_that_of_randomised_response():
  """Without delta: the largest epsilon under which so many are unlikely."""
  for num_guesses, num_right in ((50, 50), (50, 40), (200, 150)):
    bound = audit.lower_bound(1000, num_guesses, num_right, 0.0)
    right = 1 / (1 + math.exp(-bound))
    chance = stats.binom.sf(num_right - 1, num_guesses, right)
    assert chance == pytest.approx(0.05, rel=1e-6)


def test_delta_lowers_the_bound_and_right_guesses_raise_it():
  exact = audit.lower_bound(200, 100, 90, 0.0)
  little = audit.lower_bound(200, 100, 90, 1e-5)
  much = audit.lower_bound(200, 100, 90, 1e-3)
  assert exact > little > much > 0
  assert little < audit.lower_bound(200, 100, 95, 1e-5)
  assert audit.lower_bound(200, 100, 50, 1e-5) == 0
  assert audit.lower_bound(200, 0, 0, 1e-5) == 0


@pytest.mark.slow
def test_bound_holds_for_what_is_as_private_as_it_says():
  """Randomised response of epsilon 1 is refuted in no more than 5 % of runs."""
  generator = np.random.default_rng(0)
  is_right = generator.random((400, 100)) < 1 / (1 + math.exp(-1))
  bounds = [
    audit.lower_bound(100, 100, int(each.sum()), 0.0) for each in is_right
  ]
  assert 0 < np.mean(np.array(bounds) > 1) <= 0.05
  # It is no bound of nothing, either.
  assert np.mean(bounds) > 0.5


def test_scores_in_the_middle_are_passed():
  scores = np.array([5.0, -5.0, 0.1, -0.1, 4.0, -4.0])
  is_in = np.array([True, False, False, True, True, True])
  assert audit.count_right(scores, is_in, 2) == 2
  assert audit.count_right(scores, is_in, 4) == 3
  assert audit.count_right(scores, is_in, 6) == 3
  with pytest.raises(ValueError, match='num_guesses=3 must be even'):
    audit.count_right(scores, is_in, 3)
  with pytest.raises(ValueError, match='num_right=3 must be in'):
    audit.lower_bound(10, 2, 3, 0.0)
