"""Tests of `fps_jax.attacks.mean_shift`, against NumPy."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.attacks import knowledge, mean_shift
from tests.helpers.cohorts import run_every
from tests.helpers.references import attacks as reference


def test_alie_equals_the_reference():
  for honest, own, sent, num_present in run_every('alie'):
    expected = reference.alie(honest.astype(float), num_present, len(own))
    np.testing.assert_allclose(
      sent, np.tile(expected, (len(own), 1)), rtol=1e-5, atol=1e-6
    )


def test_alie_with_given_deviations_is_that_many_below_the_mean():
  for honest, own, sent, _ in run_every('alie', deviations=1.5):
    honest = honest.astype(float)
    expected = honest.mean(axis=0) - 1.5 * honest.std(axis=0)
    np.testing.assert_allclose(
      sent, np.tile(expected, (len(own), 1)), rtol=1e-5, atol=1e-6
    )


@jax.jit
def compute_deviations(num_present: jax.Array, num_malicious: jax.Array):
  clients = jnp.arange(50)
  present, malicious = clients < num_present, clients < num_malicious
  known = knowledge.know(jnp.zeros((50, 1)), malicious, present)
  return mean_shift.largest_deviations(known)


def deviations_of(num_present: int, num_malicious: int) -> float:
  return float(compute_deviations(num_present, num_malicious))


@pytest.mark.parametrize(
  ('num_present', 'num_malicious', 'probability'),
  # The paper's example is the first: two supporters among 26 honest clients.
  [(50, 24, 24 / 26), (25, 5, 12 / 20), (10, 2, 1 / 2), (10, 1, 4 / 9)],
)
def test_alie_deviations_are_the_papers_quantile(
  num_present: int, num_malicious: int, probability: float
):
  expected = statistics.NormalDist().inv_cdf(probability)
  actual = deviations_of(num_present, num_malicious)
  assert actual == pytest.approx(expected, abs=1e-6)


def test_alie_deviations_are_finite_with_few_honest_clients():
  for num_present in range(1, 9):
    deviations = [deviations_of(num_present, m) for m in range(num_present)]
    assert np.isfinite(deviations).all()
  # One honest client; then a majority of malicious ones among eight.
  assert deviations_of(5, 4) == 0
  quantile = statistics.NormalDist().inv_cdf(1 - 1 / 6)
  assert deviations_of(8, 5) == pytest.approx(quantile, abs=1e-6)


def test_ipm_sends_the_mean_turned_around():
  for honest, own, sent, _ in run_every('ipm'):
    expected = -1.1 * honest.mean(axis=0, dtype=float)
    np.testing.assert_allclose(
      sent, np.tile(expected, (len(own), 1)), rtol=1e-5, atol=1e-6
    )


def test_ipm_turns_the_mean_around_above_the_honest_over_the_malicious():
  for epsilon in (0.9, 1.1):
    for honest, own, sent, _ in run_every('ipm', epsilon=epsilon):
      if len(honest) == len(own) and not np.array_equal(honest, own):
        everyone = np.concatenate([honest, sent]).mean(axis=0, dtype=float)
        product = everyone @ honest.mean(axis=0, dtype=float)
        assert (product < 0) == (epsilon > 1)
