"""Attacks that go as far as distances between honest updates let them.

All malicious clients send mean + gamma * direction, with the largest gamma that
a bound on distances admits: V. Shejwalkar and A. Houmansadr, Manipulating the
Byzantine, NDSS 2021.

| direction | perturbs the mean by                                        |
|-----------|-------------------------------------------------------------|
| `unit`    | the inverse of itself                                       |
| `std`     | the inverse of the standard deviation of each entry         |
| `sign`    | the inverse of the sign of each of its entries              |

The paper searches gamma by halving. Squared distances are quadratic in gamma,
so that here it is a root, from inner products, exact up to rounding.

`direction` is one of these, and ValueError is raised for any other. Where it is
0, as is that of a standard deviation over one client,
the mean itself is sent.
"""

import jax.numpy as jnp

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.core import registry
from fps_jax.core.types import Array

DIRECTIONS = ('unit', 'std', 'sign')


def min_max(direction: str = 'unit') -> Craft:
  """Is no further from any honest update than two of these are apart.

  Guarantee: the largest distance to an honest update is at most the largest
  between two of them, and no larger gamma has that, up to rounding.
  """
  registry.check_choice('direction', direction, DIRECTIONS)

  def craft(known: Knowledge, _: object) -> Array:
    toward_M = unit_direction(known, direction)
    centred_CxM = knowledge.centred(known)
    gram_CxC = knowledge.products(centred_CxM, centred_CxM.T)
    squares_C = jnp.diagonal(gram_CxC)
    # Other rows are 0 and stand for the mean. No mask is needed: that is within
    # the bound of all updates, and of whatever is within it of all of them.
    bound = jnp.max(squares_C[:, None] + squares_C - 2 * gram_CxC)
    room_C = jnp.maximum(bound - squares_C, 0.0)
    along_C = knowledge.products(centred_CxM, toward_M)
    # The positive root of gamma^2 - 2 gamma along - room, for each update.
    gamma_C = along_C + jnp.sqrt(jnp.square(along_C) + room_C)
    return knowledge.mean(known) + jnp.min(gamma_C) * toward_M

  return craft


def min_sum(direction: str = 'unit') -> Craft:
  """Is no further from all honest updates together than one of these is.

  Guarantee: the sum of squared distances to the honest updates is at most the
  largest such sum of one of them, and no larger gamma has that, up to rounding.
  (The authors' program bounds it by the smallest such sum.)
  """
  registry.check_choice('direction', direction, DIRECTIONS)

  def craft(known: Knowledge, _: object) -> Array:
    # Of a point, the sum is that of the mean and as many times the point's
    # squared distance to the mean as there are honest updates.
    squares_C = jnp.sum(jnp.square(knowledge.centred(known)), axis=1)
    gamma = jnp.sqrt(jnp.max(squares_C))
    return knowledge.mean(known) + gamma * unit_direction(known, direction)

  return craft


def unit_direction(known: Knowledge, direction: str) -> Array:
  """Returns float32 [M] of length 1, or 0: only the ray matters to gamma.

  Raises:
    ValueError: if the direction is unknown.
  """
  registry.check_choice('direction', direction, DIRECTIONS)
  mean_M = knowledge.mean(known)
  if direction == 'std':
    toward_M = -knowledge.standard_deviation(known)
  else:
    toward_M = -jnp.sign(mean_M) if direction == 'sign' else -mean_M
  return knowledge.unit(toward_M)
