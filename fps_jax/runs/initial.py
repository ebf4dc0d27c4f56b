"""Models of other runs that a run begins with: read, checked, told apart."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fps_jax.core import files
from fps_jax.runs.checkpoints import CheckpointError, read, read_best
from fps_jax.runs.simulation import Model

# Which of a run's models another may begin with.
INITIAL_MODELS = ('last', 'best')
_FIELD = 'model.init_from'


def load(folder: pathlib.Path, which: str) -> np.ndarray:
  """Returns the model of a run, as it is.

  Args:
    folder: of the run, `WORKDIR/VARIANT/seed_N`.
    which: of `INITIAL_MODELS`.

  Returns:
    float32 [D].

  Raises:
    ValueError: if there is none, it is damaged, or not finite.
  """
  checkpoints = folder / 'checkpoints'
  try:
    if which == 'best':
      params_D = read_best(checkpoints).params
    else:
      params_D = read(checkpoints)['params']
  except CheckpointError as error:
    raise ValueError(
      f'{_FIELD}={files.show(folder)}: {error}; give the folder of a run with '
      'checkpoints, WORKDIR/VARIANT/seed_N'
    ) from error
  if not np.isfinite(params_D).all():
    raise ValueError(
      f'{_FIELD}={files.show(folder)}: its model is not finite, as the run '
      'diverged: give another'
    )
  return params_D


def check_fits(folder: pathlib.Path, model: Model) -> None:
  """Checks that a run's model is of the same arrays as another.

  Args:
    folder: of the run; beside it is the `model.json` of its variant.
    model: that is to begin with it.

  Raises:
    ValueError: if a name or a shape differs; all that do are named.
  """
  path = folder.parent / 'model.json'
  try:
    there = json.loads(files.read_text(path))['shapes']
    shapes = {name: tuple(shape) for name, shape in there.items()}
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{_FIELD}={files.show(folder)}: {files.show(path)} does not say what '
      f'its model is ({error}): give the folder of a run, '
      'WORKDIR/VARIANT/seed_N'
    ) from error
  wrong = _differences(shapes, model.shapes)
  if wrong:
    raise ValueError(
      f'{_FIELD}={files.show(folder)}: its model is another one, and no '
      f'layer is left out or put in, a head neither: {"; ".join(wrong)}; take '
      'the same model.name and model.args, and data of the same shape and '
      'classes'
    )


def _differences(
  there: Mapping[str, Any], here: Mapping[str, Any]
) -> list[str]:
  """Returns what differs between two models, a text for each array."""

  def show(shapes: Mapping[str, Any], name: str) -> str:
    return f'of shape {list(shapes[name])}' if name in shapes else 'not'

  wrong = [
    f'{name} is {show(there, name)} there, {show(here, name)} here'
    for name in dict.fromkeys([*here, *there])
    if there.get(name) != here.get(name)
  ]
  if not wrong and list(there) != list(here):
    wrong = [f'its arrays are in the order {list(there)}']
  return wrong


def digest(params_D: np.ndarray) -> str:
  """Returns the SHA-256 of a model."""
  return hashlib.sha256(np.ascontiguousarray(params_D).data).hexdigest()
