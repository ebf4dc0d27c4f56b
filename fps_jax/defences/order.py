"""Counts, smallest values and medians over as many clients as are present."""

import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array


def count(present_C: Array) -> Array:
  """Returns how many are True, at least 1: int32 [].

  One where there is none, so that nothing is divided by zero.

  Raises:
    ValueError: if the array is of another type or shape.
  """
  arrays.check('present_C', present_C, bool, ('C',))
  return jnp.maximum(jnp.sum(present_C, dtype=jnp.int32), 1)


def ranks(values: Array) -> Array:
  """Returns the place of each value in ascending order, from 0 on.

  Guarantee: of equal values that of lower index comes first.

  Args:
    values: float32 [..., C], not NaN.

  Returns:
    int32 [..., C].

  Raises:
    ValueError: if the values are of another type.
  """
  arrays.check('values', values, jnp.float32, (..., 'C'))
  # Comparing all pairs is faster for 100 values, but takes C times the memory.
  order = jnp.argsort(values, stable=True)
  return jnp.argsort(order, stable=True).astype(jnp.int32)


def median(values: Array, num_present: Array | int) -> Array:
  """Returns the median along the first axis, of two middle ones their mean.

  Args:
    values: float32 [C, ...]; infinite for the absent.
    num_present: int32 [], how many are not absent, at least 1; may be traced.

  Raises:
    ValueError: if the values are of another type, or more or less are present.
  """
  arrays.check('values', values, jnp.float32, ('C', ...))
  arrays.check_integer('num_present', num_present, 1, len(values))
  ordered = jnp.sort(values, axis=0)
  # Halved first: a sum of two could be infinite.
  return ordered[(num_present - 1) // 2] / 2 + ordered[num_present // 2] / 2
