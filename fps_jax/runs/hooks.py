"""Numbers of one's own about every round: functions that are called after it.

To add one, write a function and a line, in a config file or anywhere else; then
name it in `eval.on_round`:

>>> def largest(context):
...   layers = context.params()
...   return {'largest_bias': float(abs(layers['output']['bias']).max())}
>>> ON_ROUND['largest'] = largest
>>> del ON_ROUND['largest']
"""

import copy
import dataclasses
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from fps_jax.core.registry import is_number
from fps_jax.core.types import Array, Params
from fps_jax.results.metrics import TYPES, MetricsRow

Numbers = Mapping[str, float | None]
# What a table has of a row besides its metrics.
_TAKEN = ('variant', 'seed', *TYPES)


class HookError(Exception):
  """A round could not be measured; the message names the hook and the round."""


@dataclasses.dataclass(frozen=True)
class RoundContext:
  """What a hook is told of a round.

  Attributes:
    row: the round's metrics, with what hooks before it have added; a copy.
    variant: name of the run's variant.
    seed: of the run.
    params: returns the model after the round, a pytree of NumPy arrays of its
      own; fetched from the devices when it is called, which it may be while the
      hook runs.
  """

  row: Mapping[str, Any]
  variant: str
  seed: int
  params: Callable[[], Params]


class OnRound(Protocol):
  """Is called after every round, in process 0 alone.

  The parameters are the same in all processes, so that it can ask for them.
  Whatever needs the other processes, such as a sum over all devices, would wait
  for them for ever.
  """

  def __call__(self, context: RoundContext, /) -> Numbers | None:
    """Returns columns of the round's row, or nothing.

    Returns:
      Python identifiers that are no column yet, to finite numbers of Python,
      NumPy or JAX (no bools, no dimensions), or None where there is nothing to
      say. A name that is missing is None, too.
    """


# Of which `eval.on_round` names some; users add to it.
ON_ROUND: dict[str, OnRound] = {}


class Hooks:
  """The hooks of one run, called in order."""

  def __init__(
    self,
    hooks: Mapping[str, OnRound],
    variant: str,
    seed: int,
    unravel: Callable[[Array], Params],
    before: Sequence[MetricsRow] = (),
  ) -> None:
    """Takes the hooks by their names, and the rows of the rounds before.

    Args:
      hooks: what is called, in order.
      variant: name of the run's variant.
      seed: of the run.
      unravel: float32 [D] -> pytree of parameters.
      before: rows of the rounds before, whose columns later ones have, too.
    """
    self._hooks, self._unravel = hooks, unravel
    self._variant, self._seed = variant, seed
    own = (name for row in before for name in row if name not in TYPES)
    self._names = dict.fromkeys(own)

  def __call__(self, row: MetricsRow, params_D: Array) -> dict[str, Any]:
    """Returns what all hooks make of a round.

    Raises:
      HookError: if one fails, or returns what no row may have.
    """

    def fetch() -> Params:
      # On a CPU, NumPy would otherwise look into memory that is donated next.
      return jax.tree.map(np.array, self._unravel(params_D))

    found: dict[str, Any] = {}
    for name, hook in self._hooks.items():
      told = {**row, **found}
      try:
        # What a hook does to its row, no other sees, nor the record.
        row_of_hook = copy.deepcopy(told)
        numbers = hook(
          RoundContext(row_of_hook, self._variant, self._seed, fetch)
        )
        found |= _checked({} if numbers is None else numbers, told)
      except Exception as error:
        raise HookError(
          f'on_round {name!r} in round {row["round"]} of {self._variant}, seed '
          f'{self._seed}: {_describe(error)}; the rounds so far are kept, this '
          'one without what it returns'
        ) from error
    missing = dict.fromkeys(self._names.keys() - found.keys())
    self._names |= found
    return {**found, **missing}


def _checked(numbers: Any, told: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what a hook returned, as Python's numbers.

  Raises:
    ValueError: if no row may have it.
  """
  if not isinstance(numbers, Mapping):
    raise ValueError(
      f'it returned a {type(numbers).__name__}: return a dict of names and '
      'numbers, or None'
    )
  checked = {}
  for name, value in numbers.items():
    if not isinstance(name, str) or not name.isidentifier():
      raise ValueError(f'the name {name!r} must be a Python identifier')
    if name in _TAKEN or name in told:
      raise ValueError(f'there is a column {name!r} already: rename it')
    if value is not None and np.ndim(value) == 0 and hasattr(value, 'item'):
      value = value.item()
    if isinstance(value, np.longdouble):  # Its `item` is itself.
      value = float(value)
    if isinstance(value, bool):
      raise ValueError(
        f'{name}={value!r} must be a finite number, or None, and is a bool: '
        f'return int({name})'
      )
    if value is not None and not (is_number(value) and math.isfinite(value)):
      raise ValueError(f'{name}={value!r} must be a finite number, or None')
    checked[name] = value
  return checked


def _describe(error: Exception) -> str:
  """Returns an error in a line, with the place in the code where it was."""
  place = traceback.extract_tb(error.__traceback__)[-1]
  said = f'{type(error).__name__}: {" ".join(str(error).split())}'
  if place.filename == __file__:
    return said
  return f'{said} ({place.filename}:{place.lineno})'
