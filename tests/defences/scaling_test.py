"""Tests of `fps_jax.defences.scaling` against norms of the updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.defences import scaling
from tests.helpers import defence_cases
from tests.helpers.references import defences as reference

MAX_SCALE = 10.0
fltrust = jax.jit(functools.partial(scaling.fltrust, max_scale=MAX_SCALE))


def test_mean_weighs_those_present_alike():
  cases = defence_cases.make()
  found = defence_cases.weigh(scaling.mean, cases)
  defence_cases.check_weights(found, cases, reference.mean, 1e-7)


@pytest.mark.parametrize('factor', [0.5, 1.0, 3])
def test_no_weighted_norm_is_above_the_factor_times_the_median(factor):
  cases = defence_cases.make()
  found = defence_cases.weigh(scaling.norm_bound, cases, factor=factor)
  expected = functools.partial(reference.norm_bound, factor=factor)
  defence_cases.check_weights(found, cases, expected, 1e-6)


def test_fltrust_weighs_by_the_cosine_with_the_root():
  cases = defence_cases.make()
  # Of those with small integers, some roots and clients are zero.
  roots = np.roll(cases.updates[:, 0], 1, axis=0)
  grams = []
  for updates, present, root in zip(
    cases.updates, cases.present, roots, strict=True
  ):
    rows = np.where(present[:, None], updates, 0)
    rows = np.concatenate([rows, root[None]])
    grams.append(rows @ rows.T)
  found = jax.jit(jax.vmap(fltrust))(
    np.array(grams), cases.present, cases.num_malicious
  )
  nothing_trusted = 0
  for weights, updates, present, root in zip(
    np.asarray(found), cases.updates, cases.present, roots, strict=True
  ):
    expected = np.zeros(defence_cases.NUM_CLIENTS)
    expected[present] = reference.fltrust(
      np.float64(updates[present]), 0, np.float64(root), MAX_SCALE
    )
    nothing_trusted += not expected.any()
    np.testing.assert_allclose(weights, expected, atol=1e-5, rtol=1e-5)
  assert nothing_trusted > 1


def test_fltrust_gives_every_trusted_update_the_roots_norm():
  rows = np.float32([[3, 4], [-1, 0], [0, 0], [30, 40], [6, 8]])
  weights = fltrust(rows @ rows.T, jnp.ones(4, bool), 0)
  np.testing.assert_allclose(weights, [1, 0, 0, 0.1], rtol=1e-6)
  np.testing.assert_allclose(weights @ rows[:-1], rows[-1], rtol=1e-6)


def test_fltrust_scales_no_update_up_by_more_than_the_bound():
  rows = np.float32([[1e-3, 0], [0.5, 0], [0.1, 0], [2, 0]])
  weights = fltrust(rows @ rows.T, jnp.ones(3, bool), 0)
  np.testing.assert_allclose(weights * 3, [10, 4, 10], rtol=1e-6)


def test_fltrust_of_a_norm_that_rounds_to_zero_is_finite():
  rows = np.float32([[1e-25, 0], [1, 0], [2, 0]])
  weights = fltrust(rows @ rows.T, jnp.ones(2, bool), 0)
  np.testing.assert_array_equal(weights, [0, 2])


def test_a_length_is_scaled_to_the_bound_and_zero_is_not():
  lengths = jnp.float32([0, 1, 2, 8])
  assert scaling.scale_to(lengths, jnp.float32(2)).tolist() == [1, 1, 1, 0.25]
  assert scaling.scale_to(lengths, jnp.float32(0)).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize('factor', [0, -1, float('inf'), None])
def test_factor_out_of_range_raises(factor):
  with pytest.raises(ValueError, match=f'max_scale={factor} must be above 0'):
    scaling.fltrust(jnp.eye(4), jnp.ones(3, bool), 0, max_scale=factor)
  with pytest.raises(ValueError, match=f'factor={factor} must be above 0'):
    scaling.norm_bound(jnp.eye(3), jnp.ones(3, bool), 0, factor=factor)
