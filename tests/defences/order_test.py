"""Tests of `fps_jax.defences.order` against sorting what is present."""

import itertools

import jax
import numpy as np

from fps_jax.defences import order

VALUES = np.array(list(itertools.product([0.0, 1, 2], repeat=4)), np.float32)


def test_ranks_are_those_of_a_stable_sort():
  found = jax.jit(order.ranks)(VALUES)
  for ranks, values in zip(np.asarray(found), VALUES, strict=True):
    expected = np.argsort(np.argsort(values, kind='stable'))
    np.testing.assert_array_equal(ranks, expected)


def test_median_is_that_of_those_present():
  median = jax.jit(order.median)
  for size in range(1, 5):
    padded = np.full((4, len(VALUES)), np.inf, np.float32)
    padded[4 - size :] = VALUES.T[:size]
    np.testing.assert_array_equal(
      median(padded, size), np.median(VALUES.T[:size], axis=0)
    )
  largest = np.float32([3e38, 3e38])
  np.testing.assert_array_equal(median(largest, 2), np.float32(3e38))


def test_count_is_at_least_one():
  for pattern in itertools.product([False, True], repeat=3):
    assert order.count(np.array(pattern)) == max(sum(pattern), 1)
