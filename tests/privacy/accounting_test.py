"""Epsilon is that of dp-accounting, called by hand."""

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import rdp

from fps_jax.privacy import accounting

DELTA = 1e-5
SETTINGS = [
  # neighbours, cohort, clients, noise multiplier, rounds
  ('replace_one', 100, 1000, 1.0, 40),
  ('replace_one', 10, 1000, 0.8, 100),
  ('replace_one', 100, 100, 20.0, 20),
  ('zero_out', 100, 100, 10.0, 20),
  ('zero_out', 5, 50, 4.0, 7),
]


def by_hand(neighbours, event, count):
  relations = dp_accounting.NeighboringRelation
  relation = relations.REPLACE_ONE
  if neighbours == 'zero_out':
    relation = relations.REPLACE_SPECIAL
  accountant = rdp.RdpAccountant(neighboring_relation=relation)
  for _ in range(count):
    accountant.compose(event)
  return accountant.get_epsilon(DELTA)


@pytest.mark.parametrize('setting', SETTINGS)
def test_epsilon_is_that_of_dp_accounting_called_by_hand(setting):
  neighbours, cohort_size, num_clients, noise, count = setting
  ledger = accounting.Ledger(
    accounting.gaussian_event(noise, neighbours, cohort_size, num_clients),
    neighbours,
    DELTA,
    noise,
  )
  if neighbours == 'replace_one':
    # One contribution for another of its length: twice as far.
    event = dp_accounting.SampledWithoutReplacementDpEvent(
      num_clients, cohort_size, dp_accounting.GaussianDpEvent(noise / 2)
    )
    if cohort_size == num_clients:
      event = dp_accounting.GaussianDpEvent(noise / 2)
  else:
    event = dp_accounting.GaussianDpEvent(noise)
  for rounds in (1, 2, count):
    # Composed in one go, as otherwise five settings take a minute.
    composed = dp_accounting.SelfComposedDpEvent(event, rounds)
    expected = by_hand(neighbours, composed, 1)
    assert ledger.epsilon(rounds) == pytest.approx(expected, rel=1e-12)
  assert ledger.epsilon(0) == 0


@pytest.mark.parametrize('setting', SETTINGS[2:])
def test_calibrated_noise_spends_what_it_may_and_hardly_less(setting):
  neighbours, cohort_size, num_clients, _, count = setting

  def make_event(noise):
    return accounting.gaussian_event(
      noise, neighbours, cohort_size, num_clients
    )

  noise = accounting.calibrate(make_event, neighbours, 3.0, DELTA, count)
  ledger = accounting.Ledger(make_event(noise), neighbours, DELTA, noise)
  assert 2.99 < ledger.epsilon(count) <= 3


def test_half_of_the_noise_hides_that_a_client_contributes_nothing():
  replaced, left_out = (
    accounting.Ledger(
      accounting.gaussian_event(noise, neighbours, 9, 9),
      neighbours,
      DELTA,
      noise,
    ).epsilon(5)
    for neighbours, noise in (('replace_one', 8.0), ('zero_out', 4.0))
  )
  assert replaced == pytest.approx(left_out, rel=1e-12)


def test_sum_of_discrete_gaussians_has_its_correction():
  """P. Kairouz et al., proposition 14, by hand; it vanishes as noise grows."""
  longest, num_noisy, num_values = 20.0, 10, 1000

  def divergence(deviation, order):
    tau = 10 * sum(
      math.exp(-2 * math.pi**2 * deviation**2 * k / (k + 1))
      for k in range(1, num_noisy)
    )
    gaussian = order * longest**2 / (2 * num_noisy * deviation**2)
    return gaussian + tau * num_values

  for deviation in (0.8, 2.0, 9.0):
    event = accounting.discrete_event(
      deviation, num_noisy, longest, num_values, 'zero_out'
    )
    accountant = rdp.RdpAccountant(
      neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_SPECIAL
    )
    accountant.compose(event)
    np.testing.assert_allclose(
      accountant.rdp,
      [divergence(deviation, order) for order in accountant.orders],
      rtol=1e-12,
    )
    plain = dp_accounting.GaussianDpEvent(num_noisy**0.5 * deviation / longest)
    with_it, without = (by_hand('zero_out', each, 1) for each in (event, plain))
    assert with_it >= without
    assert (with_it > 1.01 * without) == (deviation < 1)


def test_epsilon_that_no_noise_can_give_is_refused():
  with pytest.raises(ValueError, match='no noise multiplier of at least'):
    accounting.calibrate(
      lambda noise: accounting.gaussian_event(noise, 'zero_out', 1, 1),
      'zero_out',
      1e9,
      DELTA,
      1,
    )


def test_package_that_counts_is_asked_for(monkeypatch):
  monkeypatch.setattr(
    'fps_jax.core.extras.importlib.util.find_spec', lambda name: None
  )
  ledger = accounting.Ledger(
    dp_accounting.GaussianDpEvent(1.0), 'zero_out', DELTA, 1.0
  )
  with pytest.raises(ValueError, match=r"pip install 'fps_jax\[privacy\]'"):
    ledger.epsilon(1)
