"""Central evaluation of the global model on the whole test set."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.federated.client import Apply, scale_pixels
from fps_jax.types import Array, Params


def make_evaluate(
  apply: Apply,
  unravel: Callable[[Array], Params],
  images: np.ndarray,
  labels: np.ndarray,
  batch_size: int,
  pixel_mean: float = 0.0,
  pixel_std: float = 1.0,
) -> Callable[[Array], tuple[Array, Array]]:
  """Returns float32 [D] -> (int32 [] images classified right, mean nats).

  Guarantee: every test image counts exactly once, whatever the batch size.

  Args:
    apply: (params, images) -> logits.
    unravel: float32 [D] -> pytree of parameters.
    images: uint8 [n, height, width, channels]; put on the device once.
    labels: int32 [n].
    batch_size: images evaluated at a time, at least 1.
    pixel_mean: as in training.
    pixel_std: as in training.
  """
  count = len(labels)
  batch_size = min(batch_size, count)
  num_batches = -(-count // batch_size)
  missing = num_batches * batch_size - count

  def batched(array, fill):
    padding = ((0, missing),) + ((0, 0),) * (array.ndim - 1)
    array = np.pad(array, padding, constant_values=fill)
    return jnp.asarray(array.reshape(num_batches, batch_size, *array.shape[1:]))

  batches = batched(images, 0), batched(labels, -1)

  @jax.jit
  def evaluate(params_D, batches):
    params = unravel(params_D)

    def evaluate_batch(batch):
      pixels, labels = batch
      logits = apply(params, scale_pixels(pixels, pixel_mean, pixel_std))
      valid = labels >= 0
      losses = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.maximum(labels, 0)
      )
      correct = jnp.sum((jnp.argmax(logits, 1) == labels) & valid)
      return correct, jnp.sum(jnp.where(valid, losses, 0.0))

    correct, loss = jax.lax.map(evaluate_batch, batches)
    return jnp.sum(correct, dtype=jnp.int32), jnp.sum(loss) / count

  # The test set is an argument so that it does not become a constant of the
  # compiled program.
  return lambda params_D: evaluate(params_D, batches)
