"""Tests of `fps_jax.defences.iterative` against the algorithms on updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.defences import iterative
from tests.helpers import defence_cases
from tests.helpers.references import defences as reference


def test_weights_are_those_of_weiszfelds_algorithm_on_updates():
  cases = defence_cases.make()
  # A client may lie at the centre, where rounding is all there is.
  kwargs = {'iterations': 4, 'smoothing': 0.1}
  found = defence_cases.weigh(iterative.geometric_median, cases, **kwargs)
  expected = functools.partial(reference.geometric_median, **kwargs)
  defence_cases.check_weights(found, cases, expected, 1e-3)


def test_weights_are_those_of_centred_clipping_on_updates():
  cases = defence_cases.make()
  kwargs = {'iterations': 3, 'radius_factor': 0.7}
  found = defence_cases.weigh(iterative.centred_clipping, cases, **kwargs)
  expected = functools.partial(reference.centred_clipping, **kwargs)
  defence_cases.check_weights(found, cases, expected, 1e-3)


def test_geometric_median_of_a_majority_at_one_point_is_that_point():
  updates = np.float32([[1, 2], [1, 2], [1, 2], [50, 0], [0, -70]])
  median = functools.partial(
    iterative.geometric_median, iterations=30, smoothing=1e-6
  )
  weigh, everyone = jax.jit(median), np.ones(5, bool)
  weights = weigh(updates @ updates.T, everyone, 0)
  np.testing.assert_allclose(weights @ updates, [1, 2], atol=1e-2)
  # All at zero: nothing is divided by it.
  weights = weigh(np.zeros((5, 5), np.float32), everyone, 0)
  np.testing.assert_allclose(weights, 5 * [0.2], rtol=1e-6)


def test_a_wide_radius_clips_nothing():
  updates = np.float32([[1, 0], [0, 3], [2, 2]])
  clip = functools.partial(
    iterative.centred_clipping, iterations=2, radius_factor=99
  )
  weights = jax.jit(clip)(updates @ updates.T, np.ones(3, bool), 0)
  np.testing.assert_allclose(weights, 3 * [1 / 3], rtol=1e-5)


@pytest.mark.parametrize('iterations', [0, -1, 2.0])
def test_iterations_out_of_range_raise(iterations):
  with pytest.raises(ValueError, match=f'iterations={iterations} must be a wh'):
    iterative.geometric_median(
      jnp.eye(3), jnp.ones(3, bool), 0, iterations=iterations, smoothing=0.1
    )
  with pytest.raises(ValueError, match=f'iterations={iterations} must be a wh'):
    iterative.centred_clipping(
      jnp.eye(3), jnp.ones(3, bool), 0, iterations=iterations, radius_factor=1
    )


@pytest.mark.parametrize('value', [0, -0.1, float('inf'), float('nan'), 'a'])
def test_numbers_that_are_not_positive_raise(value):
  with pytest.raises(ValueError, match=f'smoothing={value!r} must be above 0'):
    iterative.geometric_median(
      jnp.eye(3), jnp.ones(3, bool), 0, iterations=1, smoothing=value
    )
  with pytest.raises(
    ValueError, match=f'radius_factor={value!r} must be above 0'
  ):
    iterative.centred_clipping(
      jnp.eye(3), jnp.ones(3, bool), 0, iterations=1, radius_factor=value
    )
