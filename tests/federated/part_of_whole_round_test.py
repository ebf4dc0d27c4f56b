"""Whole rounds that prune nothing, and train a part of the model."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from fps_jax.config.sections.pruning import make_pruner
from fps_jax.config.validate import validate
from fps_jax.sharing.messages import clear
from tests.helpers import small
from tests.helpers.cases import thorough

pytestmark = pytest.mark.slow
PARTS = ('redrawn', 'random', 'magnitude')


def config_of(score: str, **overrides: Any):
  usual = {
    'sharing__scheme': 'none',
    'num_rounds': 3,
    'pruning__sparsity': 0.7,
    'pruning__scope': 'erk',
  }
  return small.make_config(
    pruning__schedule='constant',
    pruning__server='whole',
    pruning__score=score,
    **{**usual, **overrides},
  )


def trained_parts(config, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
  """Returns the first model, and where each round changed it."""
  simulation = small.make(config, seed)
  state = simulation.init_state()
  first = before = np.array(state.params)
  changed = []
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    after = np.array(state.params)
    changed.append(after != before)
    before = after
  return first, changed


@pytest.mark.parametrize('score', PARTS)
def test_what_is_not_trained_stays_as_it_was(score: str):
  config = config_of(score, server__optimizer='momentum', server__momentum=0.9)
  simulation = small.make(config)
  exempt_D = simulation.round.method.exempt_D
  first, changed = trained_parts(config)
  count = int(simulation.pruning_plans[0].keep_count)
  assert np.all(first[~exempt_D] != 0)
  for changed_D in changed:
    # Pixels that are 0 in all images train no weight.
    assert 0.5 * count < changed_D.sum() <= count
    # Units that are never active train no bias.
    assert np.mean(changed_D[exempt_D]) > 0.8


def test_part_that_is_chosen_once_is_the_same_in_all_rounds():
  config = config_of('random')
  simulation = small.make(config)
  state = simulation.init_state()
  unravel = simulation.accounts.model.unravel
  pruner = make_pruner(config, unravel(state.params))
  part = np.asarray(pruner.keep(state.scores, simulation.pruning_plans[0]))
  for changed_D in trained_parts(config)[1]:
    assert not np.any(changed_D & ~part)


def test_part_that_is_redrawn_is_another_in_each_round_and_for_each_seed():
  config = config_of('redrawn')
  exempt_D = small.make(config).round.method.exempt_D
  _, (first, second, third) = trained_parts(config)
  _, (again, *_) = trained_parts(config)
  np.testing.assert_array_equal(first, again)
  _, (of_seed_1, *_) = trained_parts(config, seed=1)
  pairs = ((first, second), (second, third), (first, third), (first, of_seed_1))
  for one, other in pairs:
    both = (one & other)[~exempt_D].sum()
    # Of two independent draws about a part of each is in both.
    assert 0 < both < 0.6 * one[~exempt_D].sum()


def test_clients_receive_all_and_send_a_part():
  config = config_of('redrawn', num_rounds=1)
  num_params = small.make(config).accounts.num_params
  _, (row,) = small.run(config)
  _, (pruned,) = small.run(
    small.make_config(
      pruning__schedule='constant',
      pruning__sparsity=0.7,
      pruning__scope='erk',
      sharing__scheme='none',
      num_rounds=1,
    )
  )
  assert row['sparsity'] == 0 < pruned['sparsity']
  for name in ('kept_parameters', 'uplink_bytes_per_client'):
    assert row[name] == pruned[name]
  whole_bytes = clear.model_message_bytes(num_params, num_params)
  assert row['downlink_bytes_per_client'] == whole_bytes
  assert pruned['downlink_bytes_per_client'] < whole_bytes


@pytest.mark.parametrize('optimizer', ['sgd', thorough('adamw')])
def test_weight_decay_moves_nothing_that_is_not_trained(optimizer: str):
  decay = {'client__weight_decay': 0.1} if optimizer == 'sgd' else {}
  config = config_of('random', client__optimizer=optimizer, **decay)
  count = int(small.make(config).pruning_plans[0].keep_count)
  _, changed = trained_parts(config)
  for changed_D in changed:
    assert changed_D.sum() <= count


@pytest.mark.thorough
def test_clients_of_a_tier_train_its_part_of_a_whole_model():
  """As all would with that part alone: the rest is not 0 for them either."""
  tiers = config_of(
    'random',
    pruning__scope='global',
    pruning__tiers=(0.5, 1.0),
    profiles__distribution='lognormal',
    profiles__deadline_seconds=1e6,
  )
  simulation = small.make(tiers)
  plan = simulation.plan(0)
  cohort = dataclasses.replace(
    plan.cohort, tiers=np.zeros_like(plan.cohort.tiers)
  )
  plan = dataclasses.replace(plan, cohort=cohort)
  found, _, _ = small.step(simulation, simulation.init_state(), plan)
  num_kept, num_params = plan.pruning.keep_counts_T[0], len(found.params)
  alone = small.make(
    config_of(
      'random',
      pruning__scope='global',
      pruning__sparsity=1 - int(num_kept) / num_params,
    )
  )
  expected, _, _ = small.step(alone, alone.init_state(), alone.plan(0))
  np.testing.assert_allclose(found.params, expected.params, atol=1e-6)


def test_regrowth_where_nothing_is_pruned_is_refused():
  with pytest.raises(ValueError, match=r"regrow_every=2.*server='whole'"):
    validate(config_of('magnitude', pruning__regrow_every=2))
