"""An attack that sends nothing wrong: it overrepresents one honest client."""

import jax
import jax.numpy as jnp

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.core import arrays, registry
from fps_jax.core.types import Array, Key

TARGETS = ('variance', 'first')
_NUM_STEPS = 100
# Of scores that differ by less, rounding would decide.
_CLOSE = 0.999


def mimic(target: str = 'variance') -> Craft:
  """All malicious clients copy one honest client.

  S. Karimireddy et al., Byzantine-robust learning on heterogeneous datasets via
  bucketing, ICLR 2022. Nothing is remembered here: the paper estimates the
  direction over the first rounds and then keeps to one client, while here both
  are those of the round. ByzFL copies the client of a given number.

  Guarantee: what is sent is an honest update, bit for bit.

  Args:
    target: 'variance', the client furthest from the mean, either way, along the
      direction in which honest updates vary most, by 100 steps of power
      iteration from a random start; or 'first', the first present honest one.
      Of clients within a thousandth of the furthest, the first.
  """
  registry.check_choice('target', target, TARGETS)

  def craft(known: Knowledge, key: Key) -> Array:
    score_C = known.honest_C.astype(jnp.float32)
    if target == 'variance':
      score_C = jnp.abs(principal_scores(knowledge.centred(known), key))
    is_furthest_C = score_C >= _CLOSE * jnp.max(score_C)
    return known.updates_CxM[jnp.argmax(known.honest_C & is_furthest_C)]

  return craft


def principal_scores(centred_CxM: Array, key: Key) -> Array:
  """Returns products of rows with their direction of most variance.

  Rows span that direction, so that the iteration is over C numbers.

  Args:
    centred_CxM: float32 [C, M], whose mean is 0.
    key: draws the start; it is consumed.

  Returns:
    float32 [C], up to one factor; all 0 if the rows are.

  Raises:
    ValueError: if the rows are of another type or shape.
  """
  arrays.check('centred_CxM', centred_CxM, jnp.float32, ('C', 'M'))
  gram_CxC = knowledge.products(centred_CxM, centred_CxM.T)
  gram_CxC = gram_CxC / _or_one(jnp.trace(gram_CxC))

  def step(_: int, scores_C: Array) -> Array:
    scores_C = knowledge.products(gram_CxC, scores_C)
    return scores_C / _or_one(jnp.linalg.norm(scores_C))

  start_C = jax.random.normal(key, centred_CxM.shape[:1])
  return jax.lax.fori_loop(0, _NUM_STEPS, step, start_C)


def _or_one(value: Array) -> Array:
  """Returns a divisor that is not 0."""
  return jnp.where(value > 0, value, 1.0)
