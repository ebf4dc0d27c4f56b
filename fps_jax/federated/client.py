"""Local training of ONE client. There is no client axis in this file."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.core.types import Array, Params

Apply = Callable[[Params, Array], Array]  # (params, images) -> logits.


class ClientResult(NamedTuple):
  """What local training returns.

  Attributes:
    delta: pytree of float32 like the parameters: trained minus received.
    loss_sum: float32 [], loss (nats) summed over the examples trained on.
    num_trained: float32 [], examples trained on, repeats counted.
  """

  delta: Params
  loss_sum: Array
  num_trained: Array


# (params, mask or None, images, labels, indices_SxB, num_steps, whether an
# attacker controls the client) -> result.
LocalUpdate = Callable[..., ClientResult]
# (images [B, ...], labels [B], whether an attacker controls the client) -> what
# the client trains on.
Corrupt = Callable[[Array, Array, Array], tuple[Array, Array]]


def scale_pixels(images: Array, mean: float, std: float) -> Array:
  """Returns uint8 pixels as float32 (x / 255 - mean) / std."""
  return (images.astype(jnp.float32) / 255 - mean) / std


def make_local_update(
  apply: Apply,
  optimizer: optax.GradientTransformation,
  proximal: float = 0.0,
  pixel_mean: float = 0.0,
  pixel_std: float = 1.0,
  corrupt: Corrupt | None = None,
) -> LocalUpdate:
  """Returns local training by mini-batch gradient descent.

  The returned function takes the received parameters (already 0 where they
  are pruned), a mask (a pytree of bool like the parameters, or None to train
  them all), the whole training set on the device (uint8 images, int32
  labels), int32 [S, B] rows of it that make up the client's batches (-1 is
  padding), the number of steps to take, which may be traced, and whether an
  attacker controls the client (by default not).

  Guarantees:
    - entries that are 0 and masked by False stay 0;
    - rows of padding have no influence, and a step of nothing but padding
      changes neither the parameters nor the optimiser's state.

  Args:
    apply: (params, images) -> logits.
    optimizer: the client's optimiser; its state starts afresh every round.
    proximal: weight mu >= 0 of FedProx's term mu / 2 |w - w_received|^2 (T. Li
      et al., Federated optimization in heterogeneous networks, MLSys 2020).
    pixel_mean: subtracted from pixels scaled to [0, 1].
    pixel_std: pixels are divided by it afterwards.
    corrupt: what malicious clients do to their examples; None for nothing.
  """

  def loss_fn(params, images, labels, valid):
    logits = apply(params, scale_pixels(images, pixel_mean, pixel_std))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    loss_sum = jnp.sum(losses * valid)
    return loss_sum / jnp.maximum(jnp.sum(valid), 1.0), loss_sum

  def local_update(
    params,
    mask,
    images,
    labels,
    indices_SxB,
    num_steps,
    is_malicious=np.False_,
  ):
    received = params

    def step(i, carry):
      params, optimizer_state, loss_sum, num_trained = carry
      rows_B = indices_SxB[i]
      valid = (rows_B >= 0).astype(jnp.float32)
      # Padding reads a row of the batch: what it computes is multiplied by 0,
      # which must not meet an infinity of somebody else's data.
      read_B = jnp.where(rows_B >= 0, rows_B, jnp.max(rows_B))
      batch = images[read_B], labels[read_B]
      if corrupt is not None:
        batch = corrupt(*batch, is_malicious)
      gradients, batch_loss = jax.grad(loss_fn, has_aux=True)(
        params, *batch, valid
      )
      if proximal:
        gradients = jax.tree.map(
          lambda g, w, w_0: g + proximal * (w - w_0),
          gradients,
          params,
          received,
        )
      if mask is not None:
        gradients = jax.tree.map(
          lambda g, kept: jnp.where(kept, g, 0.0), gradients, mask
        )
      updates, new_state = optimizer.update(gradients, optimizer_state, params)
      new = (optax.apply_updates(params, updates), new_state)
      is_real = jnp.any(rows_B >= 0)
      params, optimizer_state = jax.tree.map(
        lambda a, b: jnp.where(is_real, a, b), new, (params, optimizer_state)
      )
      return (
        params,
        optimizer_state,
        loss_sum + batch_loss,
        num_trained + jnp.sum(valid),
      )

    zero = jnp.zeros((), jnp.float32)
    params, _, loss_sum, num_trained = jax.lax.fori_loop(
      0, num_steps, step, (params, optimizer.init(params), zero, zero)
    )
    delta = jax.tree.map(jnp.subtract, params, received)
    return ClientResult(delta, loss_sum, num_trained)

  return local_update


def make_optimizer(
  learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> optax.GradientTransformation:
  """Returns SGD for a client.

  Args:
    learning_rate: above 0.
    momentum: in [0, 1); 0 keeps no state.
    weight_decay: L2 penalty added to the gradient (coupled), >= 0.
  """
  sgd = optax.sgd(learning_rate, momentum=momentum or None)
  if not weight_decay:
    return sgd
  return optax.chain(optax.add_decayed_weights(weight_decay), sgd)
