"""Warnings that a study began with, kept beside its results."""

import json
import pathlib
from collections.abc import Sequence

from fps_jax.core import files
from fps_jax.results.workdir import write_json

_FILE = 'warnings.json'


def keep(workdir: pathlib.Path, lines: Sequence[str]) -> None:
  """Writes warnings, for reports."""
  write_json(workdir / _FILE, list(lines))


def read(workdir: pathlib.Path) -> list[str]:
  """Returns what was kept; nothing of a study that kept nothing.

  Raises:
    ValueError: if the file is damaged.
  """
  path = workdir / _FILE
  if not path.exists():
    return []
  try:
    return [str(line) for line in json.loads(files.read_text(path))]
  except (ValueError, TypeError) as error:
    raise ValueError(
      f'{path} is damaged ({error}): remove it to do without'
    ) from error
