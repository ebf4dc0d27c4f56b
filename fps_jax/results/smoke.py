"""What is said of a run that is cut down: it shows that everything runs.

Such are the configs that `fps_jax.config.defaults.tiny` shrinks. Their numbers
may show the opposite of what full runs do.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from fps_jax.core import files

_MADE = ('fake',)


def notice(config: Mapping[str, Any]) -> str:
  """Returns what a reader must know first; '' of a config that is not cut down.

  Args:
    config: of a job, or the JSON of one; of any version.
  """
  if not config.get('smoke_test'):
    return ''
  is_made = config.get('data', {}).get('source') in _MADE
  return (
    f'Smoke test{" on made data" * is_made}: it shows that everything runs; '
    'its numbers are no results.'
  )


def above(notice: str, page: str) -> str:
  """Returns a page of Markdown that begins with a notice, if there is one."""
  return f'**{notice}**\n\n{page}' if notice else page


def read(workdir: pathlib.Path) -> str:
  """Returns the notice about a study's work directory.

  Raises:
    ValueError: if its config is damaged.
  """
  path = workdir / 'config.json'
  if not path.exists():
    return ''
  try:
    return notice(json.loads(files.read_text(path)))
  except (ValueError, AttributeError) as error:
    raise ValueError(
      f'{path} is damaged ({error}): give another --workdir'
    ) from error
