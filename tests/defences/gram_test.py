"""Tests of `fps_jax.defences.gram` against the vectors themselves."""

import jax
import numpy as np
import pytest

from fps_jax.defences import gram
from tests.helpers import defence_cases

leave_out = jax.jit(gram.leave_out)
VECTORS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@pytest.mark.parametrize('with_root', [False, True])
def test_left_out_rows_are_zero_and_the_rest_symmetric(with_root):
  num_clients = 5 - with_root
  products = VECTORS @ VECTORS.T
  products[2, 3] = np.nextafter(products[3, 2], np.float32(9))
  present = np.arange(num_clients) != 1
  garbage = products.copy()
  garbage[1], garbage[:, 1] = np.nan, np.inf
  found, still = leave_out(garbage, present)
  is_in = np.arange(5) != 1
  np.testing.assert_array_equal(still, present)
  np.testing.assert_array_equal(found, found.T)
  np.testing.assert_allclose(
    found, np.where(is_in[:, None] & is_in, products, 0), rtol=1e-6
  )


@pytest.mark.parametrize('square', [np.nan, np.inf, 2.0**101])
def test_a_norm_that_cannot_be_compared_is_left_out(square):
  products = VECTORS @ VECTORS.T
  products[0, 0] = square
  found, present = leave_out(products, np.ones(5, bool))
  assert present.tolist() == [False, True, True, True, True]
  assert not found[0].any() and not found[:, 0].any()
  # The root, too: then all inner products with it are 0.
  products = products[::-1, ::-1]
  found, present = leave_out(products, np.ones(4, bool))
  assert present.all()
  assert not found[4].any() and not found[:, 4].any()


def test_the_largest_norm_that_is_not_left_out_keeps_distances_finite():
  rows = np.float32([[2**50, 0], [-(2**50), 0], [1, 1]])
  found, present = leave_out(rows @ rows.T, np.ones(3, bool))
  assert present.all()
  distances = np.asarray(jax.jit(gram.squared_distances)(found))
  assert distances[0, 1] == 2.0**102


def test_distances_are_those_of_the_vectors():
  cases = defence_cases.make()
  to_all = jax.jit(gram.squared_distances)
  to_centre = jax.jit(gram.distances_to_centre)
  for vectors in cases.updates[-20:]:
    products = vectors @ vectors.T
    gaps = vectors[:, None] - vectors
    np.testing.assert_array_equal(to_all(products), (gaps**2).sum(axis=2))
    weights = np.float32(np.arange(len(vectors)) / 10)
    expected = np.linalg.norm(vectors - weights @ vectors, axis=1)
    np.testing.assert_allclose(
      to_centre(products, weights), expected, atol=1e-3
    )


@pytest.mark.parametrize('with_root', [False, True])
def test_mixed_inner_products_are_those_of_the_mixed_vectors(with_root):
  num_clients = 5 - with_root
  mixing = np.random.default_rng(1).random((num_clients, num_clients))
  mixing = np.float32(mixing)
  mixed = np.concatenate(
    [mixing @ VECTORS[:num_clients], VECTORS[num_clients:]]
  )
  found = jax.jit(gram.mix)(VECTORS @ VECTORS.T, mixing)
  np.testing.assert_allclose(found, mixed @ mixed.T, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(found, found.T)
