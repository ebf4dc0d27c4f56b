"""Floating-point operations of training, counted by XLA."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from fps_jax import models
from fps_jax.data.dataset import Dataset


def training_flops(config: ConfigDict, dataset: Dataset) -> float:
  """Returns the operations of one example's gradient.

  Those of direct convolutions, whatever algorithm runs, as is usual: what is
  counted is the program for GPUs, which has no other.

  Args:
    config: its model and batch size count.
    dataset: its image shape and number of classes count.
  """
  model = models.make(
    config.model.name,
    dataset.num_classes,
    **config.model.args.get(config.model.name, {}),
  )
  shape = (config.client.batch_size, *dataset.image_shape)
  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  labels = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
  params = jax.eval_shape(model.init, jax.random.key(0), images)

  def loss(params, images, labels):
    logits = model.apply(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses)

  traced = jax.jit(jax.grad(loss)).trace(params, images, labels)
  cost = traced.lower(lowering_platforms=('cuda',)).cost_analysis()
  return cost['flops'] / config.client.batch_size
