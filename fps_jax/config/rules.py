"""Rules over fields of a config: what every part of validation is made of."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fps_jax.core.registry import Registry


class Rule(NamedTuple):
  """A rule, and what it looks at.

  Attributes:
    paths: of fields, or of sections.
    check: config -> what is wrong, a line for each problem.
  """

  paths: tuple[str, ...]
  check: Callable[[ConfigDict], Iterator[str]]

  def is_sound(self, wrong: Collection[str]) -> bool:
    """Returns whether none of the paths that are wrong concerns the rule."""
    return not any(_overlap(one, path) for one in wrong for path in self.paths)


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
