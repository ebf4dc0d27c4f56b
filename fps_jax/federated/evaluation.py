"""Central evaluation of the global model on the whole test set.

Its batches are split over all devices of the mesh.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES, put_per_device
from fps_jax.core.types import Array, Examples, Params
from fps_jax.federated.client import Apply
from fps_jax.federated.losses import (
  Loss,
  are_classes,
  cross_entropy,
  num_counted,
)


class Tested(NamedTuple):
  """What a model is worth on some examples.

  Attributes:
    num_right: int32 [], targets that it predicts right, of
      `losses.num_counted`; None where predictions are not right or wrong.
    loss: float32 [], mean over the targets that count.
  """

  num_right: Array | None
  loss: Array


# A program that has its examples: parameters, float32 [D], -> what a model is
# worth on them.
Evaluate: TypeAlias = functools.partial[Tested]


def make_evaluate(
  apply: Apply,
  unravel: Callable[[Array], Params],
  examples: Examples,
  batch_size: int,
  mesh: Mesh,
  loss: Loss | None = None,
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
    loss: what is reported; None for the cross-entropy.

  Raises:
    ValueError: if no target counts, or one is not finite.
  """
  loss = loss or cross_entropy()
  count, num_examples = _count(examples.targets), len(examples.targets)
  batch_size = min(batch_size, num_examples)
  num_batches = -(-num_examples // batch_size)
  batches = put_batches(examples, (num_batches, batch_size), mesh)

  def evaluate_here(params_D, batches):
    evaluate_batch = functools.partial(
      _evaluate_batch, loss, apply, unravel(params_D)
    )
    return jax.lax.map(evaluate_batch, batches)

  split = PartitionSpec(CLIENT_AXES)
  evaluate_batches = jax.shard_map(
    evaluate_here,
    mesh=mesh,
    in_specs=(PartitionSpec(), split),
    out_specs=split,
    check_vma=False,  # A model may loop, and begin with constants.
  )
  everywhere = NamedSharding(mesh, PartitionSpec())

  @functools.partial(jax.jit, out_shardings=everywhere)
  def evaluate(batches, params_D):
    right_B, loss_B = jax.lax.with_sharding_constraint(
      evaluate_batches(params_D, batches), everywhere
    )
    # A slice of fixed length: the order of additions depends on no device.
    return Tested(
      None if right_B is None else jnp.sum(right_B, dtype=jnp.int32),
      jnp.sum(loss_B[:num_batches]) / count,
    )

  # As an argument the test set is no constant of the compiled program.
  return functools.partial(evaluate, batches)


def _count(targets: np.ndarray) -> int:
  """Returns how many targets count, at least 1."""
  count = num_counted(targets)
  if not count or not np.isfinite(targets).all():
    raise ValueError(
      f'{count} of {len(targets)} test targets count, and all must be finite: '
      'correct them'
    )
  return count


def put_batches(
  examples: Examples, shape: tuple[int, int], mesh: Mesh
) -> Examples:
  """Puts examples on the devices as [batches, batch size, ...], padded.

  There are at least as many batches as `shape` says: whole ones a device.
  """
  # Padding is what no target is.
  fill = -1 if are_classes(examples.targets) else np.nan
  shape = (-(-shape[0] // mesh.size) * mesh.size, shape[1])
  return Examples(
    _put(examples.inputs, 0, shape, mesh),
    _put(examples.targets, fill, shape, mesh),
  )


def _put(
  array: np.ndarray, fill: float, shape: tuple[int, int], mesh: Mesh
) -> Array:
  """Puts rows on the devices as [batches, batch size, ...], padded."""
  num_rows, batch_size = shape
  # Of a set that is stored, a process reads its own rows alone. Processes are
  # those of the mesh: it may be of devices that are only compiled for.
  num_own = num_rows * batch_size // mesh.devices.shape[0]
  start = jax.process_index() * num_own
  given = array[start : start + num_own]
  own = np.full((num_own, *array.shape[1:]), fill, array.dtype)
  own[: len(given)] = given
  return put_per_device(mesh, own.reshape(-1, batch_size, *array.shape[1:]))


def _evaluate_batch(
  loss: Loss, apply: Apply, params: Params, batch: Examples
) -> Tested:
  """Returns targets predicted right, and the sum of losses."""
  targets, outputs = batch.targets, apply(params, batch.inputs)
  if are_classes(targets):
    valid, targets = targets >= 0, jnp.maximum(targets, 0)
  else:
    valid = ~jnp.isnan(targets.reshape(len(targets), -1)[:, 0])
  right = None
  if loss.is_right is not None:
    right = jnp.sum(loss.is_right(outputs, targets) & valid)
  losses = loss.test(outputs, targets)
  return Tested(right, jnp.sum(jnp.where(valid, losses, 0.0)))
