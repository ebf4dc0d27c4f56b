"""Whole rounds in which clients train a part of what is not pruned."""

import itertools
from typing import Any

import numpy as np
import pytest

from fps_jax.config.message_bytes import count_bytes
from fps_jax.config.validate import validate
from fps_jax.sharing.messages import clear
from tests.helpers import small
from tests.helpers.cases import thorough

pytestmark = pytest.mark.slow
# A model that is not pruned, and one that is.
SCHEDULES = ('none', 'constant')


def config_of(schedule: str = 'constant', **overrides: Any):
  usual = {
    'sharing__scheme': 'none',
    'num_rounds': 3,
    'pruning__sparsity': 0.5,
    'pruning__scope': 'erk',
    'pruning__server': 'dense',
    'pruning__trained_fraction': 0.3,
  }
  return small.make_config(pruning__schedule=schedule, **{**usual, **overrides})


def trained_in(config, seed: int = 0) -> list[np.ndarray]:
  """Returns where each round changed what the central server remembers."""
  simulation = small.make(config, seed)
  state = simulation.init_state()
  models = []
  for r in range(config.num_rounds + 1):
    kept_D = state.params if state.remembered is None else state.remembered
    models.append(np.array(kept_D))
    if r < config.num_rounds:
      state, _, _ = small.step(simulation, state, simulation.plan(r))
  return [one != other for one, other in itertools.pairwise(models)]


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_what_is_not_trained_stays_as_it_was(schedule: str):
  config = config_of(schedule, server__optimizer='momentum')
  simulation = small.make(config)
  exempt_D = simulation.round.method.exempt_D
  count = int(simulation.pruning_plans[0].keep_count)
  assert count < simulation.pruning_plans[0].received_counts[-1]
  for changed_D in trained_in(config):
    # Pixels that are 0 in all images train no weight.
    assert 0.5 * count < changed_D.sum() <= count
    # Units that are never active train no bias.
    assert np.mean(changed_D[exempt_D]) > 0.8


@pytest.mark.parametrize('server', ['dense', thorough('sparse')])
def test_part_is_of_what_is_kept_and_the_rest_of_it_is_received(server: str):
  config = config_of(pruning__server=server, num_rounds=2)
  simulation = small.make(config)
  state = simulation.init_state()
  for r in range(config.num_rounds):
    before = np.array(state.params)
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    after = np.array(state.params)
    plan = simulation.pruning_plans[r]
    num_kept = int(plan.received_counts[-1])
    assert 0.9 * num_kept < np.count_nonzero(after) <= num_kept
    untrained = (after != 0) & (after == before)
    assert untrained.sum() > 0.8 * (num_kept - plan.keep_count)


def test_zeros_of_a_model_that_is_not_pruned_are_no_emptied_layers():
  for schedule, is_pruned in (('none', False), ('constant', True)):
    accounts = small.make(config_of(schedule)).accounts
    zeros_D = np.zeros(accounts.num_params, np.float32)
    assert bool(accounts.emptied_layers(zeros_D)) == is_pruned


def test_part_is_another_in_each_round_and_for_each_seed():
  config = config_of('none')
  exempt_D = small.make(config).round.method.exempt_D
  first, second, third = trained_in(config)
  again, *_ = trained_in(config)
  np.testing.assert_array_equal(first, again)
  of_seed_1, *_ = trained_in(config, seed=1)
  pairs = ((first, second), (second, third), (first, third), (first, of_seed_1))
  for one, other in pairs:
    both = (one & other)[~exempt_D].sum()
    # Of two independent draws about a part of each is in both.
    assert 0 < both < 0.6 * one[~exempt_D].sum()


@pytest.mark.parametrize(
  ('scope', 'server'),
  [('erk', 'momentum'), thorough('global', 'sgd'), thorough('erk', 'fedadam')],
)
def test_part_of_all_that_is_kept_is_a_round_without_parts(
  scope: str, server: str
):
  """And so the optimiser forgets what is pruned, though it may come back."""
  config = config_of(
    pruning__scope=scope,
    pruning__trained_fraction=0.6,
    server__optimizer=server,
    num_rounds=5,
  )
  found, rows = small.run(config)
  expected, others = small.run(
    small.change(config, pruning__trained_fraction=1.0)
  )
  np.testing.assert_array_equal(found, expected)
  for row, other in zip(rows, others, strict=True):
    for name in ('uplink_bytes_per_client', 'downlink_bytes_per_client'):
      assert row[name] == other[name]


@pytest.mark.parametrize('defence', ['none', thorough('fltrust')])
def test_parts_are_shared_to_the_bits_of_ideal_sums(defence: str):
  config = config_of(defence__name=defence)
  ideal, ideal_rows = small.run(small.change(config, sharing__scheme='ideal'))
  shared, shared_rows = small.run(
    small.change(config, sharing__scheme='shamir')
  )
  np.testing.assert_array_equal(ideal, shared)
  for one, other in zip(ideal_rows, shared_rows, strict=True):
    for name in ('uplink_bytes_per_client', 'server_to_central_bytes'):
      assert one[name] == other[name] > 0


@pytest.mark.parametrize(
  ('schedule', 'sparsity'), [('none', 0), ('constant', 0.5)]
)
def test_clients_receive_what_is_kept_and_send_a_part(
  schedule: str, sparsity: float
):
  config = config_of(schedule, num_rounds=1)
  num_params = small.make(config).accounts.num_params
  _, (row,) = small.run(config)
  num_kept = num_params - round(sparsity * num_params)
  assert row['sparsity'] == pytest.approx(sparsity, abs=1e-4)
  assert row['kept_parameters'] == num_params - round(0.7 * num_params)
  received = clear.model_message_bytes(num_params, num_kept)
  assert row['downlink_bytes_per_client'] == received
  _, (alone,) = small.run(
    config_of(
      num_rounds=1, pruning__sparsity=0.7, pruning__trained_fraction=1.0
    )
  )
  name = 'uplink_bytes_per_client'
  assert row[name] == alone[name]
  foreseen = count_bytes(config, num_params, sparsity)
  assert foreseen.downlink_per_client == received
  assert foreseen.uplink_per_client == row[name]


def test_bytes_of_a_sparsity_that_nothing_has_are_refused():
  with pytest.raises(ValueError, match=r'sparsity=0\.5 .*prunes nothing'):
    count_bytes(config_of('none'), num_params=1000, sparsity=0.5)


def test_optimiser_of_the_server_remembers_what_it_did_not_train():
  """Momentum of a weight waits until a round trains it again."""
  config = config_of('none', server__optimizer='momentum')
  simulation = small.make(config)
  state = simulation.init_state()
  kept = [np.array(state.optimizer_state[0].trace)]
  changed = trained_in(config)
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    kept.append(np.array(state.optimizer_state[0].trace))
  for r, changed_D in enumerate(changed):
    np.testing.assert_array_equal(kept[r + 1] != kept[r], changed_D)
  # Of weights that the first round trained, some were not trained since.
  assert np.any(changed[0] & ~changed[1] & ~changed[2])


@pytest.mark.parametrize('optimizer', ['sgd', thorough('adamw')])
def test_weight_decay_moves_nothing_that_is_not_trained(optimizer: str):
  decay = {'client__weight_decay': 0.1} if optimizer == 'sgd' else {}
  config = config_of('none', client__optimizer=optimizer, **decay)
  count = int(small.make(config).pruning_plans[0].keep_count)
  for changed_D in trained_in(config):
    assert changed_D.sum() <= count


@pytest.mark.parametrize(
  'changes',
  [
    {'mask': 'local', 'scope': 'global', 'server': 'sparse'},
    {'regrow_every': 2, 'server': 'sparse', 'scope': 'global'},
    {'tiers': (0.5, 1.0)},
    {'score': 'saliency', 'server': 'sparse', 'begin_round': 1},
  ],
)
def test_what_does_not_go_with_parts_is_refused_by_its_name(changes):
  name = next(iter(changes))
  config = config_of(**{f'pruning__{key}': changes[key] for key in changes})
  with pytest.raises(
    ValueError, match=rf'trained_fraction=0.3 with pruning\.{name}='
  ):
    validate(config)


def test_part_smaller_than_what_is_exempt_is_refused():
  config = config_of(pruning__trained_fraction=1e-3)
  with pytest.raises(
    ValueError, match=r'trained_fraction=0\.001 .*exempt.* raise it above '
  ):
    small.make(config)
