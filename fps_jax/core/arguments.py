"""Checks of arguments that a config names: of attacks, defences and others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_LARGEST = float(np.finfo(np.float32).max)


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
