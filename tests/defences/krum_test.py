"""Tests of `fps_jax.defences.krum` against loops over the updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.defences import krum
from tests.helpers import defence_cases
from tests.helpers.references import defences as reference

RULES = ['krum', 'multi_krum']
choose_one, choose = jax.jit(krum.krum), jax.jit(krum.multi_krum)


@pytest.mark.parametrize('name', RULES)
def test_weights_are_those_of_the_updates_distances(name):
  cases = defence_cases.make()
  found = defence_cases.weigh(getattr(krum, name), cases)
  defence_cases.check_weights(found, cases, getattr(reference, name), 1e-6)


def test_of_equal_scores_the_lowest_index_is_chosen():
  present = np.arange(7) > 0
  same = np.ones((7, 7), np.float32)
  assert choose_one(same, present, 1).tolist() == [0, 1, 0, 0, 0, 0, 0]
  assert choose(same, present, 4).tolist() == [0, 0.5, 0.5, 0, 0, 0, 0]


def test_at_the_bound_the_malicious_are_not_chosen():
  # 2f + 2 < n with f = 2: clients 0 and 1 stand close together, far away.
  updates = np.float32([[9, 9], [9, 9], [0, 1], [1, 0], [1, 1], [0, 0], [0, 1]])
  products, present = updates @ updates.T, np.ones(7, bool)
  assert choose_one(products, present, 2)[:2].tolist() == [0, 0]
  expected = np.float32([0, 0, 0.2, 0.2, 0.2, 0.2, 0.2])
  np.testing.assert_array_equal(choose(products, present, 2), expected)


def test_scores_count_one_neighbour_at_least_and_none_of_whoever_is_alone():
  distances = jnp.float32([[0, 1, 4], [1, 0, 9], [4, 9, 0]])
  everyone = jnp.ones(3, bool)
  for f in (0, 1, 5):
    assert krum.scores(distances, everyone, f).tolist() == [1, 1, 4]
  alone = jnp.array([False, False, True])
  assert krum.scores(distances, alone, 0).tolist() == [jnp.inf, jnp.inf, 0]
