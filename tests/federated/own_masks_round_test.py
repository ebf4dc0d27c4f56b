"""Whole rounds in which every client chooses what it sends."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.pruning import selection
from tests.helpers import small

pytestmark = pytest.mark.slow


def own_config(mask: str, scheme: str = 'none'):
  return small.make_config(
    pruning__schedule='constant', pruning__mask=mask, sharing__scheme=scheme
  )


def run_rounds(config, num_rounds: int):
  """Returns the states after each round, the first one included, as NumPy."""
  simulation = small.make(config)
  state = simulation.init_state()
  states = [read(state)]
  for r in range(num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    states.append(read(state))
  return states, simulation


def read(state):
  """Returns parameters and residuals, which the next round will donate."""
  residuals = None if state.residuals is None else np.array(state.residuals)
  return np.array(state.params), residuals


@functools.cache
def make_plain():
  """Returns a simulation of FedAvg, compiled once however many tests use it."""
  config = small.make_config(pruning__schedule='none', sharing__scheme='none')
  return small.make(config)


def unpruned_deltas(params: np.ndarray, r: int) -> np.ndarray:
  """Returns every client's whole update, trained alone, [clients, D]."""
  plain = make_plain()
  deltas = []
  for client in range(8):
    plan = plain.plan(r)
    row = int(np.flatnonzero(plan.cohort.client_ids == client)[0])
    counts = np.zeros_like(plan.cohort.num_examples)
    counts[row] = plan.cohort.num_examples[row]
    plan.cohort.num_examples[:] = counts
    state = plain.init_state()
    state = type(state)(
      round=jnp.int32(r),
      params=jnp.asarray(params),
      remembered=None,
      residuals=None,
      optimizer_state=state.optimizer_state,
    )
    after, _, _ = small.step(plain, state, plan)
    deltas.append(np.asarray(after.params) - params)
  return np.array(deltas)


@pytest.mark.parametrize('execution', ['sequential', 'vmap'])
@pytest.mark.parametrize('mask', ['local', 'top_k'])
def test_sum_is_that_of_what_each_client_sends(mask, execution):
  config = own_config(mask)
  config.perf.execution = execution
  config.perf.chunk_size = 3
  states, simulation = run_rounds(config, 2)
  residuals = np.zeros((8, len(states[0][0])), np.float32)
  counts = simulation.planner.plan(0).num_examples
  clients = simulation.planner.plan(0).client_ids
  weight = np.zeros(8)
  weight[clients[clients >= 0]] = counts[clients >= 0]
  for r, ((before, _), (after, left)) in enumerate(itertools.pairwise(states)):
    count = simulation.pruning_plans[r].keep_count
    total = np.zeros(len(before))
    for client, delta in enumerate(unpruned_deltas(before, r)):
      if mask == 'local':
        exempt = np.zeros(len(before), bool)
        exempt[:16] = exempt[-170:] = True
        sent = selection.select_local(before, delta, count, exempt)
      else:
        sent, residuals[client] = selection.select_top_k(
          delta, residuals[client], count
        )
      total += weight[client] * np.asarray(sent, np.float64)
    # Where two entries are almost equal, rounding may choose the other one.
    wrong = np.abs(after - before - total / weight.sum()) > 1e-5
    assert wrong.mean() < 0.01
    if mask == 'top_k':
      assert np.mean(np.abs(left - residuals) > 1e-5) < 0.01
      residuals = left


def test_clients_that_do_not_report_keep_what_they_have_not_sent():
  config = own_config('top_k')
  config.cohort.size = 3
  states, simulation = run_rounds(config, 3)
  for r, ((_, before), (_, after)) in enumerate(itertools.pairwise(states)):
    taking_part = simulation.planner.draw(r).client_ids
    changed = np.flatnonzero(np.any(before != after, axis=1))
    assert set(changed.tolist()) == set(taking_part.tolist())


@pytest.mark.parametrize('mask', ['local', 'top_k'])
def test_own_masks_cost_more_than_a_shared_one(mask):
  _, rows = small.run(own_config(mask))
  _, shared = small.run(own_config('shared'))
  for row, other in zip(rows, shared, strict=True):
    assert row['sparsity'] == 0 < other['sparsity']
    assert row['uplink_bytes_per_client'] > other['uplink_bytes_per_client']
    assert row['downlink_bytes_per_client'] > other['downlink_bytes_per_client']


@pytest.mark.thorough
@small.full_compilation()
def test_chunk_size_changes_no_residual():
  runs = []
  for chunk_size in (1, 3):
    # Sums in the field: exact in any order.
    config = own_config('top_k', 'ideal')
    config.perf.chunk_size = chunk_size
    runs.append(run_rounds(config, 2)[0][-1])
  for one, other in zip(*runs, strict=True):
    np.testing.assert_array_equal(one, other)


def test_nothing_counts_as_sent_in_a_sum_that_is_not_opened():
  config = own_config('top_k', 'ideal')
  config.cohort.size = 2
  config.sharing.min_contributors = 3
  states, _ = run_rounds(config, 1)
  for before, after in zip(*states, strict=True):
    np.testing.assert_array_equal(after, before)


def test_training_is_that_of_the_whole_model():
  config = own_config('top_k')
  config.profiles.distribution = 'same'
  config.profiles.compute_saved = 1.0
  whole = small.make(config).accounts.clock.work(0)[0].flops_per_example
  config.pruning.mask = 'shared'
  pruned = small.make(config)
  kept = pruned.pruning_plans[0].keep_count / pruned.accounts.num_params
  assert pruned.accounts.clock.work(0)[0].flops_per_example == pytest.approx(
    whole * kept
  )
