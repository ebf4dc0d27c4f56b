"""Faults: drawn for a round, counted, survived, or the end of the run."""

import dataclasses
import itertools

import numpy as np
import pytest

from fps_jax.runs import retries
from fps_jax.runs.faults import ServerFaults
from fps_jax.sharing.audit import SharingError
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from tests.helpers import small
from tests.helpers.cases import thorough

pytestmark = pytest.mark.slow

_SCHEME = Shamir(PrimeField(2**31 - 1), num_servers=5, threshold=3)


def _config(**changes):
  return small.make_config(
    sharing__num_servers=7, sharing__threshold=4, **changes
  )


@pytest.fixture(scope='module')
def honest():
  return small.run(_config())


_FAULTY = {
  'faults__server_dropout_probability': 0.3,
  'faults__server_corruption_probability': 0.15,
  'sharing__min_answers': 5,
}


def test_servers_fail_as_often_as_their_probabilities_say():
  faults = ServerFaults(_SCHEME, 0, (2,), (4,), 0.3, 0.1)
  answers = [faults.answering(r) for r in range(1000)]
  lies = [faults.lying_in(r) for r in range(1000)]
  assert not any(2 in present for present in answers)
  assert all(4 in lying for lying in lies)
  for server in (1, 3, 5):
    assert abs(np.mean([server in x for x in answers]) - 0.7) < 0.05
    assert abs(np.mean([server in x for x in lies]) - 0.1) < 0.03
  # Another attempt is another draw, and a draw is the same whenever it is made.
  assert answers != [faults.answering(r, 1) for r in range(1000)]
  assert answers == [faults.answering(r) for r in range(1000)]


@pytest.mark.thorough
def test_faults_within_the_bounds_change_nothing(honest):
  """One of seven is missing and one lies, in every round."""
  config = _config(faults__missing_servers=(1,), faults__lying_servers=(2,))
  params, rows = small.run(config)
  np.testing.assert_array_equal(params, honest[0])
  assert [row['missing_servers'] for row in rows] == [[1]] * 3
  assert [row['wrong_servers'] for row in rows] == [[2]] * 3
  assert not any(row['failed_attempts'] for row in rows)


def test_round_that_cannot_be_completed_stops_the_run_if_told_to():
  config = _config(faults__server_dropout_probability=0.9)
  with pytest.raises(SharingError, match=r'^round 1: servers .* where 4 must'):
    small.run(config)


@pytest.mark.parametrize('policy', [thorough('skip'), 'retry'])
def test_failed_attempt_leaves_no_trace_in_the_model(policy):
  config = _config(**_FAULTY, faults__on_failed_round=policy)
  config.num_rounds = 8
  config.pruning.schedule = 'none'
  simulation = small.make(config)
  config.faults.server_dropout_probability = 0.0
  config.faults.server_corruption_probability = 0.0
  faultless = small.make(config)
  state, data = simulation.init_state(), simulation.put_data()
  before = np.asarray(state.params)
  kinds = set()
  for r in range(config.num_rounds):
    plan = simulation.plan(r)
    started = simulation.start(state, plan, data)
    state, outcome = retries.finish(simulation, r, state, plan, data, started)
    assert int(state.round) == r + 1
    after = np.asarray(state.params)
    kinds.add((bool(outcome.failed), outcome.is_skipped))
    if outcome.is_skipped:
      np.testing.assert_array_equal(after, before)
      most = 1 if policy == 'skip' else 1 + config.faults.max_retries
      assert len(outcome.failed) == len(outcome.attempts) == most
    else:
      np.testing.assert_array_equal(
        after, _without_faults(faultless, before, r, len(outcome.failed))
      )
    before = after
  expected = {(False, False), (True, policy == 'skip')}
  assert expected <= kinds


def _without_faults(honest, params, round_number, attempt):
  """Returns the model after the same attempt, where no server ever fails."""
  state = dataclasses.replace(
    honest.init_state(), params=params, round=np.int32(round_number)
  )
  plan = honest.plan(round_number, attempt)
  state, _, _ = small.step(honest, state, plan)
  return np.asarray(state.params)


def test_no_attempt_uses_the_keys_of_another():
  config = _config(
    sharing__audit='clients', faults__server_corruption_probability=0.1
  )
  simulation = small.make(config)
  plans = [simulation.plan(1, attempt) for attempt in (0, 1, 2)]
  arrays = [
    key.reshape(-1, 8)
    for plan in plans
    for key in (
      plan.keys.dealings.seeds_Zx8,
      plan.keys.dealings.blinds_Kx8,
      plan.keys.client_coins_Qx8,
      plan.keys.sketch_coins_Qx8,
      plan.keys.coins_Qx8,
      plan.keys.lies_Nx8,
    )
  ]
  keys = np.concatenate(arrays)
  assert len(np.unique(keys, axis=0)) == len(keys)
  batches = [np.asarray(plan.cohort.indices).tobytes() for plan in plans]
  assert len(set(batches)) == len(plans)
  # What defences draw on the devices, of all rounds that there may be.
  rounds = np.array([0, 1, 10**6 - 1])
  draws = np.concatenate([plan.draw_number(rounds) for plan in plans])
  assert len(np.unique(draws)) == len(draws)
  np.testing.assert_array_equal(plans[0].draw_number(rounds), rounds)


def test_skipped_round_is_one_in_which_no_client_reports():
  """Both prune as the schedule says, and nothing else."""
  skipped, rows = small.run(
    _config(
      faults__server_dropout_probability=0.999999,
      faults__on_failed_round='skip',
    )
  )
  nobody, others = small.run(
    _config(faults__client_dropout_probability=0.999999)
  )
  np.testing.assert_array_equal(skipped, nobody)
  assert [row['failed_attempts'] for row in rows] == [1] * 3
  for name in ('sparsity', 'test_accuracy', 'clients_reporting'):
    assert [row[name] for row in rows] == [row[name] for row in others]


@pytest.mark.parametrize('policy', [thorough('skip'), 'retry'])
def test_defended_round_that_fails_leaves_no_trace_in_the_model(policy):
  config = _config(
    **_FAULTY,
    faults__on_failed_round=policy,
    cohort__weighting='clients',
    defence__name='multi_krum',
    defence__num_malicious=1,
    defence__sketch_size=64,
  )
  config.num_rounds = 6
  _, rows = small.run(config)
  assert any(row['failed_attempts'] for row in rows)
  # From the third round on, all rounds keep the same parameters.
  skipped = [
    (before['test_loss'], row['test_loss'])
    for before, row in itertools.pairwise(rows[2:])
    if not row['clients_reporting']
  ]
  assert skipped or policy == 'retry'
  for before, after in skipped:
    assert after == before


def test_skipped_round_counts_its_bytes_and_nobody():
  config = _config(**_FAULTY, faults__on_failed_round='skip')
  config.faults.server_dropout_probability = 0.9
  _, rows = small.run(config)
  _, honest = small.run(_config())
  for row, other in zip(rows, honest, strict=True):
    assert row['failed_attempts'] == 1
    assert row['clients_reporting'] == 0
    assert row['train_loss'] is None
    assert len(row['missing_servers']) > 2
    for name in ('uplink_bytes_per_client', 'sparsity'):
      assert row[name] == other[name]
    assert row['server_to_central_bytes'] < other['server_to_central_bytes']


def test_retried_round_sums_the_bytes_of_its_attempts():
  config = _config(**_FAULTY, faults__on_failed_round='retry')
  config.num_rounds = 6
  _, rows = small.run(config)
  again = [
    row for row in rows if row['failed_attempts'] and row['clients_reporting']
  ]
  assert again
  honest = _config()
  honest.num_rounds = 6
  _, others = small.run(honest)
  for row, other in zip(rows, others, strict=True):
    is_skipped = not row['clients_reporting']
    attempts = row['failed_attempts'] + (not is_skipped)
    uplink = other['uplink_bytes_per_client']
    assert row['uplink_bytes_per_client'] == attempts * uplink
    # Every server that answers sends as much; four to seven do.
    each = other['server_to_central_bytes'] // 7
    num_answers, rest = divmod(row['server_to_central_bytes'], each)
    assert not rest
    assert 0 < num_answers <= 7 * attempts


def test_too_few_clients_are_drawn_again_where_rounds_are_retried():
  config = _config(
    faults__client_dropout_probability=0.85,
    faults__on_failed_round='retry',
    faults__max_retries=50,
  )
  _, rows = small.run(config)
  assert any(row['failed_attempts'] for row in rows)
  assert all(row['clients_reporting'] >= 2 for row in rows)


def test_clients_that_drop_out_are_counted():
  _, rows = small.run(_config(faults__client_dropout_probability=0.4))
  assert any(row['clients_dropped'] for row in rows)
  for row in rows:
    assert row['clients_dropped'] + row['clients_reporting'] == 8
