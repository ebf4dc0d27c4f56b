"""Tests of `fps_jax.attacks.malicious`."""

import re

import numpy as np
import pytest

from fps_jax.attacks.malicious import choose_malicious


def test_as_many_as_the_fraction_all_different_and_ascending():
  generator = np.random.default_rng(0)
  for num_clients in range(1, 30):
    for fraction in (0.0, 0.1, 0.25, 0.5, 0.9, 0.99):
      chosen = choose_malicious(num_clients, fraction, generator)
      assert chosen.dtype == np.int32
      assert len(chosen) == round(fraction * num_clients)
      assert (np.diff(chosen) > 0).all()
      assert np.isin(chosen, np.arange(num_clients)).all()


def test_every_client_is_chosen_equally_often():
  generator = np.random.default_rng(0)
  chosen = [choose_malicious(10, 0.3, generator) for _ in range(2000)]
  counts = np.bincount(np.concatenate(chosen), minlength=10)
  # Five standard deviations of 2000 draws of probability 0.3.
  assert np.abs(counts - 600).max() < 5 * np.sqrt(2000 * 0.3 * 0.7)


def test_equal_generators_give_equal_clients():
  first, second, other = (
    choose_malicious(1000, 0.1, np.random.default_rng(seed))
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, second)
  assert not np.array_equal(first, other)


@pytest.mark.parametrize(
  ('num_clients', 'fraction', 'message'),
  [
    (10, -0.1, 'fraction=-0.1 must be in [0, 1)'),
    (10, 1.0, 'fraction=1.0 must be in [0, 1)'),
    (10, np.nan, 'fraction=nan must be in [0, 1)'),
    (0, 0.1, 'num_clients=0 must be at least 1'),
  ],
)
def test_what_is_out_of_range_raises(
  num_clients: int, fraction: float, message: str
):
  with pytest.raises(ValueError, match=re.escape(message)):
    choose_malicious(num_clients, fraction, np.random.default_rng(0))
