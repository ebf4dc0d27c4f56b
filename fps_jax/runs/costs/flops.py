"""Floating-point operations of training, counted by XLA."""

import jax
import jax.numpy as jnp
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
    dataset: its image shape counts.
    batch_size: what is counted is a batch's gradient, over this.
  """
  shape = (batch_size, *dataset.image_shape)
  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  labels = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
  params = jax.eval_shape(model.init, jax.random.key(0), images)

  def loss(params, images, labels):
    logits = model.apply(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses)

  traced = jax.jit(jax.grad(loss)).trace(params, images, labels)
  cost = traced.lower(lowering_platforms=('cuda',)).cost_analysis()
  return cost['flops'] / batch_size
