"""Functions by name, and checks of the arguments that a user gives them.

Example:
  >>> def limit(generator, num_clients, *, low, high=1.0): ...
  >>> limits = Registry('limit', {'uniform': limit}, num_first=2)
  >>> limits.arguments('uniform')
  ['low', 'high']
  >>> limits.misfit('uniform', {'lw': 0.5})
  "takes the arguments ['low', 'high']: missing a required argument: 'low'"
  >>> limits.check_name('unform')
  Traceback (most recent call last):
  ...
  ValueError: limit 'unform' is not one of ['uniform']: did you mean 'uniform'?
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fps_jax.core.nearest import nearest

_LARGEST = float(np.finfo(np.float32).max)

T = TypeVar('T')


class Registry(dict[str, Callable[..., T]]):
  """What makes things of one kind, by name; users add entries of their own.

  Attributes:
    kind: what an entry is, for errors.
    num_first: the first parameters of every entry, which no user gives.
    given: the names of others that no user gives.
    noun: what the other parameters are called in errors.
  """

  def __init__(
    self,
    kind: str,
    entries: Mapping[str, Callable[..., T]],
    num_first: int = 0,
    given: Collection[str] = (),
    noun: str = 'arguments',
  ) -> None:
    super().__init__(entries)
    self.kind, self.num_first = kind, num_first
    self.given, self.noun = given, noun

  def make(
    self, name: str, args: Mapping[str, Any], *first: Any, **given: Any
  ) -> T:
    """Returns what an entry makes.

    Args:
      name: of the entry.
      args: what a user gives it, by name.
      *first: its first `num_first` arguments.
      **given: those of `self.given`.

    Raises:
      ValueError: if the name or an argument is unknown, an argument is missing,
        or as the entry says.
    """
    self.check(name, args)
    return self[name](*first, **given, **args)

  def check(self, name: str, args: Mapping[str, Any]) -> None:
    """Checks a name and the arguments that a user gives.

    Raises:
      ValueError: if the name or an argument is unknown, or one is missing.
    """
    self.check_name(name)
    if misfit := self.misfit(name, args):
      raise ValueError(f'{self.kind} {name!r} {misfit}')

  def check_name(self, name: str, *others: Collection[str]) -> None:
    """Checks that a name is an entry's, or in a collection of others.

    Raises:
      ValueError: if it is not.
    """
    known = sorted({*self, *(one for other in others for one in other)})
    if name not in known:
      near = nearest(name, known)
      hint = f': did you mean {near!r}?' if near else ''
      raise ValueError(f'{self.kind} {name!r} is not one of {known}{hint}')

  def misfit(self, name: str, args: Mapping[str, Any]) -> str:
    """Says why an entry does not take arguments; nothing if it does."""
    try:
      self._signature(name).bind(*[None] * self.num_first, **args)
    except TypeError as error:
      return f'takes the {self.noun} {self._names(name)}: {error}'
    return ''

  def arguments(self, name: str) -> list[str] | None:
    """Returns the names of what a user may give; None if any will do."""
    parameters = self._signature(name).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
      return None
    return self._names(name)

  def _names(self, name: str) -> list[str]:
    return list(self._signature(name).parameters)[self.num_first :]

  def _signature(self, name: str) -> inspect.Signature:
    # Read when asked, as users add entries while a program runs.
    whole = inspect.signature(self[name])
    return whole.replace(
      parameters=[
        parameter
        for parameter in whole.parameters.values()
        if parameter.name not in self.given
      ]
    )


def check_positive(name: str, value: Any) -> None:
  """Checks a number that must be above 0 and finite in float32.

  Raises:
    ValueError: if it is not.
  """
  if not is_number(value) or not 0 < value <= _LARGEST:
    raise ValueError(
      f'{name}={value!r} must be above 0 and finite, at most {_LARGEST:.2e}'
    )


def check_whole(name: str, value: Any, least: int) -> None:
  """Checks a whole number that must not be too small.

  Raises:
    ValueError: if it is not an int, or below `least`.
  """
  if not is_whole(value) or value < least:
    raise ValueError(
      f'{name}={value!r} must be a whole number, at least {least}'
    )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
  """Checks a name that must be one of some.

  Raises:
    ValueError: if it is not.
  """
  if value not in choices:
    raise ValueError(f'{name}={value!r} is not one of {tuple(choices)}')


def is_number(value: Any) -> bool:
  """Returns whether a value is an int or a float, and no bool."""
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
  """Returns whether a value is an int, and no bool."""
  return isinstance(value, int) and not isinstance(value, bool)
