"""Attacks by name, and checks of their arguments."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

_LARGEST = float(np.finfo(np.float32).max)


def build(
  factories: Mapping[str, Callable[..., Any]],
  name: str,
  *first: Any,
  **args: Any,
) -> Any:
  """Returns what the factory of a name makes.

  Args:
    factories: by name.
    name: a key of `factories`.
    *first: arguments that every factory takes first.
    **args: other arguments of that factory.

  Raises:
    ValueError: if the name or an argument is unknown, an argument is missing,
      or one is out of range.
  """
  if name not in factories:
    raise ValueError(f'attack {name!r} is not one of {sorted(factories)}')
  signature = inspect.signature(factories[name])
  try:
    signature.bind(*first, **args)
  except TypeError as error:
    own = list(signature.parameters)[len(first) :]
    raise ValueError(
      f'attack {name!r} takes the arguments {own}: {error}'
    ) from error
  return factories[name](*first, **args)


def check_positive(name: str, value: float) -> None:
  """Checks a number that must be above 0 and finite in float32.

  Raises:
    ValueError: if it is not.
  """
  if not 0 < value <= _LARGEST:
    raise ValueError(
      f'{name}={value} must be above 0 and finite, at most {_LARGEST:.2e}'
    )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
  """Checks a name that must be one of some.

  Raises:
    ValueError: if it is not.
  """
  if value not in choices:
    raise ValueError(f'{name}={value!r} is not one of {tuple(choices)}')
