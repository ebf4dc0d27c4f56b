"""Schedules of a learning rate over rounds: what it is multiplied by in each.

They hold for clients and for the central server alike. To add one: a function
(round, num_rounds, its own arguments) -> factor, and a line in `SCHEDULES`. It
is called on the host, once for each round, before the first one.

An optimiser is scheduled by multiplying its steps. Optax's optimisers end with
a multiplication by the learning rate, so that this is what they do with a
schedule of their own, but for rounding. One that keeps what it has multiplied
already, as rmsprop with momentum, is the same within a round, too, in which the
factor does not change: clients begin their state afresh in each.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.core import registry
from fps_jax.core.registry import Registry
from fps_jax.core.types import Array, OptimizerState, Params

CONSTANT = 'constant'


def constant(round: int, num_rounds: int) -> float:
  """The learning rate as it is in every round."""
  del round, num_rounds
  return 1.0


def cosine(round: int, num_rounds: int, final: float = 0.0) -> float:
  """Half a wave down, to `final` after the last round.

  I. Loshchilov and F. Hutter, SGDR, ICLR 2017, without restarts.
  """
  _check_fraction('final', final)
  wave = (1 + math.cos(math.pi * round / num_rounds)) / 2
  return final + (1 - final) * wave


def linear(round: int, num_rounds: int, final: float = 0.0) -> float:
  """A straight line down, to `final` after the last round."""
  _check_fraction('final', final)
  return 1 + (final - 1) * round / num_rounds


def step(
  round: int, num_rounds: int, every: int = 10, factor: float = 0.5
) -> float:
  """Multiplied by `factor` after every so many rounds."""
  del num_rounds
  registry.check_whole('every', every, 1)
  registry.check_positive('factor', factor)
  return factor ** (round // every)


def exponential(round: int, num_rounds: int, factor: float = 0.99) -> float:
  """Multiplied by `factor` after every round."""
  del num_rounds
  registry.check_positive('factor', factor)
  return factor**round


SCHEDULES: Registry[float] = Registry(
  'schedule',
  {
    function.__name__: function
    for function in (constant, cosine, exponential, linear, step)
  },
  num_first=2,
)


def factors(
  name: str, args: Mapping[str, Any], num_rounds: int, warmup_rounds: int = 0
) -> np.ndarray | None:
  """Returns what a learning rate is multiplied by in each round.

  In warm-up round r, from 0, that is (r + 1) / (warmup_rounds + 1); the
  schedule is that of the rounds after.

  Args:
    name: a key of `SCHEDULES`.
    args: its arguments, by name.
    num_rounds: of the run.
    warmup_rounds: below `num_rounds`; 0 for none.

  Returns:
    float32 [num_rounds], each above 0; None where all are 1 by definition.

  Raises:
    ValueError: if the name or an argument is unknown, or a factor is not above
      0 and finite.
  """
  if warmup_rounds >= num_rounds:
    raise ValueError(
      f'warmup_rounds={warmup_rounds} must be below num_rounds={num_rounds}'
    )
  rest = num_rounds - warmup_rounds
  SCHEDULES.check(name, args)
  if name == CONSTANT and not warmup_rounds:
    return None
  values = [
    *((r + 1) / (warmup_rounds + 1) for r in range(warmup_rounds)),
    *(_factor(name, args, r, rest) for r in range(rest)),
  ]
  with np.errstate(over='ignore'):
    found = np.asarray(values, np.float32)
  wrong = np.flatnonzero(~(np.isfinite(found) & (found > 0)))
  if len(wrong):
    raise ValueError(
      f'schedule {name!r} is {found[wrong[0]]} in round {1 + wrong[0]} of '
      f'{num_rounds}, must be above 0 and finite: change its arguments'
    )
  return found


def _factor(
  name: str, args: Mapping[str, Any], round: int, num_rounds: int
) -> float:
  """Returns a factor; infinity where it is more than Python's floats hold."""
  try:
    factor = SCHEDULES[name](round, num_rounds, **args)
    # NumPy makes no float of an int that is too large for it.
    return float(factor) if isinstance(factor, int) else factor
  except OverflowError:
    return math.inf


def scheduled(
  optimizer: optax.GradientTransformation, factors_R: np.ndarray | None
) -> optax.GradientTransformation:
  """Returns an optimiser whose steps are multiplied by the round's factor.

  Its update takes the round, int32 [] from 0, as the extra argument `round`.

  Args:
    optimizer: whose steps are proportional to its learning rate.
    factors_R: of `factors`; None for the optimiser itself.
  """
  if factors_R is None:
    return optimizer
  inner = optax.with_extra_args_support(optimizer)

  def update(
    gradients: Params,
    state: OptimizerState,
    params: Params | None = None,
    *,
    round: Array,
    **others: Any,
  ) -> tuple[Params, OptimizerState]:
    updates, state = inner.update(gradients, state, params, **others)
    factor = jnp.asarray(factors_R)[round]
    return jax.tree.map(lambda step: factor * step, updates), state

  return optax.GradientTransformationExtraArgs(inner.init, update)


def _check_fraction(name: str, value: Any) -> None:
  if not registry.is_number(value) or not 0 <= value <= 1:
    raise ValueError(f'{name}={value!r} must be in [0, 1]')
