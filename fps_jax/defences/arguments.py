"""Checks of the rules' arguments."""

import math
from typing import Any


def check_positive(name: str, value: Any) -> None:
  """Raises a ValueError unless the value is a finite number above 0."""
  is_number = isinstance(value, (int, float)) and math.isfinite(value)
  if not is_number or value <= 0:
    raise ValueError(f'{name}={value!r} must be a finite number above 0')


def check_whole(name: str, value: Any, least: int) -> None:
  """Raises a ValueError unless the value is an int, at least `least`."""
  if not isinstance(value, int) or value < least:
    raise ValueError(
      f'{name}={value!r} must be a whole number, at least {least}'
    )
