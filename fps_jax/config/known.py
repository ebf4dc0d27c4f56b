"""What a config may have at all: fields, and arguments of what is registered.

Whether it is used does not matter: what nobody would ever read is a mistake.
"""

import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fps_jax.attacks.data import DATA_ATTACKS
from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.config import fields
from fps_jax.config.checks import show
from fps_jax.config.open_sections import OPEN_SECTIONS
from fps_jax.data import PARTITIONERS
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES, PRE_STEPS
from fps_jax.models import MODELS
from fps_jax.runs.costs.profiles import DISTRIBUTIONS


class _Registry(NamedTuple):
  """What the arguments of an open section are of.

  Attributes:
    functions: name to function or class.
    num_first: its first parameters that no config gives.
    given: others that no config gives: `NAME`, or `FUNCTION.NAME`.
  """

  functions: Mapping[str, Callable[..., Any]]
  num_first: int = 0
  given: tuple[str, ...] = ()


_REGISTRIES: dict[str, tuple[_Registry, ...]] = {
  'data.partition_args': (_Registry(PARTITIONERS, 3),),
  'model.args': (_Registry(MODELS, 0, ('num_classes', 'parent', 'name')),),
  'profiles.args': (_Registry(DISTRIBUTIONS, 2),),
  # The limit of `wrap_around` is that of the field.
  'attack.args': (
    _Registry(UPDATE_ATTACKS, 0, ('wrap_around.limit',)),
    _Registry(DATA_ATTACKS, 1),
  ),
  'defence.args': (
    _Registry(GRAM_RULES, 3),
    _Registry(COORDINATE_RULES, 3),
    _Registry(PRE_STEPS, 4),
  ),
}


def problems(config: ConfigDict) -> Iterator[tuple[str, str]]:
  """Yields what a config has that nobody knows, and a line about each.

  Guarantee: a line begins with the dotted name and its value, and ends with the
  nearest name that is known, if one is near.

  Args:
    config: of one variant; registries are read when this is called.
  """
  job = config.get('job')
  names = fields.of_job(job)
  yield from unknown(config, names, f'a config of job={show(job)}')
  for path, registries in _REGISTRIES.items():
    section, _, name = path.partition('.')
    outer = config.get(section)
    inner = outer.get(name) if isinstance(outer, ConfigDict) else None
    if isinstance(inner, ConfigDict):
      yield from _of_nobody(path, inner, registries)


def unknown(
  config: ConfigDict, names: Collection[str], owner: str
) -> Iterator[tuple[str, str]]:
  """Yields fields and sections that are none of those that are known.

  Args:
    config: any; `OPEN_SECTIONS` are not looked into.
    names: dotted names of all fields.
    owner: what they are of, for the line.
  """
  sections = {name[:i] for name in names for i in _dots(name)}
  known = {*names, *sections}

  def walk(section: ConfigDict, path: str) -> Iterator[tuple[str, str]]:
    for field, value in section.items():
      name = f'{path}{field}'
      is_empty = name in OPEN_SECTIONS and not value
      if name in names or is_empty or name in _REGISTRIES:
        continue
      if name in sections:
        if isinstance(value, ConfigDict):
          yield from walk(value, f'{name}.')
        continue
      yield (
        name,
        f'{name}={_show(value)} is not a field of {owner}{hint(name, known)}',
      )

  yield from walk(config, '')


def hint(name: str, known: Collection[str]) -> str:
  """Returns a question about the nearest of some dotted names, or nothing.

  >>> hint('pruning.sparsty', ['pruning.sparsity', 'pruning.scope'])
  ': did you mean pruning.sparsity?'
  >>> hint('client.sparsity', ['pruning.sparsity', 'client.momentum'])
  ': did you mean pruning.sparsity?'
  """
  section, _, field = name.rpartition('.')
  split = {one: one.rpartition('.') for one in known}
  beside = {
    last: one for one, (head, _, last) in split.items() if head == section
  }
  anywhere = {last: one for one, (_, _, last) in split.items()}
  for group in (beside, anywhere):
    for last in difflib.get_close_matches(field, group, 1):
      return f': did you mean {group[last]}?'
  return ''


def _of_nobody(
  path: str, section: ConfigDict, registries: Collection[_Registry]
) -> Iterator[tuple[str, str]]:
  """Yields arguments in an open section that nothing registered takes."""
  owners = [f'{path}.{one}' for r in registries for one in r.functions]
  for owner, given in section.items():
    name = f'{path}.{owner}'
    taken = [
      _parameters(registry, owner)
      for registry in registries
      if owner in registry.functions
    ]
    if not taken:
      about = f'has arguments of {owner!r}, which is not registered'
      yield name, f'{name}={_show(given)} {about}{hint(name, owners)}'
    elif not isinstance(given, ConfigDict):
      yield name, f'{name}={show(given)} must be a section of fields'
    elif None not in taken:
      names = [one for some in taken for one in some or ()]
      known = [f'{name}.{one}' for one in names]
      for argument, value in given.items():
        full = f'{name}.{argument}'
        if full not in known:
          about = f'is not an argument of {owner!r}, which takes {names}'
          yield full, f'{full}={_show(value)} {about}{hint(full, known)}'


def _parameters(registry: _Registry, owner: str) -> list[str] | None:
  """Returns the arguments that a config may give; None if any will do."""
  signature = inspect.signature(registry.functions[owner])
  parameters = list(signature.parameters.values())
  if any(p.kind is p.VAR_KEYWORD for p in parameters):
    return None
  return [
    parameter.name
    for parameter in parameters[registry.num_first :]
    if not {parameter.name, f'{owner}.{parameter.name}'} & {*registry.given}
  ]


def _dots(name: str) -> list[int]:
  return [i for i, letter in enumerate(name) if letter == '.']


def _show(value: Any) -> str:
  """Returns a field's or a section's value as a line."""
  return show(value.to_dict() if isinstance(value, ConfigDict) else value)
