"""Whole rounds: against the loop, and across schemes, servers and chunks."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fps_jax import data, models
from fps_jax.federated.client import scale_pixels
from fps_jax.pruning.pruner import Pruner
from tests.helpers import small
from tests.helpers.cases import thorough
from tests.helpers.references import federated as reference

pytestmark = pytest.mark.slow


def run_ideal():
  config = small.make_config(sharing__scheme='ideal')
  return small.run(config)


@pytest.fixture(scope='module')
@small.full_compilation()
def ideal_run():
  return run_ideal()


@pytest.fixture(scope='module')
def quick_ideal_run():
  return run_ideal()


@pytest.mark.parametrize('execution', ['sequential', 'vmap'])
def test_round_equals_the_loop_over_clients_and_batches(execution):
  config = small.make_config(
    sharing__scheme='none',
    pruning__schedule='constant',
    perf__execution=execution,
    perf__chunk_size=3,
  )
  # The loop compiles for every size of a client's last batch.
  config.client.batch_size = 4
  simulation = small.make(config)
  dataset = data.load('fake')
  model = models.make('mlp', dataset.num_classes, widths=(16,))
  state = simulation.init_state()
  image = jnp.zeros((1, *dataset.image_shape))
  template = model.init(jax.random.key(0), image)['params']
  unravel = ravel_pytree(template)[1]
  expected = unravel(state.params)
  for r in range(2):
    plan = simulation.plan(r)
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


@pytest.mark.thorough
@small.full_compilation()
def test_quantised_and_ideal_give_identical_models_for_fewer_bytes(ideal_run):
  config = small.make_config(sharing__scheme='quantised')
  params, rows = small.run(config)
  np.testing.assert_array_equal(params, ideal_run[0])
  for row, ideal_row in zip(rows, ideal_run[1], strict=True):
    sent, shared = (r['uplink_bytes_per_client'] for r in (row, ideal_row))
    # A byte a value to one server, against words of 31 bits to three of five.
    assert sent < shared / 8
    assert row['server_to_central_bytes'] == 0
    assert row['clipped_fraction'] == ideal_row['clipped_fraction']


def assert_identical_for_every_surviving_subset(
  ideal_run, num_servers, threshold, reveal
):
  config = small.make_config(
    sharing__num_servers=num_servers,
    sharing__threshold=threshold,
    sharing__reveal=reveal,
  )
  simulation = small.make(config)
  servers = range(1, num_servers + 1)
  for size in range(threshold, num_servers + 1):
    for present in itertools.combinations(servers, size):
      missing = tuple(set(servers) - set(present))
      surviving = dataclasses.replace(
        simulation,
        protocol=dataclasses.replace(simulation.protocol, present=present),
        completion=simulation.completion._replace(
          server_faults=dataclasses.replace(
            simulation.completion.server_faults, missing=missing
          )
        ),
      )
      params, rows = small.run_simulation(surviving, config)
      np.testing.assert_array_equal(params, ideal_run[0])
      assert [row['test_loss'] for row in rows] == [
        row['test_loss'] for row in ideal_run[1]
      ]


@pytest.mark.thorough
@pytest.mark.parametrize('reveal', ['sum', 'updates'])
@small.full_compilation()
def test_shamir_and_ideal_give_identical_runs_for_every_surviving_subset(
  ideal_run, reveal
):
  assert_identical_for_every_surviving_subset(ideal_run, 5, 3, reveal)


@pytest.mark.parametrize('reveal', ['sum', 'updates'])
@pytest.mark.parametrize(('num_servers', 'threshold'), [(3, 2), thorough(4, 4)])
def test_other_numbers_of_servers_give_identical_runs_for_every_subset(
  quick_ideal_run, num_servers, threshold, reveal
):
  assert_identical_for_every_surviving_subset(
    quick_ideal_run, num_servers, threshold, reveal
  )


def test_missing_servers_of_the_config_change_no_result(quick_ideal_run):
  config = small.make_config(faults__missing_servers=(1, 4))
  params, _ = small.run(config)
  np.testing.assert_array_equal(params, quick_ideal_run[0])


@pytest.mark.parametrize('partition', ['iid', 'dirichlet'])
def test_secret_sharing_alone_equals_fedavg_up_to_the_codecs_rounding(
  partition,
):
  config = small.make_config(
    data__partition=partition, pruning__schedule='none', num_rounds=1
  )
  shared, rows = small.run(config)
  assert rows[0]['clipped_fraction'] == 0
  config.sharing.scheme = 'none'
  plain, _ = small.run(config)
  simulation = small.make(config)
  plan = simulation.planner.plan(0)
  weights = np.asarray(plan.num_examples) / simulation.planner.max_count
  step = config.sharing.clip / (2 ** (config.sharing.value_bits - 1) - 1)
  bound = config.cohort.size * step / weights.sum()
  difference = np.abs(shared - plain).max()
  assert 0 < difference <= bound
  # A bound that is never approached would prove little.
  assert difference > bound / 10


@pytest.mark.thorough
@small.full_compilation()
def test_chunk_size_does_not_change_a_run():
  config = small.make_config(
    data__num_clients=12, sharing__scheme='ideal', perf__execution='sequential'
  )
  runs = []
  for chunk_size in (1, 5, 100):
    config.perf.chunk_size = chunk_size
    runs.append(small.run(config))
  for params, rows in runs[1:]:
    np.testing.assert_array_equal(params, runs[0][0])
    assert rows == runs[0][1]


@pytest.mark.parametrize('scheme', ['none', 'ideal', 'shamir'])
def test_execution_changes_a_run_by_rounding_alone(scheme):
  config = small.make_config(
    sharing__scheme=scheme, num_rounds=1, perf__execution='sequential'
  )
  in_sequence, _ = small.run(config)
  config.perf.execution = 'vmap'
  vmapped, _ = small.run(config)
  step = config.sharing.clip / (2 ** (config.sharing.value_bits - 1) - 1)
  atol = 1e-6 if scheme == 'none' else step
  np.testing.assert_allclose(vmapped, in_sequence, atol=atol, rtol=0)


def test_pruned_parameters_are_exactly_zero_and_exactly_as_many():
  config = small.make_config(server__optimizer='momentum', num_rounds=4)
  params, rows = small.run(config)
  assert np.count_nonzero(params) <= rows[-1]['kept_parameters']
  zeros = params.size - rows[-1]['kept_parameters']
  assert np.sum(params == 0) >= zeros > 0
  assert rows[-1]['sparsity'] == pytest.approx(0.7, abs=1 / params.size)


def test_round_without_a_reporting_client_leaves_the_model_as_it_is():
  config = small.make_config(
    pruning__schedule='none',
    faults__client_dropout_probability=0.999999,
    server__optimizer='adam',
  )
  simulation = small.make(config)
  before = np.asarray(simulation.init_state().params)
  params, rows = small.run(config)
  np.testing.assert_array_equal(params, before)
  assert [row['clients_reporting'] for row in rows] == [0, 0, 0]
  assert rows[0]['train_loss'] is None
  assert rows[0]['clipped_fraction'] is None


def test_dropped_clients_are_as_if_never_drawn():
  config = small.make_config(faults__client_dropout_probability=0.5)
  simulation = small.make(config)
  plan = simulation.planner.plan(0)
  assert 0 < int(np.sum(np.asarray(plan.client_ids) >= 0)) < config.cohort.size
  _, rows = small.run(config)
  assert rows[0]['clients_reporting'] == int(
    np.sum(np.asarray(plan.client_ids) >= 0)
  )


def test_nothing_is_compiled_after_the_first_round():
  config = small.make_config(
    num_rounds=6,
    pruning__end_round=5,
    cohort__size=4,
    faults__client_dropout_probability=0.3,
  )
  simulation = small.make(config)
  state = simulation.init_state()
  compiled = []

  def on_duration(event: str, duration: float, **_) -> None:
    if event == '/jax/core/compile/backend_compile_duration':
      compiled.append(duration)

  jax.monitoring.register_event_duration_secs_listener(on_duration)
  try:
    counts = []
    for r in range(config.num_rounds):
      state, _, _ = small.step(simulation, state, simulation.plan(r))
      counts.append(len(compiled))
  finally:
    jax.monitoring.unregister_event_duration_listener(on_duration)
  kept = {plan.keep_count for plan in simulation.pruning_plans}
  assert len(kept) > 3
  assert counts[0] > 0
  assert len(set(counts)) == 1


def test_reveal_updates_and_sum_move_the_bytes_they_should():
  config = small.make_config(num_rounds=1)
  _, by_sum = small.run(config)
  config.sharing.reveal = 'updates'
  _, by_updates = small.run(config)
  ratio = (
    by_updates[0]['server_to_central_bytes']
    / by_sum[0]['server_to_central_bytes']
  )
  # A sum also says which clients are in it, and every server sends one.
  assert ratio == pytest.approx(config.cohort.size * 3 / 5, rel=0.02)
