"""Tests of `fps_jax.jobs.inversion.model`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.core.types import Examples
from fps_jax.federated import client, optimizers
from fps_jax.jobs.inversion import model as models

_SHAPE = (4, 4, 1)


@pytest.mark.slow
def test_update_is_that_of_the_clients_of_a_round():
  model = models.make_model(_SHAPE, 3, 2, ('^output/', 'bias$'))
  rng = np.random.default_rng(0)
  images = rng.integers(256, size=(5, *_SHAPE), dtype=np.uint8)
  labels_B = jnp.arange(5) % 3
  kept_D = jnp.asarray(model.exempt_D | (rng.random(len(model.exempt_D)) < 0.5))
  params_D = jnp.where(kept_D, model.init(jax.random.key(0)), 0.0)
  optimizer = optimizers.sgd(0.5)

  def apply(params_D, images):
    return model.apply(params_D, client.scale_pixels(images, 0.0, 1.0))

  theirs = jax.jit(client.make_local_update(apply, optimizer))
  steps = 2
  rows_SxB = jnp.tile(jnp.arange(5), (steps, 1))
  expected = theirs(
    params_D,
    kept_D,
    Examples(jnp.asarray(images), labels_B),
    client.ClientWork(rows_SxB, steps),
  )
  ours = jax.jit(models.make_local_update(model.apply, 0.5, steps))
  delta_D = ours(params_D, kept_D, images / np.float32(255), labels_B)
  assert delta_D == pytest.approx(np.asarray(expected.delta), abs=1e-6)
  assert not np.any(np.asarray(delta_D)[~np.asarray(kept_D)])


def test_hidden_layer_and_exempt_parameters_are_found_in_the_vector():
  model = models.make_model(_SHAPE, 3, 2, ('^output/',))
  kernel, bias = model.hidden(jnp.arange(16 * 2 + 2 + 2 * 3 + 3.0))
  assert kernel.shape == (16, 2)
  # Flax orders by name: the bias of `hidden_0` comes first.
  assert bias.tolist() == [0.0, 1.0]
  assert model.exempt_D.tolist() == [False] * 34 + [True] * 9


def test_layers_of_a_convolutional_network_make_up_its_parameters():
  model = models.make_model((28, 28, 1), 10, 0, network='lenet')
  # A bias and a kernel of each of three convolutions and of the output.
  convolutions = [12, 25 * 12, 12, 25 * 144, 12, 25 * 144]
  assert model.layer_sizes == (*convolutions, 10, 588 * 10)
  assert sum(model.layer_sizes) == len(model.exempt_D)
  images = jnp.zeros((2, 28, 28, 1))
  logits = jax.eval_shape(model.apply, jnp.zeros(len(model.exempt_D)), images)
  assert logits.shape == (2, 10)
