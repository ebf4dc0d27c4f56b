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


# Config -> what is wrong, a line for each problem.
Rule = Callable[[ConfigDict], Iterator[str]]


class UnsoundError(Exception):
  """A rule reads what is wrong by itself, and has been said to be."""


class SoundConfig:
  """A config as rules see it: what is wrong by itself cannot be read.

  So a rule need not name what it is about: it ends where it reads such a
  field, or arguments of which one is wrong, by `UnsoundError`.
  """

  def __init__(
    self, section: ConfigDict, wrong: Collection[str], path: str = ''
  ) -> None:
    """Takes the wrong fields' dotted names, and the section's with its dot."""
    self._section, self._wrong, self._path = section, wrong, path

  def __getattr__(self, name: str) -> Any:
    path = f'{self._path}{name}'
    if path in self._wrong:
      raise UnsoundError(path)
    value = getattr(self._section, name)
    if isinstance(value, ConfigDict):
      return SoundConfig(value, self._wrong, f'{path}.')
    return value

  def get(self, name: str, default: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the arguments of something by its name."""
    if name not in self._section:
      return default
    return getattr(self, name).to_dict()

  def to_dict(self) -> dict[str, Any]:
    """Returns all that is in the section."""
    for path in self._wrong:
      if path.startswith(self._path):
        raise UnsoundError(path)
    return self._section.to_dict()


class Section(NamedTuple):
  """A section of a config.

  Attributes:
    name: of the section; empty for fields of no section.
    fields: by their names in the section, with dots for sections in it.
    rules: what its fields may be together with others; a rule ends where it
      reads a field that is wrong by itself.
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
