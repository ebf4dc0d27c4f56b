"""Tests of `fps_jax.models.separately`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.models.separately import separately


def double(x):
  return x + x


double_separately = separately(double)


@pytest.mark.parametrize(('is_separate', 'expected'), [(True, 1), (False, 0)])
def test_xla_leaves_it_a_call(is_separate: bool, expected: int):
  def program(x):
    x = jnp.sin(x)
    return 3 * (double_separately(x) if is_separate else double(x))

  compiled = jax.jit(program).lower(jnp.ones(4)).compile()
  assert compiled.as_text().count(' call(') == expected


def test_values_and_gradients_are_those_of_the_function():
  def total(x, function):
    return jnp.sum(function(x) ** 2)

  x = np.arange(3.0, dtype=np.float32)
  actual = jax.value_and_grad(total)(x, double_separately)
  expected = jax.value_and_grad(total)(x, double)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)
