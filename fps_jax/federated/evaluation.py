"""Central evaluation of the global model on the whole test set.

Its batches are split over all devices of the mesh.
"""

import functools
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES, put_per_device
from fps_jax.core.types import Array, Examples, Params
from fps_jax.federated.client import Apply


class Evaluate(Protocol):
  """Evaluates a model on images that it knows."""

  def __call__(self, params_D: Array) -> tuple[Array, Array]:
    """Returns images classified right, int32 [], and the mean loss in nats."""


def make_evaluate(
  apply: Apply,
  unravel: Callable[[Array], Params],
  examples: Examples,
  batch_size: int,
  mesh: Mesh,
) -> Evaluate:
  """Returns the evaluation of a model, float32 [D].

  Guarantees:
    - every test example counts exactly once, whatever the batch size;
    - the number of devices changes no bit of the result.

  Args:
    apply: the model.
    unravel: float32 [D] -> pytree of parameters.
    examples: n of them, on the host; put on the devices once.
    batch_size: examples evaluated at a time, at least 1.
    mesh: see `fps_jax.core.devices`.
  """
  count = len(examples.targets)
  batch_size = min(batch_size, count)
  num_batches = -(-count // batch_size)
  # Whole batches for each device.
  num_rows = -(-num_batches // mesh.size) * mesh.size
  batches = Examples(
    _put_batches(examples.inputs, 0, (num_rows, batch_size), mesh),
    _put_batches(examples.targets, -1, (num_rows, batch_size), mesh),
  )

  def evaluate_here(params_D, batches):
    evaluate_batch = functools.partial(
      _evaluate_batch, apply, unravel(params_D)
    )
    return jax.lax.map(evaluate_batch, batches)

  split = PartitionSpec(CLIENT_AXES)
  evaluate_batches = jax.shard_map(
    evaluate_here, mesh=mesh, in_specs=(PartitionSpec(), split), out_specs=split
  )
  everywhere = NamedSharding(mesh, PartitionSpec())

  @functools.partial(jax.jit, out_shardings=everywhere)
  def evaluate(params_D, batches):
    correct_B, loss_B = jax.lax.with_sharding_constraint(
      evaluate_batches(params_D, batches), everywhere
    )
    # A slice of fixed length: the order of additions depends on no device.
    return (
      jnp.sum(correct_B, dtype=jnp.int32),
      jnp.sum(loss_B[:num_batches]) / count,
    )

  # The test set is an argument so that it does not become a constant of the
  # compiled program.
  return lambda params_D: evaluate(params_D, batches)


def _put_batches(
  array: np.ndarray, fill: int, shape: tuple[int, int], mesh: Mesh
) -> Array:
  """Puts rows on the devices as [batches, batch size, ...], padded."""
  num_rows, batch_size = shape
  missing = num_rows * batch_size - len(array)
  if missing:
    padding = ((0, missing),) + ((0, 0),) * (array.ndim - 1)
    array = np.pad(array, padding, constant_values=fill)
  array = array.reshape(*shape, *array.shape[1:])
  parts = np.array_split(np.arange(num_rows), jax.process_count())
  return put_per_device(mesh, array[parts[jax.process_index()]])


def _evaluate_batch(
  apply: Apply, params: Params, batch: Examples
) -> tuple[Array, Array]:
  """Returns images classified right, and the sum of losses; -1 is padding."""
  labels = batch.targets
  logits = apply(params, batch.inputs)
  valid = labels >= 0
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.maximum(labels, 0)
  )
  correct = jnp.sum((jnp.argmax(logits, 1) == labels) & valid)
  return correct, jnp.sum(jnp.where(valid, losses, 0.0))
