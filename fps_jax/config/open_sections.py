"""Sections of a config: locked, but for those that take names of one's own."""

from typing import Any

from ml_collections import ConfigDict

# A file names its variants, and may add arguments of what it registers.
OPEN_SECTIONS = (
  'variants',
  'data.partition_args',
  'model.args',
  'profiles.args',
  'attack.args',
  'defence.args',
)


def lock(config: ConfigDict) -> ConfigDict:
  """Locks a config, in place, but for `OPEN_SECTIONS`, and returns it.

  A misspelt field is an error where it is assigned, then.
  """
  config.lock()
  for path in OPEN_SECTIONS:
    section: Any = config
    for part in path.split('.'):
      section = section[part]
    section.unlock()
  return config


def add_section(config: ConfigDict, name: str, **fields: Any) -> None:
  """Adds a section that one job alone knows to a config, in place.

  Args:
    config: of `fps_jax.config.defaults.default`.
    name: of the section; its fields have to be in `fields.JOB_FIELDS` of the
      config's job.
    **fields: of the section, with their defaults.
  """
  config.unlock()
  config[name] = ConfigDict(fields)
  lock(config)
