"""Tests of `core.registry`: what is taken, and what refused by name."""

import math
import re
from typing import Any

import pytest

from fps_jax.core import registry


@pytest.mark.parametrize('value', [1, 1e-30, 3.4e38])
def test_positive_numbers_are_taken(value: float) -> None:
  registry.check_positive('factor', value)


@pytest.mark.parametrize(
  'value', [0, -1, 0.0, math.nan, math.inf, 1e39, 10**400, True, '1', None]
)
def test_other_values_are_not_positive_numbers(value: Any) -> None:
  message = f'factor={value!r} must be above 0 and finite, at most 3.40e+38'
  with pytest.raises(ValueError, match=re.escape(message)):
    registry.check_positive('factor', value)


def test_whole_numbers_are_taken_from_the_least_on() -> None:
  registry.check_whole('size', 2, least=2)
  for value in (1, 2.0, '2', True, None, math.nan):
    message = f'size={value!r} must be a whole number, at least 2'
    with pytest.raises(ValueError, match=re.escape(message)):
      registry.check_whole('size', value, least=2)


def test_choices_are_taken_and_others_named() -> None:
  registry.check_choice('target', 'first', ('first', 'last'))
  message = "target='next' is not one of ('first', 'last')"
  with pytest.raises(ValueError, match=re.escape(message)):
    registry.check_choice('target', 'next', ('first', 'last'))


def _paint(canvas, *, colour, width=1.0):
  return canvas, colour, width


PAINTERS = registry.Registry(
  'painter', {'paint': _paint, 'wash': lambda canvas, **anything: anything}, 1
)


def test_entry_is_made_with_what_user_and_caller_give() -> None:
  assert PAINTERS.make('paint', {'colour': 3}, 'wall') == ('wall', 3, 1.0)
  assert PAINTERS.make('wash', {'soap': 2}, 'wall') == {'soap': 2}
  assert PAINTERS.arguments('paint') == ['colour', 'width']
  assert PAINTERS.arguments('wash') is None


@pytest.mark.parametrize(
  ('name', 'args', 'message'),
  [
    (
      'pant',
      {},
      "'pant' is not one of ['paint', 'wash']: did you mean 'paint'?",
    ),
    (None, {}, "None is not one of ['paint', 'wash']"),
    ('paint', {}, "'paint' takes the arguments ['colour', 'width']: missing"),
    (
      'paint',
      {'canvas': 1, 'colour': 2},
      "'paint' takes the arguments ['colour', 'width']: mul",
    ),
    (
      'paint',
      {'colour': 1, 'hue': 2},
      "'paint' takes the arguments ['colour', 'width']: got",
    ),
  ],
)
def test_unknown_names_and_arguments_are_refused(
  name: Any, args: dict[str, Any], message: str
) -> None:
  with pytest.raises(ValueError, match=re.escape(f'painter {message}')):
    PAINTERS.make(name, args, 'wall')


def test_what_the_caller_gives_by_name_is_no_argument_of_the_user() -> None:
  painters = registry.Registry(
    'painter', {'paint': _paint}, given=('canvas',), noun='fields'
  )
  assert painters.make('paint', {'colour': 3}, canvas=1) == (1, 3, 1.0)
  assert painters.arguments('paint') == ['colour', 'width']
  assert painters.misfit('paint', {'canvas': 2}).startswith('takes the fields')


def test_entries_may_be_added() -> None:
  painters = registry.Registry('painter', {'paint': _paint}, num_first=1)
  painters['mine'] = lambda canvas, size: size
  assert painters.make('mine', {'size': 2}, 'wall') == 2
