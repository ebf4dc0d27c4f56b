"""What a config may have at all: fields, and arguments of what is registered.

Whether it is used does not matter: what nobody would ever read is a mistake.
"""

from collections.abc import Collection, Iterator
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config.checks import show
from fps_jax.config.sections import OPEN_SECTIONS, fields_of, sections_of
from fps_jax.core.nearest import nearest
from fps_jax.core.registry import Registry


def problems(config: ConfigDict) -> Iterator[tuple[str, str]]:
  """Yields what a config has that nobody knows, and a line about each.

  Guarantee: a line begins with the dotted name and its value, and ends with the
  nearest name that is known, if one is near.

  Args:
    config: of one variant; registries are read when this is called.
  """
  job = config.get('job')
  yield from unknown(config, fields_of(job), f'a config of job={show(job)}')
  for section in sections_of(job):
    outer = config.get(section.name)
    for name, registries in section.registries.items():
      inner = outer.get(name) if isinstance(outer, ConfigDict) else None
      if isinstance(inner, ConfigDict):
        path = section.path(name)
        hidden = {section.path(one) for one in section.not_given}
        yield from _of_nobody(path, inner, registries, hidden)


def unknown(
  config: ConfigDict, names: Collection[str], owner: str
) -> Iterator[tuple[str, str]]:
  """Yields fields and sections that are none of those that are known.

  Args:
    config: any; sections of arguments are not looked into.
    names: dotted names of all fields.
    owner: what they are of, for the line.
  """
  sections = {name[:i] for name in names for i in _dots(name)}
  known = {*names, *sections}

  def walk(section: ConfigDict, path: str) -> Iterator[tuple[str, str]]:
    for field, value in section.items():
      name = f'{path}{field}'
      is_open = name in OPEN_SECTIONS and (name != 'variants' or not value)
      if name in names or is_open:
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
    if near := nearest(field, group):
      return f': did you mean {group[near]}?'
  return ''


def _of_nobody(
  path: str,
  section: ConfigDict,
  registries: Collection[Registry[Any]],
  hidden: Collection[str],
) -> Iterator[tuple[str, str]]:
  """Yields arguments in an open section that nothing registered takes."""
  owners = [f'{path}.{one}' for registry in registries for one in registry]
  for owner, given in section.items():
    name = f'{path}.{owner}'
    taken = [
      registry.arguments(owner) for registry in registries if owner in registry
    ]
    if not taken:
      about = f'has arguments of {owner!r}, which is not registered'
      yield name, f'{name}={_show(given)} {about}{hint(name, owners)}'
    elif not isinstance(given, ConfigDict):
      yield name, f'{name}={show(given)} must be a section of fields'
    elif None not in taken:
      names = [
        one
        for some in taken
        for one in some or ()
        if f'{name}.{one}' not in hidden
      ]
      known = [f'{name}.{one}' for one in names]
      for argument, value in given.items():
        full = f'{name}.{argument}'
        if full not in known:
          about = f'is not an argument of {owner!r}, which takes {names}'
          yield full, f'{full}={_show(value)} {about}{hint(full, known)}'


def _dots(name: str) -> list[int]:
  return [i for i, letter in enumerate(name) if letter == '.']


def _show(value: Any) -> str:
  """Returns a field's or a section's value as a line."""
  return show(value.to_dict() if isinstance(value, ConfigDict) else value)
