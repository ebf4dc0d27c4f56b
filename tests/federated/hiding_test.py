"""Tests of `federated.robust.hide`, and of the rounds that rely on it."""

import collections
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax import defences
from fps_jax.federated.robust import hide as hiding
from fps_jax.sharing.codec import levels_of
from tests.helpers import small
from tests.helpers.guarded_rounds import IDEAL, guarded_config
from tests.helpers.references import federated as reference


def hide(weights: Any, min_contributors: int) -> list[int]:
  hidden_C = hiding.hide(jnp.asarray(weights, jnp.uint32), min_contributors)
  return np.asarray(hidden_C).tolist()


@pytest.mark.parametrize('least', [1, 2, 3, 4])
def test_hidden_weights_are_those_of_the_reference(least: int):
  """All weights up to 5 of five clients, and what is promised of each."""
  all_weights = np.array(list(itertools.product(range(6), repeat=5)))
  compiled = jax.jit(jax.vmap(lambda one: hiding.hide(one, least)))
  hidden = np.asarray(compiled(np.uint32(all_weights))).tolist()
  for before, after in zip(all_weights.tolist(), hidden, strict=True):
    assert after == reference.hide(before, least)
    assert all(new <= old for new, old in zip(after, before, strict=True))
    of_weight = collections.defaultdict(set)
    for old, new in zip(before, after, strict=True):
      of_weight[old].add(new)
    assert all(len(new) == 1 for new in of_weight.values())
    num_before = sum(weight > 0 for weight in before)
    num_after = sum(weight > 0 for weight in after)
    if num_before < least:
      assert after == before
      continue
    assert num_before - num_after < least <= num_after
    counts = collections.Counter(weight for weight in after if weight)
    assert min(counts.values()) >= least
    counts_before = collections.Counter(weight for weight in before if weight)
    if min(counts_before.values()) >= least:
      assert after == before


def test_weight_beside_many_that_are_alike_gives_no_value_away():
  """What the sum leaves, divided by their weight, would be of one client."""
  weights = [2**15] * 31 + [5]
  values = np.arange(-127, 128)
  sums = 2**15 * values.sum() + 5 * values
  left = (sums + 2**14) % 2**15 - 2**14
  np.testing.assert_array_equal(left // 5, values)
  assert hide(weights, 2) == [2**15] * 31 + [0]


@pytest.mark.slow
def test_few_weights_that_are_alike_give_every_value_away():
  """So a bound on the share of one client alone would hide nobody."""
  weights = (361392, 368492, 318690)
  assert sum(weights) < 2**20
  levels = np.arange(-127, 128)
  first, second, third = (weight * levels for weight in weights)
  sums = first[:, None, None] + second[:, None] + third
  assert np.all(np.diff(np.sort(sums, axis=None)) > 0)
  assert hide(weights, 2) == [361392, 361392, 0]
  assert hide(weights, 3) == [318690] * 3


# Of FLTrust, where one client alone agrees with the root update.
_LONE = (1046965, 461, 391, 360, 396)


def _trust_one(gram_CxC, present_C, num_malicious):
  """Weighs five clients as `_LONE` does."""
  del gram_CxC, num_malicious
  weights_C = jnp.zeros(len(present_C)).at[: len(_LONE)].set(jnp.array(_LONE))
  return jnp.where(present_C, weights_C / sum(_LONE), 0.0)


def divide_by_largest_weight(min_contributors: int) -> tuple[float, float]:
  """Plays a round in which one client has nearly all of the weight.

  Returns:
    The part of this client's coordinates that the opened sum over its weight
    gives, rounded, and the part of all weight that was taken.
  """
  config = guarded_config(
    **IDEAL,
    data__num_clients=5,
    cohort__size=5,
    defence__name='trust_one',
    faults__client_dropout_probability=0.0,
    pruning__schedule='none',
    sharing__min_contributors=min_contributors,
  )
  config.perf.num_devices = 1
  simulation = small.make(config)
  state, plan = simulation.init_state(), simulation.plan(0)
  placed = simulation.put_data()
  before_D = np.asarray(state.params)
  trained = simulation.start(state, plan, placed)
  update_D = np.asarray(trained.updates_CxM)[0, : len(before_D)]
  state, metrics, _ = simulation.finish(state, plan, placed, trained)
  step = config.sharing.clip / levels_of(config.sharing.value_bits)
  # Everybody has both models, and servers the weights.
  opened_D = np.asarray(state.params) - before_D
  share = np.max(metrics.weights) / np.sum(metrics.weights)
  guess_D = np.round(opened_D / share / step)
  # The codec rounds to one of two neighbours.
  is_found_D = np.abs(guess_D - update_D / step) < 1 + 1e-3
  is_other_D = np.abs(update_D) >= 2 * step
  assert np.sum(is_other_D) > 100
  return float(np.mean(is_found_D[is_other_D])), float(metrics.capped_weight)


@pytest.mark.slow
def test_opened_sum_over_the_largest_weight_is_not_that_clients_update(
  monkeypatch,
):
  monkeypatch.setitem(defences.GRAM_RULES, 'trust_one', _trust_one)
  assert divide_by_largest_weight(min_contributors=1) == (1.0, 0)
  found, capped_weight = divide_by_largest_weight(min_contributors=2)
  assert found < 0.5
  # Two have 461, two 391, and the fifth is left with no weight.
  left = (2 * 461 + 2 * 391) / sum(_LONE)
  np.testing.assert_allclose(capped_weight, 1 - left, atol=1e-3)
