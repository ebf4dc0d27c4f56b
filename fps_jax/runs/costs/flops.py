"""Floating-point operations of training, counted by XLA."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from fps_jax.data.dataset import Dataset


def training_flops(
  model: nn.Module, dataset: Dataset, batch_size: int
) -> float:
  """Returns the operations of one example's gradient.

  Those of direct convolutions, whatever algorithm runs, as is usual: what is
  counted is the program for GPUs, which has no other.

  Args:
    model: for the data set's classes.
    dataset: the shapes of its inputs and targets count.
    batch_size: what is counted is a batch's gradient, over this.
  """

  def batch_of(array: np.ndarray, dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), dtype)

  dtype = dataset.train_inputs.dtype
  # A model sees pixels scaled.
  inputs = batch_of(
    dataset.train_inputs, jnp.float32 if dataset.has_images else dtype
  )
  targets = batch_of(dataset.train_targets, dataset.train_targets.dtype)
  # XLA counts what is in a loop once.
  if hasattr(model, 'unroll'):
    model = model.clone(unroll=True)
  params = jax.eval_shape(model.init, jax.random.key(0), inputs)

  def loss(params, inputs, targets):
    outputs = model.apply(params, inputs)
    if jnp.issubdtype(targets.dtype, jnp.integer):
      losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
    else:
      losses = optax.squared_error(outputs, targets)
    return jnp.mean(losses)

  traced = jax.jit(jax.grad(loss)).trace(params, inputs, targets)
  cost = traced.lower(lowering_platforms=('cuda',)).cost_analysis()
  return cost['flops'] / batch_size
