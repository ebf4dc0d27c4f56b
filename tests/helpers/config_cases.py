"""The default config, changed; and what is said of it."""

import math
from typing import Any

import pytest
from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.config.validate import validate
from tests.helpers import small


def make_config(*changes: tuple[str, Any]) -> ConfigDict:
  return small.change(configs.default(), **dict(changes))


def problems(config: ConfigDict) -> list[str]:
  with pytest.raises(ValueError) as caught:
    validate(config)
  return str(caught.value).split('\n')


# Of every type, values that no field takes but for a few.
WILD: dict[type, tuple[Any, ...]] = {
  bool: (None, 1),
  int: (-(10**9), -(10**400), 10**400, 2**31, True, None, 0.5),
  # A ConfigDict turns whole numbers into floats, or refuses them itself.
  float: (math.nan, math.inf, -math.inf, 1e300, -1e300, '1', None),
  str: ('', 'a/b', None, 3, 'n' * 101),
  tuple: ((None,), ('[',), (math.nan,), ((),), (10**5000,), (True,), None, 'a'),
}
# Whoever reads texts knows which there are: jobs, variants, data sets and runs.
_ANY_IS_RIGHT = {
  *(('job', text) for text in ('', 'a/b', 'n' * 101)),
  *(('baseline', text) for text in ('', 'a/b', 'n' * 101)),
  *(('data.source', text) for text in ('a/b', 'n' * 101)),
  *(('model.init_from', text) for text in ('', 'a/b', 'n' * 101)),
  ('attack.args.alie.deviations', None),
  ('client.optimizer_args.rmsprop.momentum', None),
}


def leaves(config: ConfigDict, path: str = '') -> dict[str, Any]:
  found = {}
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      found |= leaves(value, f'{path}{name}.')
    else:
      found[f'{path}{name}'] = value
  return found


LEAVES = leaves(configs.default())


def is_right(name: str, value: Any) -> bool:
  """Returns whether a field takes a value of `WILD` nevertheless."""
  return any(
    (name, type(value)) == (one, type(other)) and value == other
    for one, other in _ANY_IS_RIGHT
  )
