"""A round as a loop over clients and batches: what the tests compare to.

Plain FedAvg with pruning, as the papers state it: no vmap, no chunks, no field,
no tiles; sums in float64.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from fps_jax.core.types import CohortPlan, Params
from fps_jax.federated.client import Apply
from tests.helpers.references import pruning


def tier_masks(
  params: Params, keep_counts: Sequence[int], exempt_D: np.ndarray
) -> list[np.ndarray]:
  """Returns what clients of each tier keep, bool [D].

  Args:
    params: pytree of float32.
    keep_counts: parameters that clients of each tier keep, ascending.
    exempt_D: bool [D], parameters that are never pruned.
  """
  weights_D = np.asarray(ravel_pytree(params)[0])
  return [
    pruning.keep_largest(weights_D, count, exempt_D) for count in keep_counts
  ]


def run_round(
  apply: Apply,
  params: Params,
  plan: CohortPlan,
  images: np.ndarray,
  labels: np.ndarray,
  learning_rate: float,
  masks: Sequence[np.ndarray],
) -> Params:
  """Prunes, trains every client of the plan by SGD, averages by samples.

  Every parameter is averaged over the clients that trained it.

  Args:
    apply: (params, uint8 images) -> logits.
    params: pytree of float32.
    plan: who trains on what.
    images: uint8 [n, height, width, channels].
    labels: int32 [n].
    learning_rate: of every client.
    masks: of `tier_masks`.

  Returns:
    The new global parameters.
  """
  flat_D, unravel = ravel_pytree(params)
  weights_D = np.asarray(flat_D)

  @jax.jit
  @jax.grad
  def gradient(weights_D, images, labels):
    logits = apply(unravel(weights_D), images)
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    )

  total_D = np.zeros(len(weights_D))
  weight_D = np.zeros_like(total_D)
  for row in np.flatnonzero(plan.client_ids >= 0):
    mask_D = masks[plan.tiers[row]]
    received_D = np.where(mask_D, weights_D, 0).astype(np.float32)
    trained_D: np.ndarray = received_D
    for batch in np.asarray(plan.indices[row]):
      rows = batch[batch >= 0]
      if len(rows):
        step = gradient(trained_D, images[rows], labels[rows])
        trained_D = trained_D - learning_rate * np.where(mask_D, step, 0)
    weight = float(plan.num_examples[row])
    total_D += weight * (trained_D - received_D)
    weight_D += weight * mask_D
  mean_D = total_D / np.maximum(weight_D, 1)
  pruned_D = np.where(masks[-1], weights_D, 0)
  return unravel(jnp.asarray(pruned_D + mean_D, jnp.float32))


def hide(weights: Sequence[int], min_contributors: int) -> list[int]:
  """Lowers weights until each is that of at least `min_contributors` clients.

  Args:
    weights: of the clients, at least 0.
    min_contributors: as of `robust.hide.hide`.

  Returns:
    The lowered weights, in the same order.
  """
  rest = sorted((weight for weight in weights if weight), reverse=True)
  if len(rest) < min_contributors:
    return list(weights)
  lowered: dict[int, int] = {}
  while len(rest) >= min_contributors:
    reached = rest[min_contributors - 1]
    lowered |= {weight: reached for weight in rest if weight >= reached}
    rest = [weight for weight in rest if weight < reached]
  return [lowered.get(weight, 0) for weight in weights]
