"""What a study is about: its data set and its model, read from configs."""

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fps_jax.core import files

Config = Mapping[str, Any]


class Subject(NamedTuple):
  """Data set and model by their names in configs; '' where there is none.

  What is measured under one is comparable, whoever measured it.
  """

  data: str
  model: str

  def __str__(self) -> str:
    """Returns both for the reader.

    >>> str(Subject('mnist_sample', 'mlp')), str(Subject('', ''))
    ('mnist_sample, mlp', 'not recorded')
    """
    return ', '.join(filter(None, self)) or 'not recorded'


def subject_of(config: Config) -> Subject:
  """Returns the subject of a variant's config, of any version."""
  return Subject(
    str(config.get('data', {}).get('source', '')),
    str(config.get('model', {}).get('name', '')),
  )


def describe(configs: Iterable[Config]) -> str:
  """Returns a sentence about the configs of a study's variants.

  >>> describe([{'data': {'source': 'mnist', 'num_clients': 9}}, {}])
  'Data set: mnist. Clients: 9.'
  """
  configs = list(configs)
  read: dict[str, Callable[[Config], Any]] = {
    'Data set': lambda config: subject_of(config).data,
    'Model': lambda config: subject_of(config).model,
    'Clients': lambda config: config.get('data', {}).get('num_clients'),
    'Dealt by': lambda config: config.get('data', {}).get('partition'),
    'Clients per round': lambda config: config.get('cohort', {}).get('size'),
  }
  found = {
    name: dict.fromkeys(filter(None, map(value, configs)))
    for name, value in read.items()
  }
  return ' '.join(
    f'{name}: {" or ".join(map(str, values))}.'
    for name, values in found.items()
    if values
  )


def read_configs(
  workdir: pathlib.Path, variants: Sequence[str]
) -> list[Config]:
  """Reads the configs of a study's variants that have one.

  Raises:
    ValueError: if one is damaged.
  """
  found = []
  for path in (workdir / name / 'config.json' for name in variants):
    if path.exists():
      try:
        found.append(json.loads(files.read_text(path)))
      except ValueError as error:
        raise ValueError(
          f'{path} is damaged ({error}): give another --workdir'
        ) from error
  return found
