"""Counts, smallest values and medians over as many clients as are present."""

import jax.numpy as jnp

from fps_jax.types import Array


def count(present_C: Array) -> Array:
  """Returns how many are True, at least 1: int32 [].

  One where there is none, so that nothing is divided by zero.
  """
  return jnp.maximum(jnp.sum(present_C, dtype=jnp.int32), 1)


def smallest(values: Array, size: Array | int) -> Array:
  """Returns the mask of the `size` smallest values along the last axis.

  Guarantee: of equal values those of lower index come first.

  Args:
    values: float32 [..., C]; infinite for the absent.
    size: int32 [], may be traced.

  Returns:
    bool [..., C].
  """
  ranks = jnp.argsort(jnp.argsort(values, axis=-1), axis=-1)
  return ranks < size


def median(values: Array, num_present: Array | int) -> Array:
  """Returns the median along the first axis, of two middle ones their mean.

  Args:
    values: float32 [C, ...]; infinite for the absent.
    num_present: int32 [], how many are not absent, at least 1; may be traced.
  """
  ordered = jnp.sort(values, axis=0)
  # Halved first: a sum of two could be infinite.
  return ordered[(num_present - 1) // 2] / 2 + ordered[num_present // 2] / 2
