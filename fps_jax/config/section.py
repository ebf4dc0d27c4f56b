"""What a section of a config is made of: fields, rules, arguments of others."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fps_jax.config.checks import Check
from fps_jax.core.registry import Registry


class Field(NamedTuple):
  """A field of a config: all that is to be said of it, but for who reads it.

  Attributes:
    default: of its type; a type stands for None, in place of which a value of
      that type may be set.
    check: what it may be by itself.
    about: what it is, where its name does not say so.
  """

  default: Any
  check: Check
  about: str = ''


class Rule(NamedTuple):
  """A rule over several fields, and which it looks at.

  Attributes:
    paths: of fields, or of sections.
    check: config -> what is wrong, a line for each problem.
  """

  paths: tuple[str, ...]
  check: Callable[[ConfigDict], Iterator[str]]

  def is_sound(self, wrong: Collection[str]) -> bool:
    """Returns whether none of the paths that are wrong concerns the rule."""
    return not any(_overlap(one, path) for one in wrong for path in self.paths)


class Section(NamedTuple):
  """A section of a config.

  Attributes:
    name: of the section; empty for fields of no section.
    fields: by their names in the section, with dots for sections in it.
    rules: what its fields may be together with others; applied where none of
      the fields they look at is wrong by itself.
    registries: path in the section to what is registered: users may add entries
      and, under an entry's name, its arguments.
    not_given: arguments of those that no config gives, `PATH.ENTRY.ARGUMENT`.
  """

  name: str
  fields: Mapping[str, Field]
  rules: tuple[Rule, ...] = ()
  registries: Mapping[str, tuple[Registry[Any], ...]] = {}
  not_given: Collection[str] = ()

  def path(self, field: str) -> str:
    """Returns the dotted name of a field in the whole config."""
    return f'{self.name}.{field}' if self.name else field


def rule(
  *paths: str,
) -> Callable[[Callable[[ConfigDict], Iterator[str]]], Rule]:
  """Returns a decorator that makes a rule over fields, or whole sections."""
  return lambda check: Rule(paths, check)


def collect(section: str, check: Callable[[], object]) -> Iterator[str]:
  """Yields the lines of the ValueError that a check raises, if it does."""
  try:
    check()
  except ValueError as error:
    for line in str(error).splitlines():
      yield f'{section}: {line}'


def takes(
  field: str, name: str, functions: Registry[Any], args: Mapping[str, Any]
) -> Iterator[str]:
  """Says whether a function does not take what a config has for its name."""
  if misfit := functions.misfit(name, args.get(name, {})):
    yield f'{field}={name!r} {misfit}'


def _overlap(one: str, other: str) -> bool:
  """Returns whether two paths are the same or one is in the other."""
  return f'{one}.'.startswith(f'{other}.') or f'{other}.'.startswith(f'{one}.')
