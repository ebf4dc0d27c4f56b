"""What the processes of a run must have alike: compared before anything runs.

Processes whose configs, code or data differ would otherwise run on together,
to a model of neither.
"""

import contextlib
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fps_jax.core.environment import code_of
from fps_jax.core.over_jax import exchange
from fps_jax.data.dataset import Dataset
from fps_jax.data.stored import Stored
from fps_jax.results.differences import compare

# Of JAX, what changes a model.
_SETTINGS = (
  'jax_enable_x64',
  'jax_default_matmul_precision',
  'jax_default_prng_impl',
  'jax_threefry_partitionable',
)
_MAX_SHOWN = 3
_MAX_WIDTH = 60


class RefusalError(ValueError):
  """All processes refuse to run, each for the reason that it gives."""


@contextlib.contextmanager
def together() -> Iterator[dict[str, Any]]:
  """Has all processes refuse what one of them refuses or has otherwise.

  All must come here, and wait at the end for the others. One process alone
  compares nothing.

  Yields:
    Where to put facts, as JSON has them, that must be alike.

  Raises:
    RefusalError: with several processes, if facts differ, or what follows was
      raised in any of them.
    ValueError: if it was raised inside.
    OSError: likewise.
  """
  facts: dict[str, Any] = {}
  refusal: ValueError | OSError | None = None
  try:
    yield facts
  except (ValueError, OSError) as error:
    refusal = error
  if jax.process_count() > 1:
    own = {'refusal': ' '.join(str(refusal or '').split()), 'facts': facts}
    everyone = [json.loads(text) for text in exchange(json.dumps(own))]
    if refusal is not None:
      raise RefusalError(str(refusal)) from refusal
    check_alike(
      [each['refusal'] for each in everyone],
      [each['facts'] for each in everyone],
    )
  if refusal is not None:
    raise refusal


def check_alike(
  refusals: Sequence[str], facts: Sequence[Mapping[str, Any]]
) -> None:
  """Raises RefusalError if a process refuses or has other facts than the first.

  Args:
    refusals: of each process, why; empty where it goes on.
    facts: of each process.
  """
  for process, refusal in enumerate(refusals):
    if refusal:
      raise RefusalError(f'process {process} has ended: {refusal}')
  differing = [field for field in compare(facts) if field.differs]
  if not differing:
    return
  shown = '; '.join(
    f'{field.name} is {_by_process(field.values)}'
    for field in differing[:_MAX_SHOWN]
  )
  more = len(differing) - _MAX_SHOWN
  raise RefusalError(
    f'processes differ: {shown}{f"; and {more} more fields" * (more > 0)}: '
    'start all with the same command line, code and data'
  )


def _by_process(values: Sequence[str]) -> str:
  """Returns each of some values with the processes that have it."""
  return ', '.join(
    f'{value[:_MAX_WIDTH]} in process '
    + '+'.join(str(i) for i, other in enumerate(values) if other == value)
    for value in dict.fromkeys(values)
  )


def describe(
  config: ConfigDict, environment: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the facts of a config and of what computes with it.

  Args:
    config: of the study.
    environment: see `fps_jax.core.environment.describe_environment`.
  """
  return {
    'config': json.loads(config.to_json()),
    # Sums of floats are another's from 3.12 on.
    'python': '.'.join(platform.python_version_tuple()[:2]),
    'code': code_of(environment),
    'backend': jax.default_backend(),
    'settings': {name: str(jax.config.values[name]) for name in _SETTINGS},
  }


def digest_of_data(dataset: Dataset) -> str:
  """Returns what tells the arrays of a data set from any others."""
  digest = hashlib.sha256(f'{dataset.num_classes};'.encode())
  for array in (
    dataset.train_inputs,
    dataset.train_targets,
    dataset.test_inputs,
    dataset.test_targets,
    dataset.train_clients,
    dataset.test_clients,
  ):
    if array is None:
      digest.update(b'None;')
      continue
    digest.update(f'{array.dtype} {array.shape};'.encode())
    if isinstance(array, Stored):
      digest.update(array.digest.encode())
    else:
      digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()[:16]
