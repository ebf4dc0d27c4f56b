"""Tests of `fps_jax.runs.costs.profiles`."""

import numpy as np
import pytest

from fps_jax.config import defaults as configs
from fps_jax.runs.costs import profiles
from fps_jax.runs.costs.profiles import DISTRIBUTIONS, Fleet

ARGUMENTS = configs.default().profiles.args.to_dict()


def draw(distribution: str, seed: int = 0, round_sigma: float = 0.0) -> Fleet:
  return Fleet.draw(
    distribution, ARGUMENTS[distribution], 3000, seed, round_sigma
  )


def test_every_distribution_has_arguments():
  assert sorted(ARGUMENTS) == sorted(DISTRIBUTIONS)


def test_three_classes_have_a_third_of_the_clients_each():
  usual = draw('three_classes').usual
  values, counts = np.unique(usual.upload_bits_per_second, return_counts=True)
  np.testing.assert_array_equal(values, [1e6, 5e6, 25e6])
  np.testing.assert_array_equal(counts, [1000, 1000, 1000])
  slow = usual.upload_bits_per_second == 1e6
  np.testing.assert_array_equal(usual.flops_per_second[slow], 2e9)
  np.testing.assert_array_equal(usual.download_bits_per_second[slow], 5e6)


def test_lognormal_has_the_median_and_sigma_it_is_told():
  logs = np.log(draw('lognormal').usual.upload_bits_per_second)
  assert np.median(logs) == pytest.approx(np.log(5e6), abs=0.1)
  assert logs.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize('distribution', sorted(DISTRIBUTIONS))
def test_profile_depends_on_seed_round_and_client_alone(distribution: str):
  fleet = draw(distribution, round_sigma=0.3)
  again = draw(distribution, round_sigma=0.3)
  clients = np.array([7, 0, 2999])
  one = fleet.in_round(4, clients)
  for mine, others in zip(one, again.in_round(4, clients[::-1]), strict=True):
    np.testing.assert_array_equal(mine, others[::-1])
  other_round = fleet.in_round(5, clients)
  assert np.all(one.flops_per_second != other_round.flops_per_second)
  other_seed = draw(distribution, seed=1, round_sigma=0.3).in_round(4, clients)
  assert np.all(one.flops_per_second != other_seed.flops_per_second)


def test_without_sigma_no_round_differs():
  fleet = draw('lognormal')
  clients = np.arange(5)
  for usual, now in zip(fleet.usual, fleet.in_round(9, clients), strict=True):
    np.testing.assert_array_equal(now, usual[:5])


@pytest.mark.parametrize(
  ('distribution', 'arguments', 'sigma', 'message'),
  [
    ('normal', {}, 0.1, r"'normal' is not one of \['lognormal'"),
    ('same', {'gflops': 0.0}, 0.1, r'gflops=0.0 must be finite and above 0'),
    ('same', {'gflops': 1.0}, -0.1, r'round_sigma=-0.1 must be finite and at'),
    ('three_classes', {'gflops': (1.0, 2.0)}, 0.1, r'must be three numbers'),
  ],
)
def test_settings_out_of_range_are_refused(
  distribution, arguments, sigma, message
):
  with pytest.raises(ValueError, match=message):
    profiles.check(distribution, arguments, sigma)
