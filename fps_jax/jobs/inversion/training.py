"""Honest training of a model before it is attacked."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.core.types import Array
from fps_jax.data.dataset import Dataset

_BATCH = 50
_STEP_SIZE = 0.003
# Images that are classified at once, which bounds memory.
_AT_ONCE = 250


def train(
  apply: Callable[[Array, Array], Array],
  params_D: Array,
  dataset: Dataset,
  rows: np.ndarray,
  num_steps: int,
  seed: int,
) -> Array:
  """Returns a model after steps of Adam with batches of 50 images.

  Args:
    apply: (params_D, images) -> logits.
    params_D: float32 [D], what it starts from.
    dataset: of images.
    rows: int [n], the training examples that batches are drawn from.
    num_steps: at least 0.
    seed: of the batches.
  """
  rng = np.random.default_rng(seed)
  rows_SxB = rng.choice(rows, (num_steps, _BATCH))
  return _descend(
    params_D,
    jnp.asarray(dataset.train_inputs),
    jnp.asarray(dataset.train_targets),
    jnp.asarray(rows_SxB),
    apply=apply,
  )


@functools.partial(jax.jit, static_argnames='apply')
def _descend(
  params_D: Array,
  images: Array,
  labels: Array,
  rows_SxB: Array,
  *,
  apply: Callable[[Array, Array], Array],
) -> Array:
  optimizer = optax.adam(_STEP_SIZE)

  def loss(params_D: Array, rows_B: Array) -> Array:
    logits = apply(params_D, images[rows_B] / jnp.float32(255))
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows_B])
    )

  def step(carry, rows_B):
    params_D, state = carry
    moves_D, state = optimizer.update(jax.grad(loss)(params_D, rows_B), state)
    return (params_D + moves_D, state), None

  start = (params_D, optimizer.init(params_D))
  return jax.lax.scan(step, start, rows_SxB)[0][0]


def accuracy(
  apply: Callable[[Array, Array], Array], params_D: Array, dataset: Dataset
) -> float:
  """Returns the fraction of the test images that a model classifies right."""
  found = _classify(params_D, jnp.asarray(dataset.test_inputs), apply=apply)
  return float(np.mean(np.asarray(found) == dataset.test_targets))


@functools.partial(jax.jit, static_argnames='apply')
def _classify(
  params_D: Array, images: Array, *, apply: Callable[[Array, Array], Array]
) -> Array:
  return jax.lax.map(
    lambda image: jnp.argmax(apply(params_D, image[None] / jnp.float32(255))),
    images,
    batch_size=_AT_ONCE,
  )
