"""Small rounds with an attack or a defence, for the tests of them."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fps_jax.results.metrics import MetricsRow
from tests.helpers import small

ROUNDS = 2


def guarded_config(**overrides: Any) -> ConfigDict:
  """Returns the config of a small run that can be defended."""
  return small.make_config(
    **{
      'num_rounds': ROUNDS,
      'cohort__weighting': 'clients',
      'faults__client_dropout_probability': 0.1,
      'defence__sketch_size': 128,
      **overrides,
    }
  )


def run(**overrides: Any) -> tuple[np.ndarray, list[MetricsRow]]:
  """Returns the model and the rows of a run of such a config."""
  return small.run(guarded_config(**overrides))


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
