"""Grids over the fields of a config, from the command line."""

import ast
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import known
from fps_jax.config.defaults import STUDY_FIELDS
from fps_jax.config.sections import fields_of

SEPARATOR = '--'


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
  `VARIANT--FIELD=VALUE--...`; the baseline becomes that of the first values.

  Args:
    config: of a study.
    sweeps: as `parse` takes them, each of another field.

  Raises:
    ValueError: if a field is given twice, does not exist, is one that all
      variants have in common, or is what a variant sets itself.
  """
  if not sweeps:
    return
  if config.baseline and config.baseline not in config.variants:
    raise ValueError(
      f'baseline={config.baseline!r} is not one of the variants '
      f'{list(config.variants)}'
    )
  grid = [parse(text) for text in sweeps]
  swept = [field for field, _ in grid]
  for field in swept:
    if swept.count(field) > 1:
      raise ValueError(f'--sweep={field} is given twice: list all its values')
    _check(config, field)
  variants = config.variants.to_dict() or {config.name: {}}
  expanded = {}
  for name, overrides in variants.items():
    for values in itertools.product(*(values for _, values in grid)):
      chosen = dict(zip(swept, values, strict=True))
      merged: Mapping[str, Any] = overrides
      for field, value in chosen.items():
        merged = _with(merged, field.split('.'), value, f'{name}: {field}')
      parts = [f'{field}={value}' for field, value in chosen.items()]
      expanded[SEPARATOR.join([name, *parts])] = merged
  with config.unlocked():
    config.variants = ConfigDict(sort_keys=False, allow_dotted_keys=True)
    config.variants.update(expanded)
  if config.baseline:
    start = config.baseline + SEPARATOR
    config.baseline = next(name for name in expanded if name.startswith(start))


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
