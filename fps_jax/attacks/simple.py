"""Attacks that need no more of other clients than how large their updates are.

| attack        | what a malicious client sends                             |
|---------------|-----------------------------------------------------------|
| `sign_flip`   | its own update, turned around                             |
| `scaling`     | its own update, magnified                                 |
| `gaussian`    | noise                                                     |
| `wrap_around` | the largest words of the field, so that sums wrap around  |

Guarantee: what row i of `gaussian` and `wrap_around` draws depends on the key,
on i and on M alone.
"""

import jax
import jax.numpy as jnp

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.core import registry
from fps_jax.core.types import Array, Key


def sign_flip(scale: float = 1.0) -> Craft:
  """Each malicious client sends its own update times -scale; scale is above 0.

  L. Li et al., RSA: Byzantine-robust stochastic aggregation methods, AAAI 2019.
  Elsewhere, as in ByzFL, malicious clients send the negative mean of the honest
  ones by this name; that is `ipm` with epsilon=1.
  """
  registry.check_positive('scale', scale)
  return lambda known, key: -scale * known.updates_CxM


def scaling(factor: float = 10.0) -> Craft:
  """Each malicious client sends its own update times a factor above 0.

  Under an unweighted mean over n clients, the factor n replaces the model by
  the malicious client's: E. Bagdasaryan et al., How to backdoor federated
  learning, AISTATS 2020. What the client trained on is a matter of
  `fps_jax.attacks.data`.
  """
  registry.check_positive('factor', factor)
  return lambda known, key: factor * known.updates_CxM


def gaussian(deviation_factor: float = 10.0) -> Craft:
  """Each malicious client sends independent normal entries of mean 0.

  P. Blanchard et al. (Machine learning with adversaries, NeurIPS 2017) fix the
  standard deviation at 200, and others follow them. How much that is depends on
  the model and on the learning rate, so that here it is a multiple of the root
  mean square of all entries that honest clients send.

  Args:
    deviation_factor: standard deviation over that root mean square; above 0.
  """
  registry.check_positive('deviation_factor', deviation_factor)

  def craft(known: Knowledge, key: Key) -> Array:
    honest_CxM = knowledge.honest_updates(known)
    squares_C = jnp.sum(jnp.square(honest_CxM), axis=1) / known.num_values
    size = jnp.sqrt(jnp.sum(squares_C) / knowledge.num_honest(known))
    # Row by row, so that a draw does not depend on the number of rows.
    noise_CxM = jax.vmap(
      lambda key: jax.random.normal(key, honest_CxM.shape[1:])
    )(_row_keys(key, len(honest_CxM)))
    return deviation_factor * size * noise_CxM

  return craft


def wrap_around(limit: float) -> Craft:
  """Each malicious client sends +limit or -limit in every entry, at random.

  Those that share secrets send words of a field, whose sums are taken modulo a
  prime: this client sends the largest words, so that sums in which it is wrap
  around. A client that keeps to the codec's clip cannot; one that does not may
  share any word, and no server sees it. Of this project, not of a paper.

  Args:
    limit: the largest magnitude that a word of the field stands for; above 0.
  """
  registry.check_positive('limit', limit)

  def craft(known: Knowledge, key: Key) -> Array:
    num_rows, num_values = known.updates_CxM.shape
    signs_CxM = jax.vmap(
      lambda key: jax.random.rademacher(key, (num_values,), jnp.float32)
    )(_row_keys(key, num_rows))
    return limit * signs_CxM

  return craft


def _row_keys(key: Key, num_rows: int) -> Key:
  """Returns a key for every row, whatever the number of rows."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_rows))
