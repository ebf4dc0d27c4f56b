"""The central server's step: the averaged update as a gradient.

Reference: S. Reddi et al., Adaptive federated optimization, ICLR 2021,
algorithm 2; optax's Adam and Yogi also correct the bias of their moments. Plain
SGD with learning rate 1 is FedAvg, with momentum FedAvgM (T. Hsu et al.,
Measuring the effects of non-identical data distribution, 2019).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from fps_jax.types import Array, OptimizerState

# The paper's adaptivity: it is large because updates are small.
_EPSILON = 1e-3


def sgd(learning_rate: float, momentum: float) -> optax.GradientTransformation:
  """The averaged update times the learning rate: with 1, FedAvg."""
  del momentum
  return optax.sgd(learning_rate)


def momentum(
  learning_rate: float, momentum: float
) -> optax.GradientTransformation:
  """Gradient descent with momentum: FedAvgM."""
  return optax.sgd(learning_rate, momentum=momentum)


def adam(learning_rate: float, momentum: float) -> optax.GradientTransformation:
  """Adam: FedAdam."""
  return optax.adam(learning_rate, b1=momentum, b2=0.99, eps=_EPSILON)


def yogi(learning_rate: float, momentum: float) -> optax.GradientTransformation:
  """Yogi, whose second moment changes slowly: FedYogi."""
  return optax.yogi(learning_rate, b1=momentum, b2=0.99, eps=_EPSILON)


# (learning rate, momentum) -> optimiser.
OPTIMIZERS: dict[
  str, Callable[[float, float], optax.GradientTransformation]
] = {
  'sgd': sgd,
  'momentum': momentum,
  'adam': adam,
  'yogi': yogi,
}


def make_optimizer(
  name: str, learning_rate: float, momentum: float
) -> optax.GradientTransformation:
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
  optimizer: optax.GradientTransformation,
  params_D: Array,
  optimizer_state: OptimizerState,
  update_D: Array,
  mask_D: Array | None,
  candidates_D: Array | None = None,
) -> tuple[Array, OptimizerState]:
  """Takes one server step along the averaged update.

  Args:
    optimizer: the server's optimiser.
    params_D: float32 [D], the global model that the clients received.
    optimizer_state: its state.
    update_D: float32 [D], the weighted mean of the clients' updates.
    mask_D: bool [D] or None; entries outside stay exactly 0, also where
      momentum from before they were pruned would move them. What the optimiser
      remembers of them is forgotten.
    candidates_D: bool [D] or None; entries inside the mask that were pruned
      until now, and start anew in the optimiser, too.

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
  updates, optimizer_state = optimizer.update(
    -update_D, optimizer_state, params_D
  )
  params_D = optax.apply_updates(params_D, updates)
  if mask_D is not None:
    params_D = jnp.where(mask_D, params_D, 0.0)
  return params_D, optimizer_state
