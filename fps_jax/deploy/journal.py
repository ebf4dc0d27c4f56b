"""Lines that a party keeps on disk of what it has given away."""

import os
import pathlib
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar('_T')


def read(path: pathlib.Path, parse: Callable[[str], _T]) -> list[_T]:
  """Returns what the lines of a file say; none if there is no file.

  A last line that was cut off while it was written is taken away: what it would
  have been of was given to nobody.

  Args:
    path: of the file.
    parse: a line -> what it says, or a ValueError.

  Raises:
    ValueError: if a line is damaged.
  """
  text = path.read_text() if path.exists() else ''
  whole = text[: text.rfind('\n') + 1]
  if whole != text:
    path.write_text(whole)
  found = []
  for line in whole.splitlines():
    try:
      found.append(parse(line))
    except ValueError as error:
      raise ValueError(
        f'{path} is damaged at {line!r}: put back a copy of it; without one, '
        'remove it, and begin a study of another name'
      ) from error
  return found


def add(path: pathlib.Path, *words: object) -> None:
  """Adds a line of words, which is on disk when this returns."""
  with path.open('a') as file:
    print(*words, file=file)
    file.flush()
    os.fsync(file.fileno())
