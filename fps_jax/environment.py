"""What a study ran on: software, hardware, source version, command line."""

import datetime
import os
import pathlib
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import jax

_PACKAGES = ('fps_jax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')
_PACKAGE_FOLDER = pathlib.Path(__file__).resolve().parent


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


def describe_environment(argv: Sequence[str]) -> dict[str, Any]:
  """Describes this process, so that its results can be traced.

  Args:
    argv: the command line to record.

  Returns:
    A dict that `json.dumps` takes: `python`, `platform`, `cpu_model`,
    `cpu_logical_cores`, `packages` (name to version; None when not installed),
    `jax_backend`, `device_kind`, `device_count`, `git_commit` and `git_dirty`
    (see `describe_git`, of this package's folder), `argv`, and `started_utc`,
    the ISO-8601 time of the call.
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
    'argv': list(argv),
    'started_utc': now.isoformat(timespec='seconds'),
  }
