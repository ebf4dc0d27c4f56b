"""What a study ran on: software, hardware, code, command line."""

import datetime
import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib import metadata
from types import MappingProxyType
from typing import Any

import jax

_PACKAGES = ('fps_jax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')
_PACKAGE_FOLDER = pathlib.Path(__file__).resolve().parents[1]
# Python works it out anew each time, and it is asked for of every module.
_STANDARD = sysconfig.get_path('stdlib')


def package_version(name: str) -> str | None:
  """Version of an installed distribution; None when it is not installed."""
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def cpu_model() -> str:
  """Name of the processor, as far as the system tells it."""
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  if cpuinfo.exists():
    for line in cpuinfo.read_text(encoding='utf-8').splitlines():
      key, _, value = line.partition(':')
      if key.strip() == 'model name':
        return value.strip()
  return platform.processor() or platform.machine()


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
  """Output of a git command in `folder`; None when it fails."""
  try:
    return subprocess.run(
      ['git', '-C', str(folder), *arguments],
      capture_output=True,
      check=True,
      text=True,
    ).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None


def describe_git(folder: pathlib.Path) -> tuple[str | None, bool | None]:
  """Describes the commit that the source in `folder` comes from.

  A virtual environment may lie inside some other project's checkout; so the
  commit counts only when git tracks files of `folder`.

  Args:
    folder: a folder of source files.

  Returns:
    The full commit hash, and whether `folder` differs from it (untracked files
    that git does not ignore count). Both None without git, outside a checkout,
    before the first commit, and where git tracks nothing in `folder`.
  """
  commit = _git(folder, 'rev-parse', '--verify', 'HEAD')
  if commit is None or not _git(folder, 'ls-files', '--', '.'):
    return None, None
  changes = _git(folder, 'status', '--porcelain', '--', '.')
  return commit, None if changes is None else bool(changes)


def code_sha256(folder: pathlib.Path = _PACKAGE_FOLDER) -> str:
  """Returns the SHA-256 of a folder's Python files and their names."""
  digest = hashlib.sha256()
  for path in sorted(folder.rglob('*.py')):
    content = path.read_bytes()
    name = path.relative_to(folder).as_posix()
    digest.update(f'{name} {len(content)}\n'.encode() + content)
  return digest.hexdigest()


def user_code(config_file: str | None) -> dict[str, bytes]:
  """Reads the code that is the user's own.

  Args:
    config_file: that the config was read from; None if it was not.

  Returns:
    The content of the config file, and of every module that has been imported
    so far and is neither Python's, nor installed, nor of this package; by its
    path from the config file's folder, or the name of a module that lies
    elsewhere. Nothing without a config file.

  Raises:
    OSError: if the config file cannot be read.
  """
  if config_file is None:
    return {}
  config_path = pathlib.Path(config_file).resolve()
  found = {config_path: config_path.name}
  for name, module in sorted(sys.modules.items()):
    file = getattr(module, '__file__', None)
    # What began the process is `fps-jax`, `launch.py` or the like.
    if not file or name == '__main__' or _is_installed(file):
      continue
    path = pathlib.Path(file).resolve()
    if path.is_relative_to(config_path.parent):
      name = path.relative_to(config_path.parent).as_posix()
    if path.is_file() and not path.is_relative_to(_PACKAGE_FOLDER):
      found.setdefault(path, name)
  return {name: path.read_bytes() for path, name in found.items()}


def _is_installed(file: str) -> bool:
  """Returns whether a module comes with Python or a package."""
  folders = {'site-packages', 'dist-packages'}
  path = pathlib.Path(file)
  return bool(folders & set(path.parts)) or path.is_relative_to(_STANDARD)


def code_of(environment: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the part of a description that must not change within a study."""
  names = ('code_sha256', 'packages', 'user_code', 'initial_models')
  return {name: environment[name] for name in names if name in environment}


def describe_environment(
  argv: Sequence[str], code: Mapping[str, bytes] = MappingProxyType({})
) -> dict[str, Any]:
  """Describes this process, so that its results can be traced.

  Args:
    argv: the command line to record.
    code: the user's own, as `user_code` returns it.

  Returns:
    A dict that `json.dumps` takes: `python`, `platform`, `cpu_model`,
    `cpu_logical_cores`, `packages` (name to version; None when not installed),
    `jax_backend`, `device_kind`, `device_count`, `git_commit` and `git_dirty`
    (see `describe_git`, of this package's folder), `code_sha256` (of its Python
    files), `user_code` (name to SHA-256), `argv`, and `started_utc`, the
    ISO-8601 time of the call.
  """
  git_commit, git_dirty = describe_git(_PACKAGE_FOLDER)
  devices = jax.devices()
  now = datetime.datetime.now(datetime.UTC)
  return {
    'python': platform.python_version(),
    'platform': platform.platform(),
    'cpu_model': cpu_model(),
    'cpu_logical_cores': os.cpu_count(),
    'packages': {name: package_version(name) for name in _PACKAGES},
    'jax_backend': jax.default_backend(),
    'device_kind': devices[0].device_kind,
    'device_count': len(devices),
    'git_commit': git_commit,
    'git_dirty': git_dirty,
    'code_sha256': code_sha256(),
    'user_code': {
      name: hashlib.sha256(content).hexdigest()
      for name, content in code.items()
    },
    'argv': list(argv),
    'started_utc': now.isoformat(timespec='seconds'),
  }
