"""Work directories: made once, never written over."""

import json
import pathlib
from typing import Any


def create(workdir: pathlib.Path) -> None:
  """Creates a work directory.

  Raises:
    ValueError: if it exists and is not empty.
    OSError: if it cannot be created.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  if any(workdir.iterdir()):
    raise ValueError(
      f'work directory {workdir} is not empty: give another --workdir, or '
      'remove it first'
    )


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a file of JSON, and creates its folder if need be."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content, indent=2) + '\n')
