"""Whole rounds in which pruned weights come back."""

import itertools

import numpy as np
import pytest

from tests.helpers import small

pytestmark = pytest.mark.slow


def regrowing_config(scheme: str = 'none'):
  return small.make_config(
    sharing__scheme=scheme,
    num_rounds=6,
    pruning__schedule='constant',
    pruning__regrow_every=2,
    pruning__regrow_end_round=5,
  )


def states_of(config) -> list[np.ndarray]:
  """Returns the parameters after each round."""
  simulation = small.make(config)
  state = simulation.init_state()
  states = []
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    states.append(np.asarray(state.params))
  return states


@pytest.fixture(scope='module')
def ideal_run():
  return small.run(regrowing_config('ideal'))


@pytest.mark.parametrize('scope', ['global', 'layer_normalised'])
def test_mask_changes_in_rounds_of_regrowth_alone(scope: str):
  config = regrowing_config()
  config.pruning.scope = scope
  simulation = small.make(config)
  masks = [state != 0 for state in states_of(config)]
  changed = [bool((a != b).any()) for a, b in itertools.pairwise(masks)]
  # Rounds 2 and 4, of those from 1 on.
  assert changed == [False, True, False, True, False]
  for before, after in ((1, 2), (3, 4)):
    plan = simulation.pruning_plans[after]
    came = int((masks[after] & ~masks[before]).sum())
    assert came == plan.num_regrown > 0


def test_candidates_are_counted_in_the_bytes(ideal_run):
  _, rows = ideal_run
  plans = small.make(regrowing_config('ideal')).pruning_plans
  for row, plan in zip(rows, plans, strict=True):
    assert row['kept_parameters'] == plan.keep_count
  kept = [plan.keep_count - plan.num_candidates for plan in plans]
  assert len(set(kept)) == 1
  sent = [row['uplink_bytes_per_client'] for row in rows]
  assert sent[2] > sent[1] == sent[3]


def test_sparsity_is_that_of_the_model_after_regrowth(ideal_run):
  _, rows = ideal_run
  simulation = small.make(regrowing_config('ideal'))
  expected = [
    1 - np.mean(state != 0) for state in states_of(regrowing_config())
  ]
  assert any(plan.num_candidates for plan in simulation.pruning_plans)
  # Of a candidate that did not move at all nothing is left.
  np.testing.assert_allclose(
    [row['sparsity'] for row in rows],
    expected,
    atol=2 / simulation.accounts.num_params,
  )


def test_shared_regrowth_opens_to_the_bits_of_the_ideal_one(ideal_run):
  ideal, ideal_rows = ideal_run
  shared, shared_rows = small.run(regrowing_config('shamir'))
  np.testing.assert_array_equal(ideal, shared)
  for one, other in zip(ideal_rows, shared_rows, strict=True):
    counted = [name for name in one if 'bytes' in name]
    assert len(counted) >= 3
    assert [one[name] for name in counted] == [other[name] for name in counted]


@pytest.mark.parametrize('scheme', ['ideal', 'shamir'])
def test_regrowth_by_magnitude_is_counted_and_is_as_sparse(scheme: str):
  config = regrowing_config(scheme)
  config.num_rounds = 3  # The last of which regrows.
  config.pruning.scope = 'erk'
  config.pruning.regrow_rule = 'magnitude'
  config.pruning.candidates_per_regrown = 1e6
  config.pruning.begin_round = 1
  params, rows = small.run(config)
  unpruned, pruned, regrown = (row['uplink_bytes_per_client'] for row in rows)
  # All that is pruned is tried out: the bytes of a round that prunes nothing.
  assert regrown == unpruned > pruned
  plan = small.make(config).pruning_plans[-1]
  assert plan.keep_count == len(params)
  assert np.count_nonzero(params) == plan.keep_count - plan.num_candidates


def test_regrowth_with_all_clients_in_the_last_tier_is_that_without_tiers():
  config = regrowing_config()
  config.num_rounds = 3  # The last of which regrows.
  *_, expected = states_of(config)
  config.pruning.tiers = (0.5, 1.0)
  config.profiles.distribution = 'same'
  config.profiles.deadline_seconds = 1e6
  *_, found = states_of(config)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_round_without_clients_regrows_nothing():
  config = regrowing_config()
  simulation = small.make(config)
  state = simulation.init_state()
  for r in range(2):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
  before = np.asarray(state.params)
  plan = simulation.plan(2)
  state, _, _ = small.step(simulation, state, small.with_clients(plan, 0))
  np.testing.assert_array_equal(state.params, before)


def test_dense_server_remembers_the_last_value_of_what_is_pruned():
  config = regrowing_config()
  config.pruning.regrow_every = 0
  config.pruning.server = 'dense'
  simulation = small.make(config)
  state = simulation.init_state()
  first = np.asarray(state.params)
  num_came_back = 0
  ever_kept = np.zeros(len(first), bool)
  before = None
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    params, remembered = np.asarray(state.params), np.asarray(state.remembered)
    kept = params != 0
    ever_kept |= kept
    assert kept.sum() <= simulation.pruning_plans[r].keep_count
    np.testing.assert_array_equal(params[kept], remembered[kept])
    np.testing.assert_array_equal(remembered[~ever_kept], first[~ever_kept])
    if before is not None:
      num_came_back += int((kept & ~before).sum())
    before = kept
  assert num_came_back > 0


def test_sparse_server_brings_nothing_back():
  config = regrowing_config()
  config.pruning.regrow_every = 0
  masks = [state != 0 for state in states_of(config)]
  for before, after in itertools.pairwise(masks):
    assert not (after & ~before).any()
