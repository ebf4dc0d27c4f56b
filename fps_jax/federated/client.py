"""Local training of ONE client. There is no client axis in this file."""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from fps_jax.core.types import (
  Array,
  Examples,
  Key,
  OptimizerState,
  Params,
  PlanArray,
)
from fps_jax.federated.augmentation import Augment, augment_batch, client_key
from fps_jax.federated.loops import Turns, repeat
from fps_jax.federated.losses import (
  Compare,
  Loss,
  are_classes,
  cross_entropy,
)


class Apply(Protocol):
  """A model, from what a data set holds on."""

  def __call__(self, params: Params, inputs: Array, /) -> Array:
    """Returns outputs float32 [B, ...], such as logits [B, classes]."""


class ClientResult(NamedTuple):
  """What local training returns.

  Attributes:
    delta: pytree of float32 like the parameters: trained minus received.
    loss_sum: float32 [], loss summed over the targets trained on.
    num_trained: float32 [], targets trained on, repeats counted: one an
      example, or one a position that is not padding.
  """

  delta: Params
  loss_sum: Array
  num_trained: Array


class ClientWork(NamedTuple):
  """What one client does in a round. All but the key may be traced.

  Attributes:
    indices_SxB: int32 [S, B], rows of the examples that make up the client's
      batches; -1 is padding.
    num_steps: int32 [], steps to take, or as an accelerator takes them.
    is_malicious: bool [], whether an attacker controls the client.
    client_id: int32 [], its number.
    round: int32 [], rounds completed before this one.
    key: the run's root key, which augmentation draws on; None to train on
      examples as they are.
  """

  indices_SxB: Array
  num_steps: Turns | Array | int
  is_malicious: PlanArray = np.False_
  client_id: Array | int = 0
  round: Array | int = 0
  key: Key | None = None


class LocalUpdate(Protocol):
  """Local training."""

  def __call__(
    self,
    params: Params,
    mask: Params | None,
    examples: Examples,
    work: ClientWork,
  ) -> ClientResult:
    """Trains a client on its examples.

    Guarantees:
      - entries masked by False stay as they are, 0 or not;
      - rows of padding have no influence, and a step of nothing but padding
        changes neither the parameters nor the optimiser's state.

    Args:
      params: as received, 0 where they are pruned.
      mask: pytree of bool like the parameters; None to train them all.
      examples: the whole training set on the device.
      work: batches, and what tells the client and the round from others.
    """


class Corrupt(Protocol):
  """What a malicious client makes of a batch of its examples."""

  def __call__(
    self, images: Array, labels: Array, is_malicious: Array, /
  ) -> tuple[Array, Array]:
    """Returns what is trained on: an honest client's batch as it is."""


def scale_pixels(images: Array, mean: ArrayLike, std: ArrayLike) -> Array:
  """Returns uint8 pixels as float32 (x / 255 - mean) / std.

  Args:
    images: uint8 [..., channels].
    mean: of all channels, or one for each.
    std: likewise, above 0.
  """
  pixels = images.astype(jnp.float32) / 255
  return (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


class _Progress(NamedTuple):
  params: Params
  optimizer_state: OptimizerState
  loss_sum: Array
  num_trained: Array


def make_local_update(
  apply: Apply,
  optimizer: optax.GradientTransformation,
  proximal: float = 0.0,
  corrupt: Corrupt | None = None,
  augment: Augment | None = None,
  loss: Loss | None = None,
) -> LocalUpdate:
  """Returns local training by mini-batch gradient descent.

  Args:
    apply: the model.
    optimizer: the client's optimiser; its state starts afresh every round. It
      is given `mask` and `round` as extra arguments, and without using them
      must not move a parameter whose gradient is 0 (`optimizers.make`).
    proximal: weight mu >= 0 of FedProx's term mu / 2 |w - w_received|^2 (T. Li
      et al., Federated optimization in heterogeneous networks, MLSys 2020).
    corrupt: what malicious clients do to their examples, after augmentation;
      None for nothing.
    augment: random changes of inputs; None for none.
    loss: what is minimised; None for the cross-entropy.
  """
  optimizer = optax.with_extra_args_support(optimizer)
  make_batch = functools.partial(_make_batch, corrupt, augment)
  loss = loss or cross_entropy()

  def local_update(params, mask, examples, work):
    compare = _make_compare(apply, loss, params, examples, work.indices_SxB)
    gradient = jax.grad(_make_loss(apply, compare), has_aux=True)

    def step(i: Array, before: _Progress) -> _Progress:
      rows_B = work.indices_SxB[i]
      valid_B = (rows_B >= 0).astype(jnp.float32)
      batch = make_batch(examples, work, i, rows_B)
      gradients, (loss_sum, count) = gradient(before.params, batch, valid_B)
      if proximal:
        gradients = _pull_back(gradients, proximal, before.params, params)
      if mask is not None:
        gradients = jax.tree.map(
          lambda g, kept: jnp.where(kept, g, 0.0), gradients, mask
        )
      old = before.params, before.optimizer_state
      updates, state = optimizer.update(
        gradients, old[1], old[0], mask=mask, round=work.round
      )
      return _Progress(
        optax.apply_updates(old[0], updates),
        state,
        before.loss_sum + loss_sum,
        before.num_trained + count,
      )

    zero = jnp.zeros((), jnp.float32)
    start = _Progress(params, optimizer.init(params), zero, zero)
    train = _skip_padding(step, work.indices_SxB)
    end = repeat(work.num_steps, train, start)
    delta = jax.tree.map(jnp.subtract, end.params, params)
    return ClientResult(delta, end.loss_sum, end.num_trained)

  return local_update


def _skip_padding(
  step: Callable[[Array, _Progress], _Progress], indices_SxB: Array
) -> Callable[[Array, _Progress], _Progress]:
  """Returns steps that change nothing where a batch is all padding.

  They are a branch. A select after the step would have XLA compute an
  optimiser's state twice: for itself and for the parameters.
  """

  def step_if_real(i: Array, before: _Progress) -> _Progress:
    is_real = jnp.any(indices_SxB[i] >= 0)
    return jax.lax.cond(is_real, step, lambda i, same: same, i, before)

  return step_if_real


def _make_batch(
  corrupt: Corrupt | None,
  augment: Augment | None,
  examples: Examples,
  work: ClientWork,
  step: Array,
  rows_B: Array,
) -> Examples:
  """Returns what a client trains on in a step, by its rows."""
  # Padding reads a row of the batch: what it computes is multiplied by 0,
  # which must not meet an infinity of somebody else's data.
  read_B = jnp.where(rows_B >= 0, rows_B, jnp.max(rows_B))
  batch = Examples(*(rows[read_B] for rows in examples))
  if augment is not None and work.key is not None:
    key = client_key(work.key, work.round, work.client_id)
    inputs = augment_batch(augment, key, step, batch.inputs)
    batch = batch._replace(inputs=inputs)
  if corrupt is not None:
    batch = Examples(*corrupt(*batch, work.is_malicious))
  return batch


def _make_compare(
  apply: Apply,
  loss: Loss,
  params: Params,
  examples: Examples,
  indices_SxB: Array,
) -> Compare:
  """Returns what a client minimises that trains on these examples."""
  if loss.train_knowing is None:
    return loss.train
  if not are_classes(examples.targets):
    raise ValueError(
      f'targets are {examples.targets.dtype}, must be int32, as the loss '
      'depends on how many of each class a client has: use '
      'mean_squared_error for numbers'
    )
  rows = indices_SxB.reshape(-1)
  owned = examples.targets[rows]
  is_owned = (rows >= 0).reshape(-1, *(1,) * (owned.ndim - 1))
  outputs = jax.eval_shape(apply, params, examples.inputs[:1])
  return loss.train_knowing(
    jnp.where(is_owned, owned, -1).reshape(-1), outputs.shape[-1]
  )


def _make_loss(
  apply: Apply, compare: Compare
) -> Callable[..., tuple[Array, tuple[Array, Array]]]:
  """Returns the loss of a batch: its mean, its sum, and of how many targets."""

  def mean_loss(params, batch, valid_B):
    targets, weights = batch.targets, valid_B
    if targets.ndim > 1 and are_classes(targets):
      weights = jnp.where(targets >= 0, valid_B[:, None], 0.0)
      targets = jnp.maximum(targets, 0)
    losses = compare(apply(params, batch.inputs), targets)
    loss_sum, count = jnp.sum(losses * weights), jnp.sum(weights)
    return loss_sum / jnp.maximum(count, 1.0), (loss_sum, count)

  return mean_loss


def _pull_back(
  gradients: Params, proximal: float, params: Params, received: Params
) -> Params:
  return jax.tree.map(
    lambda g, w, w_0: g + proximal * (w - w_0), gradients, params, received
  )
