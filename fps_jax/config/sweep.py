"""Grids over the fields of a config, from the command line."""

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import known
from fps_jax.config.defaults import STUDY_FIELDS
from fps_jax.config.sections import fields_of
from fps_jax.config.unread import unread
from fps_jax.config.variants import resolve
from fps_jax.results.titles import SEPARATOR


def parse(text: str) -> tuple[str, list[Any]]:
  """Returns the field and the values of `FIELD=VALUE,VALUE`.

  Values are Python's literals, or else words.

  Raises:
    ValueError: if there is no field or no value, or a value twice.

  >>> parse('client.learning_rate=0.05,0.1')
  ('client.learning_rate', [0.05, 0.1])
  >>> parse('data.partition=iid,shards')
  ('data.partition', ['iid', 'shards'])
  """
  field, _, listed = text.partition('=')
  try:
    values = list(ast.literal_eval(f'[{listed}]'))
  except (ValueError, SyntaxError):
    values = listed.split(',')
  if not field or not values or '' in values:
    raise ValueError(f'--sweep={text!r} must be FIELD=VALUE,VALUE,...')
  if len(set(map(repr, values))) < len(values):
    raise ValueError(f'--sweep={text!r} names a value twice')
  return field, values


def expand(config: ConfigDict, sweeps: Sequence[str]) -> None:
  """Makes variants of all combinations of values, in place.

  Every variant of the config becomes one for each combination, named
  `VARIANT--FIELD=VALUE--...`. Fields that a variant does not read, with what
  else it sets (see `fps_jax.config.unread`), are left out of its name and of
  what it sets, so that it is there once for all their values. The baseline
  becomes that of the first values.

  Args:
    config: of a study.
    sweeps: as `parse` takes them, each of another field.

  Raises:
    ValueError: if a field is given twice, does not exist, is one that all
      variants have in common, is what a variant sets itself, or is read by no
      variant.
  """
  if not sweeps:
    return
  if config.baseline and config.baseline not in config.variants:
    raise ValueError(
      f'baseline={config.baseline!r} is not one of the variants '
      f'{list(config.variants)}'
    )
  grid = dict(_parse_all(config, sweeps))
  variants = config.variants.to_dict() or {config.name: {}}
  expanded: dict[str, dict[str, Any]] = {}
  unused: dict[str, dict[str | None, str]] = {field: {} for field in grid}
  for name, overrides in variants.items():
    for values in itertools.product(*grid.values()):
      chosen = dict(zip(grid, values, strict=True))
      ignored = _ignored(config, name, overrides, chosen)
      kept = {f: value for f, value in chosen.items() if f not in ignored}
      for field in grid:
        unused[field][ignored.get(field)] = name
      parts = [f'{field}={value}' for field, value in kept.items()]
      expanded[SEPARATOR.join([name, *parts])] = _merge(name, overrides, kept)
  for field, reasons in unused.items():
    if None not in reasons:
      raise ValueError(
        f'--sweep={field} would change nothing, as no variant reads it: '
        + ', '.join(f'in {name} {reason}' for reason, name in reasons.items())
      )
  with config.unlocked():
    config.variants = ConfigDict(sort_keys=False, allow_dotted_keys=True)
    config.variants.update(expanded)
  if config.baseline:
    base, start = config.baseline, config.baseline + SEPARATOR
    config.baseline = next(
      name for name in expanded if name == base or name.startswith(start)
    )


def _parse_all(
  config: ConfigDict, sweeps: Sequence[str]
) -> Iterator[tuple[str, list[Any]]]:
  """Yields each field with its values; errors as of `expand`."""
  seen = set()
  for field, values in map(parse, sweeps):
    if field in seen:
      raise ValueError(f'--sweep={field} is given twice: list all its values')
    seen.add(field)
    _check(config, field)
    yield field, values


def _merge(
  name: str, overrides: Mapping[str, Any], chosen: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns what a variant sets, with some fields more."""
  merged = dict(overrides)
  for field, value in chosen.items():
    merged = _with(merged, field.split('.'), value, f'{name}: {field}')
  return merged


def _ignored(
  config: ConfigDict,
  name: str,
  overrides: Mapping[str, Any],
  chosen: Mapping[str, Any],
) -> dict[str, str]:
  """Returns the fields that a variant does not read, and why."""
  base = config.to_dict()
  del base['variants']
  merged = _merge(name, overrides, chosen)
  try:
    return unread(resolve(base, name, merged))
  except ValueError:
    return {}  # Which is said when the variants are resolved.


def _check(config: ConfigDict, field: str) -> None:
  """Raises ValueError unless a config has a field that may be swept over."""
  section: Any = config
  for part in field.split('.'):
    if not isinstance(section, ConfigDict) or part not in section:
      near = known.hint(field, fields_of(config.get('job')))
      raise ValueError(
        f'--sweep={field}: the config has no such field (see '
        f'fps_jax/config/sections){near}'
      )
    section = section[part]
  if isinstance(section, ConfigDict):
    raise ValueError(f'--sweep={field} is a section: name one of {[*section]}')
  if field in STUDY_FIELDS:
    raise ValueError(
      f'--sweep={field} is of the study, all of whose variants have the same: '
      f'give --config.{field}=VALUE, and run a study for each value'
    )


def _with(
  overrides: Mapping[str, Any], path: Sequence[str], value: Any, about: str
) -> dict[str, Any]:
  """Returns overrides with one more; `about` is for the error."""
  first, *rest = path
  if not rest:
    if first in overrides:
      raise ValueError(
        f'{about} is swept over, but is what the variant sets itself: choose '
        'other variants'
      )
    return {**overrides, first: value}
  inner = overrides.get(first, {})
  return {**overrides, first: _with(inner, rest, value, about)}
