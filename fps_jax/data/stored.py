"""Arrays that stay where they are stored, of which rows are read when needed.

For a process that needs some rows of a data set, and never has all of them.
"""

import math
import typing
from typing import Any, Protocol

import numpy as np

from fps_jax.core.host_memory import aligned_empty

Rows = np.ndarray | slice


class ReadInto(Protocol):
  """Reads rows of an array, each at most once."""

  def __call__(self, rows: np.ndarray, into: np.ndarray, /) -> None:
    """Fills an array of as many rows.

    Raises:
      ValueError: if they cannot be read.
    """


class Stored:
  """An array as far as its shape, type, `len` and rows go: `stored[rows]`.

  Rows that are asked for twice in a row are read once.

  >>> def read(rows, into):
  ...   into[:] = rows[:, np.newaxis]
  >>> tens = Stored((100, 1), np.dtype(np.int32), 'tens', read)
  >>> tens[30:33].tolist(), len(tens), tens.num_read
  ([[30], [31], [32]], 100, 3)

  Attributes:
    shape: of all rows.
    dtype: of them.
    digest: what tells the array from any other.
    num_read: rows read so far.
  """

  def __init__(
    self,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    digest: str,
    read_into: ReadInto,
  ):
    """Reads nothing yet; the arguments are attributes, and what reads."""
    self.shape, self.dtype, self.digest = shape, dtype, digest
    self.num_read = 0
    self._read_into = read_into
    self._rows, self._last = np.zeros(0, np.int64), self._empty(0)

  @property
  def ndim(self) -> int:
    """How many dimensions it has."""
    return len(self.shape)

  @property
  def size(self) -> int:
    """How many values it has."""
    return math.prod(self.shape)

  def __len__(self) -> int:
    """Returns how many rows it has."""
    return self.shape[0]

  def __getitem__(self, rows: Rows) -> np.ndarray:
    """Returns rows, read-only.

    Args:
      rows: their numbers, a slice of these, or whether each is one of them.

    Raises:
      ValueError: if they cannot be read, or hold a number that is not finite.
    """
    numbers = np.arange(len(self))[rows]
    if not np.array_equal(numbers, self._rows):
      self._forget()  # Never two of them at a time.
      read = self._empty(len(numbers))
      self._read_into(numbers, read)
      _check_finite(numbers, read)
      read.flags.writeable = False
      self._rows, self._last = numbers, read
      self.num_read += len(numbers)
    return self._last

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
    """Returns all rows, which are the caller's to change."""
    del copy  # They always are one.
    rows = self[:]
    self._forget()
    rows.flags.writeable = True
    return rows.astype(dtype or self.dtype, copy=False)

  def _forget(self) -> None:
    self._rows, self._last = self._rows[:0], self._empty(0)

  def _empty(self, count: int) -> np.ndarray:
    return aligned_empty((count, *self.shape[1:]), self.dtype)

  def as_array(self) -> np.ndarray:
    """Returns itself, for whoever asks no more of an array than this has."""
    return typing.cast(np.ndarray, self)


def _check_finite(rows: np.ndarray, values: np.ndarray) -> None:
  if values.dtype == np.float32 and not np.isfinite(values).all():
    row = rows[int(np.argwhere(~np.isfinite(values))[0, 0])]
    raise ValueError(
      f'inputs of example {row} are not finite: leave it out, or replace nan '
      'and inf'
    )


def select(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Returns rows of an array; of one that is stored, none is read yet."""
  if not isinstance(array, Stored):
    return array[rows]

  def read_into(numbers: np.ndarray, into: np.ndarray) -> None:
    into[:] = array[rows[numbers]]

  shape = (len(rows), *array.shape[1:])
  return Stored(shape, array.dtype, array.digest, read_into).as_array()
