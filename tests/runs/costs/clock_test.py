"""Tests of `fps_jax.runs.costs.clock`, by hand."""

import numpy as np

from fps_jax.runs.costs.clock import TOO_SLOW, Clock, Work
from fps_jax.runs.costs.profiles import Fleet, Profile

# Bits and operations per second of three clients.
FLEET = Fleet(
  Profile(
    flops_per_second=np.array([10.0, 100.0, 1.0]),
    download_bits_per_second=np.array([8.0, 80.0, 8.0]),
    upload_bits_per_second=np.array([4.0, 40.0, 0.4]),
  ),
  seed=0,
  round_sigma=0.0,
)
WORK = [Work(10, 5, 2), Work(20, 10, 2)]
CLIENTS, EXAMPLES = np.arange(3), np.array([5, 50, 1])


def clock_of(deadline_seconds: float) -> Clock:
  return Clock(FLEET, lambda round_number: WORK, deadline_seconds)


def test_seconds_are_those_of_download_training_and_upload():
  seconds = clock_of(0).seconds(0, CLIENTS, EXAMPLES)
  expected = [
    [10 + 1 + 10, 1 + 1 + 1, 10 + 2 + 100],
    [20 + 1 + 20, 2 + 1 + 2, 20 + 2 + 200],
  ]
  np.testing.assert_allclose(seconds, expected)


def test_tier_is_the_largest_one_in_time():
  tiers = clock_of(30).choose_tiers(0, CLIENTS, EXAMPLES)
  np.testing.assert_array_equal(tiers, [0, 1, TOO_SLOW])
  # In time means by the deadline, which itself is in time.
  tiers = clock_of(21).choose_tiers(0, CLIENTS, EXAMPLES)
  np.testing.assert_array_equal(tiers, [0, 1, TOO_SLOW])


def test_without_deadline_everyone_has_time_for_everything():
  tiers = clock_of(0).choose_tiers(0, CLIENTS, EXAMPLES)
  np.testing.assert_array_equal(tiers, [1, 1, 1])


def test_round_takes_as_long_as_its_slowest_client():
  tiers = np.array([0, 1])
  seconds = clock_of(30).round_seconds(0, CLIENTS[:2], tiers, EXAMPLES[:2])
  assert seconds == 21.0


def test_clients_that_drop_out_are_waited_for_until_the_deadline():
  tiers = np.array([0, 1])
  seconds = clock_of(30).round_seconds(0, CLIENTS[:2], tiers, EXAMPLES[:2], 1)
  assert seconds == 30


def test_round_of_nobody_takes_until_the_deadline():
  nobody = np.zeros(0, int)
  assert clock_of(30).round_seconds(0, nobody, nobody, nobody) == 30
