"""Files and folders: what is said where one cannot be read or written.

Python names neither the file, where a disk is full, nor ever what to do.
"""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterator

# Of a file that is being written: none that is whole ends so.
PART = '.part'
_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://')
_SHOWN = 200
_MAKE_ROOM = 'make room there, then run the same command again'
# What helps with an error, wherever it is met.
_CURES = {
  errno.ENOSPC: _MAKE_ROOM,
  errno.EDQUOT: _MAKE_ROOM,
  errno.EFBIG: _MAKE_ROOM,
  errno.ENAMETOOLONG: 'give a shorter path, or a shorter name of a variant',
}


class PathError(ValueError):
  """No file of this machine has such a path; the message says what to do."""


def show(path: str | os.PathLike[str]) -> str:
  r"""Returns a path for a message: one line, and not too long a one.

  >>> show('runs/mine'), show('a' * 999)[-10:], show('two\nlines')
  ('runs/mine', '...aaaaaaa', "'two\\nlines'")
  """
  text = os.fspath(path)
  if len(text) > _SHOWN:
    text = f'{text[:_SHOWN]}...{text[-7:]}'
  return text if text.isprintable() else ascii(text)


def local(path: str | os.PathLike[str], name: str) -> pathlib.Path:
  """Returns a path of this machine that a user gave.

  Args:
    path: it need not exist.
    name: of what the user set, for the message.

  Raises:
    PathError: if it has a NUL, is the address of something elsewhere, or has
      letters that this process spells otherwise than the libraries which write
      checkpoints.
  """
  text = os.fspath(path)
  if '\0' in text:
    raise PathError(f'{name}={text!a} has a NUL, as no path has: omit it')
  if _URL.match(text):
    raise PathError(
      f'{name}={show(text)} is not a folder of this machine: give one that is, '
      'and copy what it is to hold'
    )
  absolute = os.path.abspath(text)
  try:
    is_utf_8 = os.fsencode(absolute) == absolute.encode()
  except UnicodeEncodeError:
    is_utf_8 = False
  if not is_utf_8:
    raise PathError(
      f'{name}={text!a}: {absolute!a} is not UTF-8 to this process: '
      'set PYTHONUTF8=1, or give a path of ASCII letters'
    )
  return pathlib.Path(path)


@contextlib.contextmanager
def naming(
  path: str | os.PathLike[str],
  cure: str = 'give another --workdir',
  problem: str = 'cannot be read or written',
) -> Iterator[None]:
  """Has an error of the system's name the file, and say what to do.

  Args:
    path: what is read or written, where the error does not name it.
    cure: where the kind of error has none of its own.
    problem: what is said of the file.

  Raises:
    OSError: of the same class; one that has been named already as it is.
  """
  try:
    yield
  except OSError as error:
    if error.errno is None:
      raise
    named = error.filename if isinstance(error.filename, str) else path
    raise type(error)(
      f'{show(named)} {problem} ({error.strerror}): '
      f'{_CURES.get(error.errno, cure)}'
    ) from error


def cure_of(error: BaseException | None) -> str:
  """Returns what helps with an error, or with what caused it: else, room."""
  while error is not None:
    if isinstance(error, OSError) and error.errno in _CURES:
      return _CURES[error.errno]
    error = error.__cause__ or error.__context__
  return _MAKE_ROOM


def write_text(
  path: pathlib.Path, text: str, cure: str = 'give another --workdir'
) -> None:
  """Writes a file in UTF-8, all of it or nothing; creates its folder.

  Raises:
    OSError: if it cannot be written; the message says what to do.
  """
  part = path.with_name(path.name + PART)
  with naming(path, cure, 'cannot be written to'):
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      # Of a command line there may be letters that UTF-8 has not.
      part.write_text(text, encoding='utf-8', errors='backslashreplace')
      os.replace(part, path)
    except OSError:
      part.unlink(missing_ok=True)
      raise


def read_text(path: pathlib.Path, cure: str = 'give another --workdir') -> str:
  """Reads a file in UTF-8.

  Raises:
    OSError: if it cannot be read; the message says what to do.
    UnicodeDecodeError: if it is not in UTF-8.
  """
  with naming(path, cure, 'cannot be read'):
    return path.read_text(encoding='utf-8')
