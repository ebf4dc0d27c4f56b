"""Everything that can be wrong with a config, said before data is loaded.

`fps_jax.config.known` has which fields there are; a section has what each of
its fields may be, and what they may be together. A rule ends where it reads a
field that is wrong by itself, so that everything that is wrong is said, and
nothing twice.

What depends on the data (client sizes, hence whether counts could wrap; whether
the exempt parameters fit the sparsity) is checked when the run is built, which
is for all runs of a study before the first of them starts.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import known
from fps_jax.config.checks import show
from fps_jax.config.section import SoundConfig, UnsoundError
from fps_jax.config.sections import JOB_SECTIONS, fields_of, sections_of

_MISSING = object()


def validate(config: ConfigDict) -> None:
  """Checks the resolved config of one variant.

  Raises:
    ValueError: naming all problems, one a line: the field or section, the
      value and the bound.
  """
  # Two rules may meet the same problem.
  problems = list(dict.fromkeys(_problems(config)))
  if problems:
    raise ValueError('\n'.join(problems))


def validate_all(variants: Mapping[str, ConfigDict]) -> None:
  """Validates every variant of a config.

  Raises:
    ValueError: a line for each problem of the first that is wrong, which a line
      names if there are several.
  """
  for name, variant in variants.items():
    try:
      validate(variant)
    except ValueError as error:
      if len(variants) == 1:
        raise
      lines = str(error).splitlines()
      raise ValueError(
        '\n'.join(f'variant {name}: {line}' for line in lines)
      ) from error


def _problems(config: ConfigDict) -> Iterator[str]:
  wrong = set()
  for name, problem in (*known.problems(config), *_of_fields(config)):
    wrong.add(name)
    yield problem
  # It reads as a config does.
  sound: Any = SoundConfig(config, wrong)
  for section in sections_of(config.get('job')):
    for rule in section.rules:
      with contextlib.suppress(UnsoundError):
        yield from rule(sound)


def _of_fields(config: ConfigDict) -> Iterator[tuple[str, str]]:
  """Yields the fields that are wrong by themselves, and a line about each.

  A line begins with the field and its value. Fields and sections may be missing
  where they are arguments, which are by a name that may not be used.
  """
  seen = set()
  for name, field in fields_of(config.get('job')).items():
    path, value = _look_up(config, name)
    if path == name and value is not _MISSING:
      for problem in field.check(value):
        yield name, f'{name}={show(value)} {problem}'
    elif path not in seen and value is not _MISSING:
      yield path, f'{path}={show(value)} must be a section of fields'
    elif path not in seen and '.args' not in path and '_args' not in path:
      yield path, f'{path} is missing: begin with {_beginning(path)}'
    seen.add(path)


def _beginning(path: str) -> str:
  """Returns what makes a config that has a field or a section."""
  for job, section in JOB_SECTIONS.items():
    if path.partition('.')[0] == section.name:
      return f'the default() of job={job!r}'
  return 'fps_jax.config.defaults.default()'


def _look_up(config: ConfigDict, name: str) -> tuple[str, Any]:
  """Returns how far a path goes, and what is there."""
  path, value = '', config
  for part in name.split('.'):
    if not isinstance(value, ConfigDict):
      break
    path = f'{path}.{part}' if path else part
    value = value.get(part, _MISSING)
  return path, value
