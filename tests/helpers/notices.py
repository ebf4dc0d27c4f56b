"""What is said of configs before their runs."""

from typing import Any

from ml_collections import ConfigDict

from fps_jax.jobs import notices
from tests.helpers import small


def lines(config: ConfigDict) -> list[str]:
  """Returns what is said of a config under its seeds."""
  runs = [small.make(config, seed) for seed in config.seeds]
  return list(notices.before_run(config, runs))


def config_of(**changes: Any) -> ConfigDict:
  """Returns a config that nothing is said of, but for what is changed."""
  config = small.make_config(data__partition='iid')
  for name, value in changes.items():
    config[name].update(value)
  return config


def assert_said(changes: dict[str, Any], said: str) -> None:
  """Checks that changes have one line said, with this text; '' for none."""
  found = lines(config_of(**changes))
  assert len(found) == bool(said)
  for line in found:
    assert said in line
