"""The variants of a study: one config, overridden under several names."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import known
from fps_jax.config.checks import show
from fps_jax.config.defaults import STUDY_FIELDS
from fps_jax.results import workdir as workdirs


def resolve_variants(config: ConfigDict) -> dict[str, ConfigDict]:
  """Returns the full config of every variant, in the order of the config.

  Args:
    config: with `variants`, whose entries override fields of the rest.

  Returns:
    Name to config, without `variants`. A config without variants is one
    variant that bears its name.

  Raises:
    ValueError: if a field of the study is missing, a variant overrides one that
      does not exist or gives it a value of another type, its name cannot name a
      folder, or the baseline is not a variant.
  """
  missing = [name for name in (*STUDY_FIELDS, 'variants') if name not in config]
  if missing:
    raise ValueError(
      f'the config has no {", ".join(missing)}: begin with '
      'fps_jax.config.defaults.default()'
    )
  named = config.variants.to_dict()
  if config.baseline and config.baseline not in named:
    raise ValueError(
      f'baseline={config.baseline!r} is not one of the variants {list(named)}'
    )
  variants = named or {config.name: {}}
  _check_names(list(variants))
  base = config.to_dict()
  del base['variants']
  return {
    name: resolve(base, name, overrides) for name, overrides in variants.items()
  }


def resolve(
  base: Mapping[str, Any], name: str, overrides: Mapping[str, Any]
) -> ConfigDict:
  """Returns the full config of one variant.

  Args:
    base: of the config, without its variants.
    name: of the variant.
    overrides: what it sets.

  Raises:
    ValueError: as `resolve_variants`.
  """
  if not isinstance(overrides, Mapping):
    raise ValueError(
      f'variants.{name}={overrides!r} must be fields and their values'
    )
  resolved = ConfigDict(base)
  _override(resolved, overrides, f'variants.{name}.')
  return resolved.lock()


def _check_names(names: Sequence[str]) -> None:
  """Raises ValueError unless each names a folder of its own."""
  seen: dict[str, str] = {}
  for name in names:
    if not workdirs.is_name(name):
      raise ValueError(f'variants: {show(name)} {workdirs.NAME_RULE}')
    other = seen.setdefault(name.casefold(), name)
    if other != name:
      raise ValueError(
        f'variants: {other!r} and {name!r} differ in case only, which is one '
        'folder on many systems: rename one'
      )


def _override(
  config: ConfigDict, overrides: Mapping[str, Any], path: str
) -> None:
  """Sets the fields of a config that exist; `path` is for the error."""
  for field, value in overrides.items():
    if field not in config:
      raise ValueError(
        f'{path}{field}={show(value)} is not a field of the config'
        + known.hint(f'{path}{field}', [f'{path}{name}' for name in config])
      )
    if isinstance(config[field], ConfigDict) and isinstance(value, Mapping):
      _override(config[field], value, f'{path}{field}.')
      continue
    try:
      config[field] = value
    except (TypeError, OverflowError) as error:
      raise ValueError(
        f'{path}{field}={show(value)} must be of type '
        f'{type(config[field]).__name__}, and no larger than it holds'
      ) from error


def check_alike(config: ConfigDict, variants: Mapping[str, ConfigDict]) -> None:
  """Raises ValueError if variants differ in what is the study's."""
  for name, variant in variants.items():
    for field in STUDY_FIELDS:
      if variant[field] != config[field]:
        raise ValueError(
          f'variants.{name}.{field}={show(variant[field])} must be '
          f'{show(config[field])}, as of all variants: leave it out '
          'there, and run a study for each value'
        )
