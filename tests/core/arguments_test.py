"""Tests of `core.arguments`: what is taken, and what refused by name."""

import math
import re
from typing import Any

import pytest

from fps_jax.core import arguments


@pytest.mark.parametrize('value', [1, 1e-30, 3.4e38])
def test_positive_numbers_are_taken(value: float) -> None:
  arguments.check_positive('factor', value)


@pytest.mark.parametrize(
  'value', [0, -1, 0.0, math.nan, math.inf, 1e39, 10**400, True, '1', None]
)
def test_other_values_are_not_positive_numbers(value: Any) -> None:
  message = f'factor={value!r} must be above 0 and finite, at most 3.40e+38'
  with pytest.raises(ValueError, match=re.escape(message)):
    arguments.check_positive('factor', value)


def test_whole_numbers_are_taken_from_the_least_on() -> None:
  arguments.check_whole('size', 2, least=2)
  for value in (1, 2.0, '2', True, None, math.nan):
    message = f'size={value!r} must be a whole number, at least 2'
    with pytest.raises(ValueError, match=re.escape(message)):
      arguments.check_whole('size', value, least=2)


def test_choices_are_taken_and_others_named() -> None:
  arguments.check_choice('target', 'first', ('first', 'last'))
  message = "target='next' is not one of ('first', 'last')"
  with pytest.raises(ValueError, match=re.escape(message)):
    arguments.check_choice('target', 'next', ('first', 'last'))
