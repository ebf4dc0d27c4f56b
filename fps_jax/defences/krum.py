"""Krum and multi-Krum: clients whose nearest neighbours are near.

Reference: P. Blanchard, E. M. El Mhamdi, R. Guerraoui and J. Stainer, Machine
learning with adversaries: Byzantine tolerant gradient descent, NeurIPS 2017.

Every rule takes gram_CxC, float32 [C, C] as `gram.leave_out` returns it,
present_C, bool [C], and num_malicious, int32 [], f, which may be traced. It
returns float32 [C], and raises ValueError where an argument does not fit.
"""

import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.defences import gram, order


def krum(
  gram_CxC: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns weight 1 for the client with the lowest score, else 0.

  Guarantee: of equal scores the lowest index is chosen.
  """
  gram.check(gram_CxC, present_C, num_malicious)
  return _lowest_scores(gram_CxC, present_C, num_malicious, 1)


def multi_krum(
  gram_CxC: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns weight 1/(n - f) for the n - f lowest scores, else 0.

  n - f counts as 1 where it is less. Of equal scores the lowest index is chosen
  first.
  """
  gram.check(gram_CxC, present_C, num_malicious)
  size = jnp.maximum(order.count(present_C) - num_malicious, 1)
  return _lowest_scores(gram_CxC, present_C, num_malicious, size)


def scores(
  distances_CxC: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns Krum's score: squared distances to n - f - 2 neighbours, summed.

  n - f - 2 counts as 1 where it is less. Whoever is alone scores 0.

  Args:
    distances_CxC: float32 [C, C], squared distances.
    present_C: bool [C].
    num_malicious: int32 [], f; may be traced.

  Returns:
    float32 [C]; infinite for the absent.

  Raises:
    ValueError: if an argument does not fit.
  """
  gram.check_present(present_C, num_malicious)
  shape = (len(present_C),) * 2
  arrays.check('distances_CxC', distances_CxC, jnp.float32, shape)
  numbers_C = jnp.arange(len(present_C))
  num_others = jnp.sum(present_C, dtype=jnp.int32) - 1
  # One of those present is oneself: n - f - 2 of n - 1 others.
  size = jnp.minimum(jnp.maximum(num_others - num_malicious - 1, 1), num_others)
  is_other_CxC = present_C & (numbers_C[:, None] != numbers_C)
  ordered_CxC = jnp.sort(jnp.where(is_other_CxC, distances_CxC, jnp.inf), 1)
  # The infinite ones, of the absent, come last and are not added.
  scores_C = jnp.sum(jnp.where(numbers_C < size, ordered_CxC, 0.0), axis=1)
  return jnp.where(present_C, scores_C, jnp.inf)


def _lowest_scores(
  gram_CxC: Array,
  present_C: Array,
  num_malicious: Array | int,
  size: Array | int,
) -> Array:
  distances_CxC = gram.squared_distances(gram_CxC)
  scores_C = scores(distances_CxC, present_C, num_malicious)
  selected_C = (order.ranks(scores_C) < size) & present_C
  return selected_C / jnp.float32(size)
