"""The central server's step: the averaged update as a gradient.

`fedadagrad`, `fedadam` and `fedyogi` are algorithm 2 of S. Reddi et al.,
Adaptive federated optimization, ICLR 2021: moments are used as they are, and
the second one begins at tau^2. `adam` and `yogi` are optax's, which divide both
moments by what they lack in the first rounds (bias correction) and begin them
at 0 or next to it. So they are other algorithms at the same learning rate, for
as long as beta2^t is not small: some hundred rounds.

Plain SGD with learning rate 1 is FedAvg, with momentum FedAvgM (T. Hsu et al.,
Measuring the effects of non-identical data distribution, 2019).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import optax

from fps_jax.core.types import Array, OptimizerState

Optimizer: TypeAlias = optax.GradientTransformation
# The paper's adaptivity: it is large because updates are small.
_TAU = 1e-3
_BETA_2 = 0.99


class Moments(NamedTuple):
  """Of the averaged updates, as gradients.

  Attributes:
    first: float32 [D], their moving mean.
    second: float32 [D], what is accumulated of their squares.
  """

  first: Array
  second: Array


class MakeOptimizer(Protocol):
  """Makes a server optimiser; not all have a use for momentum."""

  def __call__(self, learning_rate: float, momentum: float) -> Optimizer:
    """Returns it, for a rate above 0 and momentum in [0, 1)."""


def sgd(learning_rate: float, momentum: float) -> Optimizer:
  """The averaged update times the learning rate: with 1, FedAvg."""
  del momentum
  return optax.sgd(learning_rate)


def momentum(learning_rate: float, momentum: float) -> Optimizer:
  """Gradient descent with momentum: FedAvgM."""
  return optax.sgd(learning_rate, momentum=momentum)


def adam(learning_rate: float, momentum: float) -> Optimizer:
  """Adam with bias correction: not quite FedAdam."""
  return optax.adam(learning_rate, b1=momentum, b2=_BETA_2, eps=_TAU)


def yogi(learning_rate: float, momentum: float) -> Optimizer:
  """Yogi with bias correction: not quite FedYogi."""
  return optax.yogi(learning_rate, b1=momentum, b2=_BETA_2, eps=_TAU)


def fedadagrad(learning_rate: float, momentum: float) -> Optimizer:
  """FedAdagrad: squares are added up. The paper runs it without momentum."""
  return _adaptive(learning_rate, momentum, jnp.add)


def fedadam(learning_rate: float, momentum: float) -> Optimizer:
  """FedAdam: the moving mean of squares, with beta2 = 0.99."""

  def mean(v_D: Array, new_D: Array) -> Array:
    return _BETA_2 * v_D + (1 - _BETA_2) * new_D

  return _adaptive(learning_rate, momentum, mean)


def fedyogi(learning_rate: float, momentum: float) -> Optimizer:
  """FedYogi: towards the new square by a part of it, with beta2 = 0.99."""

  def approach(v_D: Array, new_D: Array) -> Array:
    return v_D - (1 - _BETA_2) * new_D * jnp.sign(v_D - new_D)

  return _adaptive(learning_rate, momentum, approach)


def _adaptive(
  learning_rate: float,
  momentum: float,
  accumulate: Callable[[Array, Array], Array],
) -> Optimizer:
  """Returns algorithm 2, with one way to add new squares to the second moment.

  `momentum` is the paper's beta1.
  """

  def init(params_D: Array) -> Moments:
    return Moments(jnp.zeros_like(params_D), jnp.full_like(params_D, _TAU**2))

  def update(
    gradient_D: Array,
    state: Moments,
    params_D: Array | None = None,
    mask_D: Array | None = None,
    **unused: object,
  ) -> tuple[Array, Moments]:
    del params_D, unused
    first_D = momentum * state.first + (1 - momentum) * gradient_D
    second_D = accumulate(state.second, jnp.square(gradient_D))
    if mask_D is not None:
      # What is pruned would come back with less than it began with.
      second_D = jnp.where(mask_D, second_D, state.second)
    step_D = first_D / (jnp.sqrt(second_D) + _TAU)
    return -learning_rate * step_D, Moments(first_D, second_D)

  return optax.GradientTransformationExtraArgs(init, update)


OPTIMIZERS: dict[str, MakeOptimizer] = {
  function.__name__: function
  for function in (sgd, momentum, adam, yogi, fedadagrad, fedadam, fedyogi)
}


def make_optimizer(
  name: str, learning_rate: float, momentum: float
) -> Optimizer:
  """Returns a server optimiser by name.

  Args:
    name: a key of `OPTIMIZERS`.
    learning_rate: above 0; 1 with `'sgd'` is FedAvg.
    momentum: in [0, 1); not used by `'sgd'`.

  Raises:
    ValueError: if the name is unknown.
  """
  if name not in OPTIMIZERS:
    raise ValueError(
      f'server optimizer {name!r} is not one of {sorted(OPTIMIZERS)}'
    )
  return OPTIMIZERS[name](learning_rate, momentum)


def apply_update(
  optimizer: Optimizer,
  params_D: Array,
  optimizer_state: OptimizerState,
  update_D: Array,
  mask_D: Array | None,
  candidates_D: Array | None = None,
  round: Array | int = 0,
) -> tuple[Array, OptimizerState]:
  """Takes one server step along the averaged update.

  Args:
    optimizer: the server's optimiser.
    params_D: float32 [D], the global model that the clients received.
    optimizer_state: its state.
    update_D: float32 [D], the weighted mean of the clients' updates.
    mask_D: bool [D] or None; entries outside stay as they are, such as 0, also
      where momentum from before they were pruned would move them. What the
      optimiser remembers of them is forgotten.
    candidates_D: bool [D] or None; entries inside the mask that were pruned
      until now, and start anew in the optimiser, too.
    round: rounds completed before this one, for a schedule.

  Returns:
    The new parameters and optimiser state.
  """
  if mask_D is not None:
    stays_D = mask_D if candidates_D is None else mask_D & ~candidates_D
    optimizer_state = jax.tree.map(
      # What is not one value a parameter is not of any of them.
      lambda now, first: (
        jnp.where(stays_D, now, first) if now.shape == stays_D.shape else now
      ),
      optimizer_state,
      optimizer.init(params_D),
    )
  updates, optimizer_state = optax.with_extra_args_support(optimizer).update(
    -update_D, optimizer_state, params_D, mask_D=mask_D, round=round
  )
  moved_D = optax.apply_updates(params_D, updates)
  if mask_D is not None:
    moved_D = jnp.where(mask_D, moved_D, params_D)
  return moved_D, optimizer_state
