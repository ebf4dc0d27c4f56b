"""Checks of what library functions are given: types, shapes and values.

Types and shapes are known while a program is traced, so that to check them
costs nothing when it runs. Values are checked where they are known: those of an
array outside of a program, which waits for its device; not those of a traced
one. So what is called in the loops of a program may check its arguments, too.

Every error is a ValueError that names the argument, what it is, what it must be
and a cure. Where an argument may be an array or a number, as it may be traced,
a number is checked by value.

Example:
  >>> check('words_M', np.uint32([1, 2]), np.uint32, ('M',))
  >>> check('words_M', np.float32([1, 2]), np.uint32, ('M',))
  Traceback (most recent call last):
  ...
  ValueError: words_M is float32 [2], must be uint32 [M]: convert it where \
nothing is lost, as nothing is rounded or wrapped here
  >>> check('a_CxC', np.ones((2, 3)), np.float64, ('C', 'C'))
  Traceback (most recent call last):
  ...
  ValueError: a_CxC is float64 [2, 3], must be float64 [C, C]: give it these \
axes
"""

import operator
from types import EllipsisType
from typing import Any

import jax
import numpy as np

# A number is that length, a letter any length, the same wherever it stands, and
# `...` any axes.
Shape = tuple[int | str | EllipsisType, ...]


def check(name: str, array: Any, dtype: Any, shape: Shape = (...,)) -> None:
  """Checks the type and the shape of an array, which may be traced.

  Args:
    name: of the argument.
    array: of NumPy or JAX.
    dtype: what its type must be.
    shape: what its shape must be.

  Raises:
    ValueError: if it is no array, or of another type or shape.
  """
  expected = np.dtype(dtype)
  if not hasattr(array, 'dtype') or not hasattr(array, 'shape'):
    raise ValueError(
      f'{name} is of type {type(array).__name__}, must be an array, '
      f'{expected} {_format(shape)}: make it one'
    )
  cure = None
  if array.dtype != expected:
    cure = (
      'convert it where nothing is lost, as nothing is rounded or wrapped here'
    )
  elif not _fits(array.shape, shape):
    cure = 'give it these axes'
  if cure:
    raise ValueError(
      f'{name} is {array.dtype} {_format(array.shape)}, must be {expected} '
      f'{_format(shape)}: {cure}'
    )


def check_range(
  name: str, array: Any, least: float, most: float, cure: str
) -> None:
  """Checks that the values of an array, where they are known, are in a range.

  Args:
    name: of the argument.
    array: of NumPy or JAX; may be traced.
    least: the least value that is taken.
    most: the greatest one.
    cure: what the error ends with.

  Raises:
    ValueError: if a value is below `least`, above `most` or NaN.
  """
  values = known(array)
  if values is None or not values.size:
    return
  # Two numbers, and no array of comparisons, for most arrays.
  if values.min() >= least and values.max() <= most:
    return
  outside = ~((values >= least) & (values <= most))
  place = np.unravel_index(outside.argmax(), outside.shape)
  at = f' at {[int(i) for i in place]}' if place else ''
  raise ValueError(
    f'{name} is {values[place]}{at}, must be in [{least}, {most}]: {cure}'
  )


def check_integer(
  name: str, value: Any, least: int | None = None, most: int | None = None
) -> None:
  """Checks an integer: one of Python, or an array [] of them.

  Args:
    name: of the argument.
    value: the number; where it is traced, its type and shape alone are checked.
    least: the least that is taken; None for no limit.
    most: the greatest one; None for no limit.

  Raises:
    ValueError: if it is no integer, or out of range.
  """
  dtype = getattr(value, 'dtype', None)
  is_integer = (
    isinstance(value, int) and not isinstance(value, bool)
    if dtype is None
    else np.issubdtype(dtype, np.integer) and value.shape == ()
  )
  bounds = '' if least is None else f' at least {least}'
  if most is not None:
    bounds = f' in [{least}, {most}]'
  if not is_integer:
    given = (
      type(value).__name__ if dtype is None else f'{dtype} {list(value.shape)}'
    )
    raise ValueError(
      f'{name}={value} is of type {given}, expected an integer{bounds}: make '
      'it one, as nothing is rounded'
    )
  # A traced number has been checked as far as it can be.
  values = value if dtype is None else known(value)
  if values is None:
    return
  number = operator.index(values)
  if (least is not None and number < least) or (
    most is not None and number > most
  ):
    raise ValueError(f'{name}={number} must be{bounds}')


def check_broadcast(**arrays: Any) -> None:
  """Checks that the shapes of arrays, by their names, broadcast.

  Raises:
    ValueError: if they do not.
  """
  shapes = {name: array.shape for name, array in arrays.items()}
  try:
    np.broadcast_shapes(*shapes.values())
  except ValueError as error:
    listed = ' and '.join(f'{name} {_format(s)}' for name, s in shapes.items())
    raise ValueError(
      f'{listed} do not broadcast: give them the same shape'
    ) from error


def plain(value: Any) -> Any:
  """Returns a scalar of NumPy as one of Python, and all else as it is."""
  return value.item() if isinstance(value, np.generic) else value


def known(array: Any) -> np.ndarray | None:
  """Returns the values of an array; None where not all of them are here."""
  if isinstance(array, jax.core.Tracer):
    return None
  if isinstance(array, jax.Array) and not array.is_fully_addressable:
    return None
  if isinstance(array, (np.ndarray, np.generic, jax.Array)):
    return np.asarray(array)
  return None


def _fits(actual: tuple[int, ...], expected: Shape) -> bool:
  if ... in expected:
    start = expected.index(...)
    left_out = len(actual) - (len(expected) - 1)
    if left_out < 0:
      return False
    actual = (*actual[:start], *actual[start + left_out :])
    expected = (*expected[:start], *expected[start + 1 :])
  lengths: dict[object, int] = {}
  return len(actual) == len(expected) and all(
    size == (axis if isinstance(axis, int) else lengths.setdefault(axis, size))
    for size, axis in zip(actual, expected, strict=True)
  )


def _format(shape: Shape) -> str:
  parts = ('...' if length is ... else str(length) for length in shape)
  return f'[{", ".join(parts)}]'
