"""What there is to choose from, read from the registries: --list.

A line is a name and the first sentence of its docstring. Nothing is imported
for it that importing the package does not import anyway, and no device starts.
"""

import ast
import functools
import importlib.util
import inspect
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fps_jax.attacks.data import DATA_ATTACKS
from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.config.defaults import METHODS
from fps_jax.data import PARTITIONERS, SOURCES
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES, PRE_STEPS
from fps_jax.federated.augmentation import AUGMENTATIONS
from fps_jax.federated.learning_rates import SCHEDULES as LEARNING_RATES
from fps_jax.federated.losses import LOSSES
from fps_jax.federated.optimizers import OPTIMIZERS as CLIENT_OPTIMIZERS
from fps_jax.federated.server import OPTIMIZERS
from fps_jax.jobs.run import JOBS, Entry
from fps_jax.models import MODELS
from fps_jax.pruning.schedules import SCHEDULES
from fps_jax.pruning.scopes import SCOPES
from fps_jax.results.titles import title_of
from fps_jax.runs.costs.profiles import DISTRIBUTIONS
from fps_jax.runs.hooks import ON_ROUND
from fps_jax.sharing.audit import AUDITS
from fps_jax.sharing.schemes import SCHEMES

UNDOCUMENTED = '(no docstring)'

# How names are chosen and what they are, in the order in which a user chooses.
_REGISTRIES: dict[str, Mapping[str, Any]] = {
  'job: what launch.py runs': JOBS,
  'methods: variants that configs compare': METHODS,
  'data.source: data sets, besides those prepared for TFDS': SOURCES,
  'data.partition: partitioners': PARTITIONERS,
  'model.name: models': MODELS,
  'model.loss: losses': LOSSES,
  'client.optimizer: client optimisers': CLIENT_OPTIMIZERS,
  'client.schedule, server.schedule: learning rates': LEARNING_RATES,
  'client.augmentation: augmentations': AUGMENTATIONS,
  'attack.data: attacks on data': DATA_ATTACKS,
  'attack.updates: attacks on updates': UPDATE_ATTACKS,
  'defence.name: defences by inner products': GRAM_RULES,
  'defence.name: defences by coordinates': COORDINATE_RULES,
  'defence.pre_steps: what is done before': PRE_STEPS,
  'pruning.schedule: schedules of sparsity': SCHEDULES,
  'pruning.scope: scopes of the mask': SCOPES,
  'server.optimizer: server optimisers': OPTIMIZERS,
  'profiles.distribution: distributions of devices': DISTRIBUTIONS,
  'sharing.scheme: sharing schemes': SCHEMES,
  'sharing.audit: audits': AUDITS,
  'eval.on_round: numbers of your own about every round': ON_ROUND,
}


class Section(NamedTuple):
  """Names of one kind.

  Attributes:
    title: how they are chosen, and what they are.
    entries: name to sentence.
  """

  title: str
  entries: dict[str, str]


def sections(experiments: pathlib.Path) -> Iterator[Section]:
  """Yields all that there is.

  Guarantee: it is what the registries hold when this is called.

  Args:
    experiments: folder of config files, which are read but not run.
  """
  files = {path.stem: path for path in sorted(experiments.glob('*.py'))}
  configs = {'--config=NAME: configs': files}
  for title, registry in (configs | _REGISTRIES).items():
    entries = {name: describe(value) for name, value in registry.items()}
    if registry is METHODS:
      entries = {name: f'{title_of(name)}: {entries[name]}' for name in entries}
    yield Section(title, entries)


def text(experiments: pathlib.Path) -> str:
  """Returns all sections as lines for a terminal."""
  lines = []
  for section in sections(experiments):
    lines.append(section.title)
    width = max(map(len, section.entries), default=0)
    for name, sentence in section.entries.items():
      lines.append(f'  {name:<{width}}  {sentence}')
    lines.append('')
  return '\n'.join(lines)


def describe(value: Any) -> str:
  """Returns a sentence about a value of a registry.

  Args:
    value: a function or class, or the sentence itself; a file or a job, whose
      module is not imported for it, as that may take long; or what a method
      changes.
  """
  if isinstance(value, Entry):
    spec = importlib.util.find_spec(value.place.partition(':')[0])
    value = pathlib.Path(spec.origin) if spec and spec.origin else ''
  if isinstance(value, pathlib.Path):
    try:
      module = ast.parse(value.read_text(encoding='utf-8'))
    except (SyntaxError, ValueError) as error:
      return f'(cannot be read: {" ".join(str(error).split())})'
    value = ast.get_docstring(module) or ''
  if isinstance(value, Mapping):
    changes = [
      f'{section}.{field}={one!r}'
      for section, fields in value.items()
      for field, one in fields.items()
    ]
    return f'{", ".join(changes) or "the defaults"}.'
  while isinstance(value, functools.partial):
    value = value.func
  return first_sentence(
    value if isinstance(value, str) else inspect.getdoc(value)
  )


def first_sentence(docstring: str | None) -> str:
  """Returns the first sentence of a docstring, as one line.

  >>> first_sentence('All of it at once, 3.5 times. And more.')
  'All of it at once, 3.5 times.'
  """
  paragraph = (docstring or '').strip().partition('\n\n')[0]
  line = ' '.join(paragraph.split())
  return re.split(r'(?<=[.!?])\s', line, maxsplit=1)[0] or UNDOCUMENTED
