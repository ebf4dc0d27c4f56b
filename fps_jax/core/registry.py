"""Attacks by name, their arguments checked."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


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
