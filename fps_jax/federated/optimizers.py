"""Optimisers of clients, by name: those of optax, and any that a user adds.

To add one: a function of the learning rate and its own arguments that returns
an optax optimiser, and a line in `OPTIMIZERS`. One that a schedule is to hold
for must apply the learning rate last, as those of optax do.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from fps_jax.core.registry import Registry
from fps_jax.core.types import OptimizerState, Params

Optimizer: TypeAlias = optax.GradientTransformation


def sgd(
  learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> Optimizer:
  """Gradient descent, by default without momentum.

  Args:
    learning_rate: above 0.
    momentum: in [0, 1); 0 keeps no state.
    weight_decay: L2 penalty added to the gradient (coupled), >= 0.
  """
  plain = optax.sgd(learning_rate, momentum=momentum or None)
  if not weight_decay:
    return plain
  return optax.chain(optax.add_decayed_weights(weight_decay), plain)


# Of optax, those whose steps are proportional to the learning rate, and that
# need nothing but gradients and parameters.
OPTIMIZERS: Registry[Optimizer] = Registry(
  'client optimizer',
  {
    'sgd': sgd,
    'adabelief': optax.adabelief,
    'adadelta': optax.adadelta,
    'adagrad': optax.adagrad,
    'adam': optax.adam,
    'adamw': optax.adamw,
    'amsgrad': optax.amsgrad,
    'lamb': optax.lamb,
    'lion': optax.lion,
    'nadam': optax.nadam,
    'nadamw': optax.nadamw,
    'radam': optax.radam,
    'rmsprop': optax.rmsprop,
    'sign_sgd': optax.sign_sgd,
    'yogi': optax.yogi,
  },
  num_first=1,
  # What a config cannot hold.
  given=('mask', 'mu_dtype', 'weight_decay_mask'),
)


def make(name: str, learning_rate: float, args: Mapping[str, Any]) -> Optimizer:
  """Returns a client's optimiser.

  Guarantee: parameters outside `mask`, an extra argument of its update, do not
  move, whatever the optimiser makes of gradients of 0.

  Args:
    name: a key of `OPTIMIZERS`.
    learning_rate: above 0.
    args: its other arguments, by name.

  Raises:
    ValueError: if the name or an argument is unknown, or as the optimiser says.
  """
  optimizer = OPTIMIZERS.make(name, args, learning_rate)
  # What has a gradient of 0 stays as it is under gradient descent.
  is_plain = OPTIMIZERS[name] is sgd and not args.get('weight_decay')
  return optimizer if is_plain else _masked(optimizer)


def _masked(optimizer: Optimizer) -> Optimizer:
  """Returns an optimiser that moves nothing outside the mask that it is given.

  Yogi begins with moments that are not 0, and others may add noise.
  """
  inner = optax.with_extra_args_support(optimizer)

  def update(
    gradients: Params,
    state: OptimizerState,
    params: Params | None = None,
    mask: Params | None = None,
    **others: Any,
  ) -> tuple[Params, OptimizerState]:
    updates, state = inner.update(gradients, state, params, **others)
    if mask is not None:
      updates = jax.tree.map(
        lambda step, kept: jnp.where(kept, step, 0.0), updates, mask
      )
    return updates, state

  return optax.GradientTransformationExtraArgs(inner.init, update)
