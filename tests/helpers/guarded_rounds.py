"""Small rounds with an attack or a defence, for the tests of them."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fps_jax.results.metrics import MetricsRow
from tests.helpers import small

ROUNDS = 2


def guarded_config(**changes: Any) -> ConfigDict:
  """Returns a config with changes by flattened names, `__` for the dots."""
  config = small.small_config()
  config.num_rounds = ROUNDS
  config.cohort.weighting = 'clients'
  config.faults.client_dropout_probability = 0.1
  config.defence.sketch_size = 128
  names = {name.replace('__', '.'): value for name, value in changes.items()}
  config.update_from_flattened_dict(names)
  return config


def run(**changes: Any) -> tuple[np.ndarray, list[MetricsRow]]:
  """Returns the model and the rows of a run of such a config."""
  with small.quick_compilation():
    return small.run(guarded_config(**changes))


def without_bounds(rows: list[MetricsRow]) -> list[dict[str, Any]]:
  """Returns rows without what an audit could bear: 'ideal' has none."""
  return [
    {
      name: value
      for name, value in row.items()
      if not name.startswith('wrong_servers_')
    }
    for row in rows
  ]


ATTACKED: dict[str, Any] = {
  'attack__malicious': 0.25,
  'attack__updates': 'gaussian',
}


KRUM: dict[str, Any] = {
  'defence__name': 'multi_krum',
  'defence__num_malicious': 2,
}


IDEAL: dict[str, Any] = {'sharing__scheme': 'ideal'}
