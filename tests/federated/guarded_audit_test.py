"""Tests of audits in rounds that a defence or an attack is part of."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.helpers import small
from tests.helpers.cases import thorough
from tests.helpers.guarded_rounds import (
  ATTACKED,
  KRUM,
  ROUNDS,
  guarded_config,
  run,
)

pytestmark = pytest.mark.slow


def test_server_that_lies_about_sketches_is_named_and_changes_nothing():
  honest, _ = run(**ATTACKED, **KRUM)
  lied, rows = run(**ATTACKED, **KRUM, faults__lying_servers=(2,))
  np.testing.assert_array_equal(lied, honest)
  assert [row['wrong_servers'] for row in rows] == [[2]] * ROUNDS


@pytest.mark.parametrize(
  ('num_servers', 'threshold', 'secrets', 'lying'),
  [
    thorough(5, 3, 1, ()),
    thorough(5, 3, 1, (2,)),
    (5, 4, 2, ()),
  ],
)
def test_inconsistent_client_has_no_weight_and_no_server_blamed(
  num_servers: int, threshold: int, secrets: int, lying: tuple[int, ...]
):
  """Its wrong share is server 5's."""
  _, rows = run(
    **KRUM,
    sharing__num_servers=num_servers,
    sharing__threshold=threshold,
    sharing__secrets_per_polynomial=secrets,
    sharing__audit='clients',
    faults__client_dropout_probability=0.0,
    faults__inconsistent_clients=(4,),
    faults__lying_servers=lying,
  )
  assert [row['inconsistent_clients'] for row in rows] == [[4]] * ROUNDS
  assert [row['wrong_servers'] for row in rows] == [list(lying)] * ROUNDS
  assert [row['clients_reporting'] for row in rows] == [7] * ROUNDS


def test_coins_of_sketches_are_not_those_that_clients_are_checked_with():
  """Nor those of sums: what they audit is fixed later."""
  simulation = small.make(guarded_config(**KRUM, sharing__audit='clients'))
  plan, placed = simulation.plan(0), simulation.put_data()
  state = simulation.init_state()
  trained = simulation.start(state, plan, placed)
  _, (examine, arguments), (audit, _), *_ = simulation.programs(
    state, plan, placed
  )
  accepted_C = np.ones(plan.cohort.client_ids.shape, bool)

  def checks(**changed: Any) -> tuple[np.ndarray, np.ndarray]:
    other = dataclasses.replace(plan, keys=plan.keys._replace(**changed))
    examined = examine(arguments[0]._replace(plan=other), trained)
    of_sketches = audit(arguments[0]._replace(plan=other), examined, accepted_C)
    return np.asarray(examined.checks_CxQxN), np.asarray(of_sketches)

  of_clients, of_sketches = checks()
  others = simulation.plan(1).keys
  changed, same = checks(client_coins_Qx8=others.client_coins_Qx8)
  assert np.any(changed != of_clients)
  np.testing.assert_array_equal(same, of_sketches)
  same, changed = checks(sketch_coins_Qx8=others.sketch_coins_Qx8)
  np.testing.assert_array_equal(same, of_clients)
  assert np.any(changed != of_sketches)
  for same, expected in zip(
    checks(coins_Qx8=others.coins_Qx8), (of_clients, of_sketches), strict=True
  ):
    np.testing.assert_array_equal(same, expected)


@pytest.mark.parametrize('settings', [KRUM, ATTACKED])
def test_clients_are_checked_once(settings: dict[str, Any]):
  """The words that blind a check hide one alone."""
  simulation = small.make(guarded_config(**settings, sharing__audit='clients'))
  state = simulation.init_state()
  *_, (_, (_, collected, *_)) = simulation.programs(
    state, simulation.plan(0), simulation.put_data()
  )
  is_checked_before = settings is KRUM
  assert (collected.sums.checks_CxQxN is None) == is_checked_before
  # Servers are audited all the same.
  assert collected.checks_QxN is not None
