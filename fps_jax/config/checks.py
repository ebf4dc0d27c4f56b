"""What a value may be by itself: checks that fields of a config are given."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np

from fps_jax.core.registry import is_number, is_whole

# A value to what is wrong with it, in words that follow `name=value`.
Check = Callable[[Any], Iterable[str]]

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)
_MAX_INT32 = 2**31 - 1
_SHOWN = 100


def whole(least: int, most: int = _MAX_INT32) -> Check:
  """Returns the check of an int in [least, most]."""

  def check(value: Any) -> Iterator[str]:
    if not is_whole(value):
      yield f'must be a whole number, in [{least}, {most}]'
    elif value < least:
      yield f'must be at least {least}'
    elif value > most:
      yield f'must be at most {most}'

  return check


def within(least: float, most: float, brackets: str = '[]') -> Check:
  """Returns the check of a number in an interval, open where it is round."""
  interval = f'{brackets[0]}{least}, {most}{brackets[1]}'

  def check(value: Any) -> Iterator[str]:
    if not is_number(value):
      yield f'must be a number in {interval}'
    elif not _is_finite(value):
      yield f'must be finite, in {interval}'
    elif not least <= value <= most or (
      (value == least and brackets[0] == '(')
      or (value == most and brackets[1] == ')')
    ):
      yield f'must be in {interval}'

  return check


def finite(value: Any) -> Iterator[str]:
  """Checks a number of any sign that float32 holds."""
  if not is_number(value):
    yield 'must be a number'
  elif not _is_finite(value):
    yield 'must be finite'
  elif abs(value) > _LARGEST:
    yield f'must be in +-{_LARGEST:.2e}, the largest of float32'


def at_least_zero(value: Any) -> Iterator[str]:
  """Checks a number of at least 0 that float32 holds."""
  yield from finite(value)
  if is_number(value) and value < 0:
    yield 'must be at least 0'


def above_zero(value: Any) -> Iterator[str]:
  """Checks a number above 0 that float32 holds, and does not round to 0."""
  yield from finite(value)
  if is_number(value) and value <= 0:
    yield 'must be above 0'
  elif is_number(value) and value < _SMALLEST:
    yield f'must be at least {_SMALLEST:.2e}, the smallest of float32'


def boolean(value: Any) -> Iterator[str]:
  """Checks a bool."""
  if not isinstance(value, bool):
    yield 'must be True or False'


def text(value: Any) -> Iterator[str]:
  """Checks a text, which may be empty."""
  if not isinstance(value, str):
    yield 'must be text'


def name(value: Any) -> Iterator[str]:
  """Checks a text that is not empty."""
  if not isinstance(value, str) or not value:
    yield 'must be a name'


def choice(*groups: Collection[str]) -> Check:
  """Returns the check of a name; registries are read when it is checked."""

  def check(value: Any) -> Iterator[str]:
    known = [name for group in groups for name in group]
    if value not in known:
      yield f'is not one of {sorted(known)}'

  return check


def each(check: Check, length: int | None = None, least: int = 0) -> Check:
  """Returns the check of a tuple, all of whose entries must pass another."""

  def check_all(values: Any) -> Iterator[str]:
    if not isinstance(values, tuple):
      yield 'must be a tuple'
      return
    if length is not None and len(values) != length:
      yield f'must have {length} entries'
    elif len(values) < least:
      yield f'must hold at least {least} of them'
    for value in values:
      for problem in check(value):
        yield f'has the entry {show(value)}, which {problem}'

  return check_all


def row(form: str, *checks: Check) -> Check:
  """Returns the check of a tuple whose entries have a check each.

  Args:
    form: what the entries are, such as `(N, k, l)`.
    *checks: of the entries, in order.
  """

  def check_row(values: Any) -> Iterator[str]:
    if not isinstance(values, tuple) or len(values) != len(checks):
      yield f'must be {form}'
      return
    for check, value in zip(checks, values, strict=True):
      for problem in check(value):
        yield f'must be {form}, but its {show(value)} {problem}'

  return check_row


def optional(check: Check) -> Check:
  """Returns the check of a value that may be None."""
  return lambda value: () if value is None else check(value)


def show(value: Any) -> str:
  """Returns a value as a line of at most about a hundred characters."""
  if is_whole(value) and value.bit_length() > 128:
    return f'(an int of {value.bit_length()} bits)'
  try:
    text = ' '.join(repr(value).split())
  except ValueError:
    return '(more digits than can be shown)'
  return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'


def _is_finite(value: float) -> bool:
  # An int may be too large to be asked.
  return is_whole(value) or math.isfinite(value)
