"""Tests of whole rounds with lying servers and inconsistent clients."""

import dataclasses

import numpy as np
import pytest
from ml_collections import ConfigDict

from fps_jax.federated.collection import AuditFindings
from fps_jax.runs import round_metrics, train
from fps_jax.runs.retries import Outcome
from fps_jax.sharing.audit import SharingError
from tests.helpers import small
from tests.helpers.cases import thorough

pytestmark = pytest.mark.slow


def shared_config(
  num_servers: int, threshold: int, secrets: int, **settings
) -> ConfigDict:
  config = small.make_config(
    sharing__num_servers=num_servers,
    sharing__threshold=threshold,
    sharing__secrets_per_polynomial=secrets,
  )
  for name, value in settings.items():
    section = config.sharing if name in config.sharing else config.faults
    section[name] = value
  return config


@pytest.fixture(scope='module')
def honest_params() -> np.ndarray:
  """The final model whatever the scheme: shares cancel."""
  config = small.make_config(sharing__scheme='ideal')
  return small.run(config)[0]


@pytest.mark.parametrize(
  ('numbers', 'prime'),
  [
    ((5, 4, 2), 2**22 - 3),
    thorough((7, 5, 2), 2**31 - 1),
    thorough((10, 8, 4), 2**19 - 1),
  ],
)
def test_packed_sharing_gives_the_model_of_the_ideal_sum(
  numbers, prime, honest_params
):
  params, _ = small.run(shared_config(*numbers, prime=prime))
  np.testing.assert_array_equal(params, honest_params)


def test_entropy_does_not_change_the_model(honest_params):
  params, _ = small.run(shared_config(5, 3, 1, entropy='os'))
  np.testing.assert_array_equal(params, honest_params)


@pytest.mark.thorough
def test_entropy_does_not_change_a_model_that_lies_enter(honest_params):
  params = [
    small.run(
      shared_config(5, 3, 1, audit='none', lying_servers=(1,), entropy=entropy)
    )[0]
    for entropy in ('seed', 'os', 'os')
  ]
  assert (params[0] != honest_params).any()
  np.testing.assert_array_equal(params[1], params[0])
  np.testing.assert_array_equal(params[2], params[0])


def test_seeds_change_the_bytes_and_nothing_else(honest_params):
  params, rows = small.run(shared_config(5, 3, 1))
  unseeded, more = small.run(shared_config(5, 3, 1, seeded=False))
  np.testing.assert_array_equal(params, honest_params)
  np.testing.assert_array_equal(unseeded, honest_params)
  for row, other in zip(rows, more, strict=True):
    saved = other['uplink_bytes_per_client'] - row['uplink_bytes_per_client']
    word_bytes = (31 * (row['kept_parameters'] + 1) + 7) // 8
    assert saved == 2 * (word_bytes - 32)


def test_one_liar_of_7_with_threshold_4_is_named_and_changes_nothing(
  honest_params,
):
  params, rows = small.run(shared_config(7, 4, 1, lying_servers=(2,)))
  assert [row['wrong_servers'] for row in rows] == [[2], [2], [2]]
  np.testing.assert_array_equal(params, honest_params)


@pytest.mark.parametrize(
  ('numbers', 'lying', 'missing'),
  [((5, 3, 1), (5,), ()), ((7, 4, 1), (1,), (3,)), ((7, 3, 2), (2, 6), ())],
)
def test_liars_within_the_bound_are_named_and_change_nothing(
  numbers, lying, missing, honest_params
):
  config = shared_config(*numbers, lying_servers=lying, missing_servers=missing)
  params, rows = small.run(config)
  assert all(row['wrong_servers'] == list(lying) for row in rows)
  spare = numbers[0] - numbers[1] - len(missing)
  assert bounds(rows) == [(spare // 2, spare)] * 3
  np.testing.assert_array_equal(params, honest_params)


@pytest.mark.parametrize(
  ('numbers', 'lying', 'missing', 'present'),
  [
    ((5, 4, 2), (3,), (), r'\(1, 2, 3, 4, 5\)'),
    ((7, 4, 1), (1,), (2, 3), r'\(1, 4, 5, 6, 7\)'),
    ((7, 4, 1), (1, 2), (), r'\(1, 2, 3, 4, 5, 6, 7\)'),
  ],
)
def test_liars_beyond_the_bound_stop_the_round_with_the_servers_named(
  numbers, lying, missing, present
):
  config = shared_config(*numbers, lying_servers=lying, missing_servers=missing)
  rows = []
  with pytest.raises(SharingError, match=f'round 1: .* servers {present} '):
    train.train(small.make(config), 3, 1, rows.append)
  assert rows == []


def bounds(rows) -> list[tuple[int, int]]:
  return [
    (row['wrong_servers_correctable'], row['wrong_servers_detectable'])
    for row in rows
  ]


@pytest.mark.parametrize(
  ('numbers', 'settings', 'expected'),
  [
    ((5, 3, 1), {}, (1, 2)),
    ((5, 4, 2), {'missing_servers': (2,)}, (0, 0)),
    ((7, 3, 2), {'missing_servers': (5,), 'lying_servers': (1,)}, (1, 3)),
    ((5, 3, 1), {'missing_servers': (1, 2), 'lying_servers': (3,)}, (0, 0)),
    ((5, 3, 1), {'audit': 'none', 'lying_servers': (3,)}, (0, 0)),
    ((5, 3, 1), {'reveal': 'updates', 'audit': 'none'}, (0, 0)),
    ((5, 3, 1), {'scheme': 'ideal'}, (None, None)),
    ((5, 3, 1), {'scheme': 'none'}, (None, None)),
  ],
)
def test_metrics_have_the_wrong_sums_that_a_round_could_bear(
  numbers, settings, expected
):
  simulation = small.make(shared_config(*numbers, **settings))
  outcome = Outcome(simulation.plan(0), metrics=None, report=AuditFindings())
  assert round_metrics.audit_bounds(simulation, outcome) == expected


def test_wrong_sums_that_can_be_borne_are_of_the_attempt_that_was_opened():
  config = shared_config(
    7,
    3,
    1,
    server_dropout_probability=0.55,
    on_failed_round='retry',
    max_retries=1,
  )
  config.num_rounds = 12
  _, rows = small.run(config)
  for row in rows:
    spare = 4 - len(row['missing_servers'])
    is_skipped = row['clients_reporting'] == 0
    expected = (None, None) if is_skipped else (spare // 2, spare)
    assert bounds([row]) == [expected]
  assert {row['failed_attempts'] for row in rows} == {0, 1, 2}
  assert len(set(bounds(rows))) > 2


@pytest.mark.parametrize('audit', ['servers', 'none'])
def test_without_an_audit_a_liar_changes_the_model(audit, honest_params):
  # Without it the three lowest servers open; without spare ones, no audit is.
  missing = (4, 5) if audit == 'servers' else ()
  config = shared_config(
    5, 3, 1, audit=audit, lying_servers=(1,), missing_servers=missing
  )
  params, rows = small.run(config)
  assert bounds(rows) == [(0, 0)] * 3
  assert not np.array_equal(params, honest_params)
  assert [row['wrong_servers'] for row in rows] == [[], [], []]


def test_inconsistent_client_is_named_and_left_out():
  config = shared_config(5, 3, 1, audit='clients', inconsistent_clients=(3,))
  # Vmapped, a client can be left out of a plan without moving the others.
  config.perf.execution = 'vmap'
  params, rows = small.run(config)
  assert [row['inconsistent_clients'] for row in rows] == [[3], [3], [3]]
  assert [row['clients_reporting'] for row in rows] == [7, 7, 7]
  ideal = small.make_config(sharing__scheme='ideal', perf__execution='vmap')
  simulation = small.make(ideal)

  class Without(type(simulation.planner)):
    """Plans without client 3."""

    def plan(self, round_number, attempt=0):
      plan = super().plan(round_number, attempt)
      ids = np.where(np.asarray(plan.client_ids) == 3, -1, plan.client_ids)
      return dataclasses.replace(plan, client_ids=ids)

  # Past its being frozen.
  object.__setattr__(simulation.planner, '__class__', Without)
  without, _ = small.run_simulation(simulation, ideal)
  np.testing.assert_array_equal(params, without)


@pytest.mark.parametrize('numbers', [thorough((5, 3, 1)), (5, 4, 2)])
def test_inconsistent_clients_are_named_up_to_half_of_a_round(numbers):
  half = (0, 2, 3, 7)
  config = shared_config(*numbers, audit='clients', inconsistent_clients=half)
  _, rows = small.run(config)
  assert [row['inconsistent_clients'] for row in rows] == [list(half)] * 3
  assert [row['wrong_servers'] for row in rows] == [[]] * 3
  assert [row['clients_reporting'] for row in rows] == [4] * 3


def test_more_than_half_have_an_honest_server_named_and_change_nothing(
  honest_params,
):
  most = (0, 2, 3, 6, 7)
  config = shared_config(5, 3, 1, audit='clients', inconsistent_clients=most)
  params, rows = small.run(config)
  assert [row['inconsistent_clients'] for row in rows] == [[]] * 3
  # The one that each of them dealt a wrong share.
  assert [row['wrong_servers'] for row in rows] == [[5]] * 3
  np.testing.assert_array_equal(params, honest_params)


@pytest.mark.thorough
def test_round_that_an_inconsistent_client_stops_names_the_audit_of_clients():
  config = shared_config(5, 4, 2, inconsistent_clients=(3,))
  with pytest.raises(SharingError, match=r"set sharing\.audit='clients'$"):
    small.run(config)
  config.sharing.audit = 'clients'
  _, rows = small.run(config)
  assert [row['inconsistent_clients'] for row in rows] == [[3]] * 3


def test_coins_of_sums_are_not_those_that_clients_are_checked_with():
  """Or servers would know them when they add up the accepted clients."""
  simulation = small.make(shared_config(5, 3, 1, audit='clients'))
  plan, placed = simulation.plan(0), simulation.put_data()

  def checks(**changed) -> tuple[np.ndarray, np.ndarray]:
    other = dataclasses.replace(plan, keys=plan.keys._replace(**changed))
    collected = simulation.start(simulation.init_state(), other, placed)
    return (
      np.asarray(collected.sums.checks_CxQxN),
      np.asarray(collected.checks_QxN),
    )

  of_clients, of_sums = checks()
  others = simulation.plan(1).keys
  changed, same = checks(client_coins_Qx8=others.client_coins_Qx8)
  assert np.all(np.any(changed != of_clients, axis=(1, 2)))
  np.testing.assert_array_equal(same, of_sums)
  same, changed = checks(coins_Qx8=others.coins_Qx8)
  np.testing.assert_array_equal(same, of_clients)
  assert np.any(changed != of_sums)


def test_checking_honest_clients_changes_nothing(honest_params):
  for numbers in ((5, 3, 1), (5, 4, 2)):
    params, rows = small.run(shared_config(*numbers, audit='clients'))
    np.testing.assert_array_equal(params, honest_params)
    assert all(row['inconsistent_clients'] == [] for row in rows)
    assert all(row['clients_reporting'] == 8 for row in rows)
