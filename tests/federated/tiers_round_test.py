"""Whole rounds of clients that train different parts of the model."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fps_jax import data, models
from fps_jax.federated import layout
from fps_jax.federated.client import scale_pixels
from fps_jax.pruning.pruner import Pruner
from tests.helpers import small
from tests.helpers.cases import thorough
from tests.helpers.references import federated as reference

pytestmark = pytest.mark.slow

TIERS = (0.2, 0.5, 1.0)


def tiered_config(scheme: str = 'ideal'):
  return small.make_config(
    sharing__scheme=scheme,
    pruning__schedule='constant',
    pruning__tiers=TIERS,
    profiles__distribution='lognormal',
    profiles__deadline_seconds=1e6,
  )


def with_tiers(simulation, tiers, round_number: int = 0):
  """Returns the plan of a round whose clients have the tiers told."""
  plan = simulation.plan(round_number)
  present = plan.cohort.client_ids >= 0
  chosen = np.zeros(len(present), np.int32)
  chosen[present] = tiers
  cohort = dataclasses.replace(plan.cohort, tiers=chosen)
  return dataclasses.replace(plan, cohort=cohort)


def run_round_of(simulation, tiers):
  """Returns the parameters before and after a round."""
  state = simulation.init_state()
  before = np.asarray(state.params)
  plan = with_tiers(simulation, tiers)
  state, _, _ = small.step(simulation, state, plan)
  return before, np.asarray(state.params)


def run_round(config, tiers):
  """Returns the parameters before and after a round, and the simulation."""
  simulation = small.make(config)
  return *run_round_of(simulation, tiers), simulation


@functools.cache
def make_of_min_contributors(optimizer: str = 'sgd', **sharing):
  """Returns a simulation, compiled once however many tests use it."""
  config = tiered_config()
  config.server.optimizer = optimizer
  config.sharing.update(min_contributors=3, **sharing)
  return small.make(config)


def masks_of(simulation, params):
  """Returns the mask of each tier."""
  pruner = simulation_pruner()
  plan = simulation.pruning_plans[0]
  return [
    np.asarray(pruner.keep(jnp.asarray(params), plan, tier))
    for tier in range(len(TIERS))
  ]


def template_of():
  dataset = data.load('fake')
  model = models.make('mlp', dataset.num_classes, widths=(16,))
  image = jnp.zeros((1, *dataset.image_shape))
  return model, model.init(jax.random.key(0), image)['params'], dataset


def simulation_pruner() -> Pruner:
  _, template, _ = template_of()
  return Pruner.of(template, small.make_config().pruning.exempt)


@pytest.mark.parametrize('execution', ['sequential', 'vmap'])
@pytest.mark.parametrize(
  'tiers', [[0, 1, 2, 0, 1, 2, 0, 1], [2, 0, 0, 0, 0, 0, 0, 1]]
)
def test_each_coordinate_is_divided_by_the_weight_that_trained_it(
  execution, tiers
):
  config = tiered_config('none')
  config.perf.execution = execution
  config.perf.chunk_size = 3
  # The loop compiles for every size of a client's last batch.
  config.client.batch_size = 4
  simulation = small.make(config)
  model, template, dataset = template_of()
  unravel = ravel_pytree(template)[1]
  state = simulation.init_state()
  expected = unravel(state.params)
  for r in range(2):
    plan = with_tiers(simulation, tiers, r)
    expected = reference.run_round(
      lambda params, images: model.apply(
        {'params': params}, scale_pixels(images, 0.0, 1.0)
      ),
      expected,
      plan.cohort,
      dataset.train_inputs,
      dataset.train_targets,
      config.client.learning_rate,
      reference.tier_masks(
        expected,
        simulation.pruning_plans[r].keep_counts_T,
        Pruner.of(template, config.pruning.exempt).exempt_mask,
      ),
    )
    state, _, _ = small.step(simulation, state, plan)
  np.testing.assert_allclose(
    state.params, ravel_pytree(expected)[0], rtol=1e-4, atol=1e-6
  )


def assert_shared_tiers_open_to_the_ideal_ones(config):
  tiers = [0, 1, 2, 0, 1, 2, 0, 1]
  config.sharing.scheme = 'ideal'
  _, ideal, _ = run_round(config, tiers)
  config.sharing.scheme = 'shamir'
  before, shared, _ = run_round(config, tiers)
  np.testing.assert_array_equal(shared, ideal)
  assert np.any(shared != before)


def test_shared_tiers_open_to_the_bits_of_the_ideal_ones():
  assert_shared_tiers_open_to_the_ideal_ones(tiered_config())


# With the second, a count is at an even place: packing moves what follows.
@pytest.mark.parametrize(
  ('audit', 'smallest'), [thorough('clients', 0.2), ('servers', 0.205)]
)
def test_packed_tiers_open_to_the_bits_of_the_ideal_ones(audit, smallest):
  config = tiered_config()
  config.pruning.tiers = (smallest, 0.5, 1.0)
  config.sharing.secrets_per_polynomial = 2
  config.sharing.audit = audit
  assert_shared_tiers_open_to_the_ideal_ones(config)


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
@pytest.mark.parametrize(
  ('tiers', 'num_open'),
  [([0, 0, 0, 0, 1, 1, 1, 2], 2), ([0] * 7 + [2], 1), ([2] * 3 + [0] * 5, 3)],
)
def test_band_below_min_contributors_stays_as_it_is(optimizer, tiers, num_open):
  simulation = make_of_min_contributors(optimizer)
  before, after = run_round_of(simulation, tiers)
  *_, mask = masks = masks_of(simulation, before)
  opened = masks[num_open - 1]
  kept = mask & ~opened
  np.testing.assert_array_equal(after[kept], before[kept])
  np.testing.assert_array_equal(after[~mask], 0)
  assert np.mean(after[opened] != before[opened]) > 0.5


@pytest.mark.parametrize(
  ('tiers', 'num_open'),
  [([0, 0, 0, 0, 1, 1, 2, 2], 2), ([0] * 6 + [2] * 2, 1), ([2] * 8, 3)],
)
@pytest.mark.parametrize('num_secrets', [1, 2])
def test_band_below_min_contributors_is_never_opened(
  tiers, num_open, num_secrets
):
  simulation = make_of_min_contributors(
    scheme='shamir', secrets_per_polynomial=num_secrets
  )
  plan = with_tiers(simulation, tiers)
  placed = simulation.put_data()
  collected = simulation.start(simulation.init_state(), plan, placed)
  counts = plan.pruning.keep_counts_T
  end = layout.counts_at(counts, num_secrets)[num_open - 1]
  columns = layout.num_columns(end, num_secrets)
  # What leaves the servers, and what the audit combines: all that is opened.
  held = np.asarray(collected.sums.held)
  assert np.mean(held[:, :columns] != 0) > 0.9
  np.testing.assert_array_equal(held[:, columns:], 0)
  auditor = simulation.protocol.auditor
  coefficients = auditor.coefficients(
    plan.keys.coins_Qx8, 0, -(-columns // 16) * 16
  )[:, :columns]
  checks = auditor.combine(jnp.asarray(held[:, :columns]), coefficients)
  np.testing.assert_array_equal(collected.checks_QxN, checks)


def test_lone_client_is_not_audited_either():
  config = small.make_config(
    sharing__min_contributors=8,
    faults__client_dropout_probability=0.3,
    faults__lying_servers=(1,),
  )
  _, rows = small.run(config)
  for row in rows:
    assert (row['wrong_servers'] == [1]) == (row['clients_reporting'] == 8)
    assert (row['server_to_central_bytes'] > 0) == (
      row['clients_reporting'] == 8
    )


def test_inconsistent_clients_are_of_no_tier():
  config = tiered_config('shamir')
  config.sharing.audit = 'clients'
  config.faults.inconsistent_clients = (0,)
  _, rows = small.run(config)
  for row in rows:
    assert row['inconsistent_clients'] == [0]
    assert row['clients_per_tier'] == [0, 0, 7]
    assert row['clients_reporting'] == 7


def test_lower_tiers_change_nothing_beyond_their_band():
  config = tiered_config('shamir')
  before, after, simulation = run_round(config, [0] * 8)
  lowest, _, whole = masks_of(simulation, before)
  beyond = whole & ~lowest
  np.testing.assert_array_equal(after[beyond], before[beyond])
  assert np.any(after[lowest] != before[lowest])


@pytest.mark.parametrize(
  'pruning',
  [
    {},
    {'scope': 'erk'},
    {'server': 'dense'},
    {'server': 'dense', 'scope': 'erk'},
  ],
  ids=str,
)
def test_clients_of_the_last_tier_alone_are_a_round_without_tiers(pruning):
  config = tiered_config('none')
  config.pruning.update(pruning)
  _, with_all, _ = run_round(config, [2] * 8)
  config.pruning.tiers = (1.0,)
  _, without, _ = run_round(config, [0] * 8)
  np.testing.assert_allclose(with_all, without, rtol=1e-6, atol=1e-7)


def test_deadline_decides_tiers_and_who_takes_part():
  config = tiered_config()
  simulation = small.make(config)
  examples = simulation.planner.examples_trained(np.arange(8))
  seconds = simulation.accounts.clock.seconds(0, np.arange(8), examples)
  # Half of the clients finish the smallest tier.
  config.profiles.deadline_seconds = float(np.median(seconds[0]))
  simulation = small.make(config)
  draw = simulation.planner.draw(0)
  expected = simulation.accounts.clock.choose_tiers(0, np.arange(8), examples)
  assert draw.num_too_slow == np.sum(expected < 0) == 4
  np.testing.assert_array_equal(draw.tiers, expected[draw.client_ids])
  _, rows = small.run(config)
  assert rows[0]['clients_too_slow'] == 4
  assert rows[0]['clients_reporting'] == sum(rows[0]['clients_per_tier']) == 4
  taken = seconds[draw.tiers, draw.client_ids].max()
  assert rows[0]['simulated_seconds'] == taken
  assert taken <= config.profiles.deadline_seconds


def test_tiers_send_and_receive_fewer_bytes():
  config = tiered_config('shamir')
  simulation = small.make(config)
  plan = simulation.pruning_plans[0]
  each = [
    simulation.accounts.count_bytes(plan, [tier] * 4, [tier] * 4)
    for tier in range(3)
  ]
  assert each[0].uplink_per_client < each[1].uplink_per_client
  assert each[1].uplink_per_client < each[2].uplink_per_client
  assert each[0].downlink_per_client < each[2].downlink_per_client
  mixed = simulation.accounts.count_bytes(plan, [0, 0, 1, 2], [0, 0, 1, 2])
  uplinks = [each[tier].uplink_per_client for tier in (0, 0, 1, 2)]
  assert mixed.uplink_per_client == np.mean(uplinks)
  # Two contributors are needed, and the second largest tier is 1.
  assert mixed.server_to_central == each[1].server_to_central
  assert simulation.accounts.count_bytes(plan, [2], [2]).server_to_central == 0
