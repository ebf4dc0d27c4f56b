"""FedPruneShare in JAX: pruning and secret sharing for federated learning.

What most people import, as `import fps_jax as fps`:

- runs: `default_config`, `METHODS`, `compare_methods`, `run`, `load`, `Result`;
- secret sharing: `Shamir`;
- pruning: `prune`, `keep_mask`;
- data: `load_data`, `partition`, `Dataset`;
- robust aggregation: `aggregate`;
- costs: `message_bytes`.

All else is in the folders, whose own pages say what lives there. Importing this
package loads none of them, and starts no device: a name is looked up at its
first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from fps_jax.config.defaults import METHODS, compare_methods
  from fps_jax.config.defaults import default as default_config
  from fps_jax.config.message_bytes import count_bytes as message_bytes
  from fps_jax.data import Dataset, partition
  from fps_jax.data import load as load_data
  from fps_jax.defences.aggregate import aggregate
  from fps_jax.jobs.library import Result, load, run
  from fps_jax.pruning.prune import keep_mask, prune
  from fps_jax.sharing.vector_sharing import Shamir

__version__ = '0.1.0'
__all__ = [
  'METHODS',
  'Dataset',
  'Result',
  'Shamir',
  'aggregate',
  'compare_methods',
  'default_config',
  'keep_mask',
  'load',
  'load_data',
  'message_bytes',
  'partition',
  'prune',
  'run',
]
_PLACES = {
  'METHODS': 'config.defaults:METHODS',
  'Dataset': 'data:Dataset',
  'Result': 'jobs.library:Result',
  'Shamir': 'sharing.vector_sharing:Shamir',
  'aggregate': 'defences.aggregate:aggregate',
  'compare_methods': 'config.defaults:compare_methods',
  'default_config': 'config.defaults:default',
  'keep_mask': 'pruning.prune:keep_mask',
  'load': 'jobs.library:load',
  'load_data': 'data:load',
  'message_bytes': 'config.message_bytes:count_bytes',
  'partition': 'data:partition',
  'prune': 'pruning.prune:prune',
  'run': 'jobs.library:run',
}


def __getattr__(name: str) -> Any:
  if name not in _PLACES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module, _, attribute = _PLACES[name].partition(':')
  value = getattr(importlib.import_module(f'{__name__}.{module}'), attribute)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
