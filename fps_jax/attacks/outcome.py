"""What comes of an update that malicious clients might send."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Knowledge
from fps_jax.core.types import Array, Key


class Outcome(NamedTuple):
  """What an update does to the aggregate.

  Attributes:
    harm: float32 [], the length by which the aggregate falls short of the
      honest mean, along that; or the square of its distance to it.
    weight: float32 [], the part of all weight that malicious clients have.
  """

  harm: Array
  weight: Array


def make_outcome(
  known: Knowledge, away: bool, key: Key
) -> Callable[[Array], Outcome]:
  """Returns what comes of an update that all malicious clients send.

  It may be differentiated. Of a rule that weighs, products of the updates are
  enough, and those among the others are computed once. Without a defence all
  weigh the same.

  Args:
    known: of the round.
    away: whether distances to the honest mean are harm, in any direction.
    key: of what a pre-step draws, which is a guess; it is consumed.

  Returns:
    float32 [M] -> what comes of it.
  """
  if known.defence.aggregate is not None:
    return _by_coordinates(known, away)
  return _by_products(known, away, key)


def _by_coordinates(known: Knowledge, away: bool) -> Callable[[Array], Outcome]:
  aggregate = known.defence.aggregate
  assert aggregate is not None  # The caller sees to it.
  mean_M, others_CxM = knowledge.mean(known), _others(known)
  weight = known.num_malicious / jnp.maximum(known.num_present, 1)

  def find(update_M: Array) -> Outcome:
    sent_CxM = jnp.where(known.malicious_C[:, None], update_M, others_CxM)
    gap_M = aggregate(sent_CxM, _present(known)) - mean_M
    harm = jnp.vdot(gap_M, gap_M) if away else -_along(gap_M, mean_M)
    return Outcome(harm, weight)

  return find


def _by_products(
  known: Knowledge, away: bool, key: Key
) -> Callable[[Array], Outcome]:
  defence, malicious_C = known.defence, known.malicious_C
  present_C, mean_M = _present(known), knowledge.mean(known)
  others_CxM = _others(known)
  find_gram = _with_malicious(others_CxM, malicious_C)
  find_seen = find_gram
  if defence.seed is not None:
    find_seen = _with_malicious(defence.seed.sketch(others_CxM), malicious_C)
  add_root = _with_root(known, others_CxM)
  along_C = knowledge.products(others_CxM, mean_M)
  square = jnp.vdot(mean_M, mean_M)

  def find(update_M: Array) -> Outcome:
    gram_CxC = seen_VxV = find_gram(update_M)
    if defence.seed is not None:
      seen_VxV = find_seen(defence.seed.sketch(update_M[None])[0])
    seen_VxV = add_root(seen_VxV, update_M)
    if defence.weigh is None:
      weights_C = present_C / jnp.maximum(known.num_present, 1)
    else:
      weights_C = defence.weigh(seen_VxV, present_C, key)
    product = jnp.vdot(
      weights_C, jnp.where(malicious_C, jnp.vdot(update_M, mean_M), along_C)
    )
    if away:
      harm = weights_C @ gram_CxC @ weights_C - 2 * product + square
    else:
      harm = (square - product) / _or_one(jnp.sqrt(square))
    total = jnp.sum(weights_C)
    taken = jnp.sum(jnp.where(malicious_C, weights_C, 0.0))
    return Outcome(harm, taken / _or_one(total))

  return find


def _with_root(
  known: Knowledge, others_CxM: Array
) -> Callable[[Array, Array], Array]:
  """Returns what adds the root update's products, if there is one."""
  root_M = known.defence.root_M
  if root_M is None:
    return lambda gram_CxC, _: gram_CxC
  products_C = knowledge.products(others_CxM, root_M)
  square = jnp.vdot(root_M, root_M)[None, None]

  def add(gram_CxC: Array, update_M: Array) -> Array:
    own = jnp.vdot(update_M, root_M)
    row_C = jnp.where(known.malicious_C, own, products_C)
    return jnp.block([[gram_CxC, row_C[:, None]], [row_C[None], square]])

  return add


def _with_malicious(
  rows_CxK: Array, malicious_C: Array
) -> Callable[[Array], Array]:
  """Returns what makes inner products of rows, given the malicious one."""
  gram_CxC = knowledge.products(rows_CxK, rows_CxK.T)

  def find(row_K: Array) -> Array:
    products_C = knowledge.products(rows_CxK, row_K)
    one_CxC = malicious_C[:, None] ^ malicious_C
    both_CxC = malicious_C[:, None] & malicious_C
    mixed_CxC = jnp.where(malicious_C, products_C[:, None], products_C)
    made_CxC = jnp.where(one_CxC, mixed_CxC, gram_CxC)
    return jnp.where(both_CxC, jnp.vdot(row_K, row_K), made_CxC)

  return find


def _others(known: Knowledge) -> Array:
  """Returns float32 [C, M], the updates of the others who are present."""
  is_other_C = _present(known) & ~known.malicious_C
  return jnp.where(is_other_C[:, None], known.updates_CxM, 0.0)


def _present(known: Knowledge) -> Array:
  return known.honest_C | known.malicious_C


def _along(vector_M: Array, mean_M: Array) -> Array:
  return jnp.vdot(vector_M, mean_M) / _or_one(jnp.linalg.norm(mean_M))


def _or_one(value: Array) -> Array:
  """Returns a divisor that is not 0."""
  return jnp.where(value > 0, value, 1.0)
