"""Tests of clients, one after the other: what the tests compare to."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.core.types import Array, CohortPlan, Examples, Params
from fps_jax.federated.by_client import OwnTests
from fps_jax.federated.client import Apply


def count_right(apply: Apply, params: Params, own: Examples) -> int:
  """Returns how many targets of one client's test examples are right."""
  if not len(own.inputs):
    return 0
  guessed = np.asarray(apply(params, own.inputs)).argmax(axis=-1)
  return int(np.sum((guessed == own.targets)[own.targets >= 0]))


def count_personal_right(
  apply: Apply,
  unravel: Callable[[Array], Params],
  params_D: np.ndarray,
  mask_D: np.ndarray,
  plan: CohortPlan,
  train: Examples,
  tests: OwnTests,
  learning_rate: float,
) -> list[int]:
  """Trains clients by SGD on what a mask keeps, and tests each on its own.

  Returns:
    Targets that are right of each client.
  """

  @jax.grad
  def gradient(params_D: Array, batch: Examples) -> Array:
    outputs = apply(unravel(params_D), batch.inputs)
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets)
    )

  right = [0] * len(tests.rows)
  for row in np.flatnonzero(plan.client_ids >= 0):
    own_D = params_D
    for batch in np.asarray(plan.indices[row]):
      if len(rows := batch[batch >= 0]):
        examples = Examples(train.inputs[rows], train.targets[rows])
        own_D = own_D - learning_rate * mask_D * gradient(own_D, examples)
    client = plan.client_ids[row]
    rows = tests.rows[client]
    own = Examples(tests.examples.inputs[rows], tests.examples.targets[rows])
    right[client] = count_right(apply, unravel(own_D), own)
  return right
