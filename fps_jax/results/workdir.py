"""Work directories: of one config each, of one process at a time."""

import contextlib
import fcntl
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from ml_collections import ConfigDict

from fps_jax.core import files
from fps_jax.results.differences import compare

_CONFIG, _LOCK = 'config.json', 'lock'
_MAX_NAME = 100
# What jobs write at the top of a work directory, beside the variants' folders:
# these, and files that end like that. A file of another kind needs a line here.
_TAKEN = ('.', '..', _LOCK, 'cluster', 'profile', 'source', 'tensorboard')
_ENDINGS = ('.json', '.md', '.csv', '.png', '.pdf', '.html', files.PART)
NAME_RULE = (
  f'must name a folder: 1 to {_MAX_NAME} printable characters, no / or \\, '
  f'none of {" ".join(_TAKEN)}, and no end like {" ".join(_ENDINGS)}'
)


@contextlib.contextmanager
def hold(
  workdir: pathlib.Path, config: ConfigDict, overwrite: bool = False
) -> Iterator[int | None]:
  """Makes a work directory this process's own, for a new study or an old one.

  Args:
    workdir: created if need be. What is in it stays, if it is of this config,
      but for how many rounds it has.
    config: of the study.
    overwrite: whether what is there may be the study of another config.

  Yields:
    How many rounds the study that is there was to have; None without one that
    stays.

  Raises:
    ValueError: if it holds the study of another config, or anything that is
      not a study, or another process is at work in it.
    OSError: if it cannot be created or written to.
  """
  # Before there is a lock, for none is left where there is no study.
  _check_is_study(workdir)
  with _open_lock(workdir) as lock:
    _lock(workdir, lock)
    _check_is_study(workdir)
    if overwrite:
      yield None
    else:
      yield _check_config(workdir, json.loads(config.to_json()))


@contextlib.contextmanager
def lock(folder: pathlib.Path) -> Iterator[None]:
  """Makes a folder, created if need be, this process's own.

  Raises:
    ValueError: if another process is at work in it.
    OSError: if it cannot be created or locked.
  """
  with _open_lock(folder) as file:
    _lock(folder, file)
    yield


def _open_lock(workdir: pathlib.Path) -> TextIO:
  """Creates a work directory, and opens the file that tells who is in it."""
  with files.naming(workdir, problem='cannot be written to'):
    workdir.mkdir(parents=True, exist_ok=True)
    return (workdir / _LOCK).open('w')


def _lock(workdir: pathlib.Path, lock: TextIO) -> None:
  """Raises OSError or ValueError unless no other process has the lock."""
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise ValueError(
      f'work directory {workdir} is in use by another process: wait for it, '
      'or give another --workdir'
    ) from error
  except OSError as error:
    raise OSError(
      f'work directory {workdir} cannot be locked ({error.strerror}), which '
      'tells whether another process is at work there: give a --workdir on a '
      'disk of this machine'
    ) from error


def create(workdir: pathlib.Path) -> None:
  """Creates a work directory for what cannot be gone on with.

  Raises:
    ValueError: if it exists and is not empty.
    OSError: if it cannot be created.
  """
  with files.naming(workdir, problem='cannot be written to'):
    workdir.mkdir(parents=True, exist_ok=True)
    if any(workdir.iterdir()):
      raise _not_empty(workdir)


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a file of JSON, all of it or nothing; creates its folder."""
  files.write_text(path, json.dumps(content, indent=2) + '\n')


def _check_is_study(workdir: pathlib.Path) -> None:
  """Raises ValueError if a directory holds anything but a study."""
  with files.naming(workdir, problem='cannot be read'):
    if not workdir.is_dir():
      return
    names = {entry.name for entry in workdir.iterdir()}
  # No other program's folder has both. The config is a study's first file, and
  # the study may have been killed before it or while writing it.
  begun = names <= {_LOCK, _CONFIG + files.PART}
  if names and not (_LOCK in names and (begun or _CONFIG in names)):
    raise _not_empty(workdir)


def _check_config(
  workdir: pathlib.Path, config: Mapping[str, Any]
) -> int | None:
  """Returns the rounds of the study that is there; None if there is none.

  Raises:
    ValueError: if the directory is of another config, in more than its rounds.
  """
  path = workdir / _CONFIG
  if not path.exists():
    return None
  try:
    old = json.loads(files.read_text(path))
    changed = [field for field in compare([old, config]) if field.differs]
  except (ValueError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path} is not the JSON of a config ({error}): give another --workdir, '
      f'or --overwrite what is in {workdir}'
    ) from error
  if [field.name for field in changed] not in ([], ['num_rounds']):
    raise ValueError(
      f'work directory {workdir} holds a study of another config: give another '
      '--workdir, or --overwrite, or undo'
      + ''.join(
        f'\n  {field.name}: {field.values[0]} there, {field.values[1]} now'
        for field in changed
      )
    )
  return old.get('num_rounds')


def empty(workdir: pathlib.Path) -> None:
  """Removes a study that is held: all but the lock, and the config last."""
  with files.naming(workdir, problem='cannot be removed'):
    entries = sorted(workdir.iterdir(), key=lambda path: path.name == _CONFIG)
    for entry in entries:
      if entry.name == _LOCK:
        continue
      if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
      else:
        entry.unlink()


def _not_empty(workdir: pathlib.Path) -> ValueError:
  return ValueError(
    f'work directory {workdir} is not empty: give another --workdir, or '
    'remove it first'
  )


def is_name(name: Any) -> bool:
  """Returns whether a folder of a work directory may have a name.

  File systems differ in whether case tells names apart: here it does not.
  """
  return (
    isinstance(name, str)
    and 1 <= len(name) <= _MAX_NAME
    and name.isprintable()
    and not set(name) & set('/\\')
    and name.casefold() not in _TAKEN
    and not name.casefold().endswith(_ENDINGS)
  )
