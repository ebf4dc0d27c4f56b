"""Small runs whose models are known: a change of structure changes no bit.

Float bits depend on the processor, so that exact hashes are held to on those
kinds of processor that `golden.json` names, with the version of jaxlib it
names. On all others integers must be the same, and the length of the model to
three digits. Where a change is meant to change models, or on another kind of
processor before a change that is not, write them anew:

  python -m tests.golden_test
"""

# Programs are compiled as they are in all tests, in `main` as well.
import tests.conftest  # noqa: F401  # isort: skip

import contextlib
import hashlib
import json
import pathlib
import sys
from importlib import metadata
from typing import Any

import numpy as np
import pytest

from fps_jax.config.validate import validate
from fps_jax.core.environment import cpu_model
from tests.helpers import small

_FILE = pathlib.Path(__file__).parent / 'golden.json'
# Between them these run every part of a round.
_WHILE_WORKING = (
  'shamir',
  'krum_on_sketches',
  'liars',
  'retries',
)
_MARKS = {
  **dict.fromkeys(_WHILE_WORKING, ()),
  **dict.fromkeys(('convolutions', 'fltrust_on_shares'), pytest.mark.thorough),
}
_ATTACK = {
  'cohort.weighting': 'clients',
  'sharing.min_contributors': 1,
  'attack.malicious': 0.25,
  'defence.sketch_size': 64,
}
# By name, what each run changes of the small FedPruneShare.
CASES: dict[str, dict[str, Any]] = {
  'clear': {'sharing.scheme': 'none'},
  'quantised': {'sharing.scheme': 'quantised'},
  'ideal': {'sharing.scheme': 'ideal'},
  'shamir': {},
  'updates': {'sharing.reveal': 'updates', 'sharing.audit': 'none'},
  'packed': {
    'sharing.threshold': 4,
    'sharing.secrets_per_polynomial': 2,
    'sharing.prime': 4194301,
    'sharing.value_bits': 14,
  },
  'local_masks': {'sharing.scheme': 'ideal', 'pruning.mask': 'local'},
  'top_k': {'sharing.scheme': 'none', 'pruning.mask': 'top_k'},
  'tiers': {
    'pruning.tiers': (0.2, 0.5, 1.0),
    'profiles.distribution': 'three_classes',
    'profiles.deadline_seconds': 0.03,
  },
  'regrowth': {'pruning.regrow_every': 1, 'pruning.regrow_end_round': 3},
  'dense_server': {
    'num_rounds': 4,
    'pruning.server': 'dense',
    'pruning.schedule': 'constant',
    'server.learning_rate': 4.0,
  },
  'erk': {'pruning.scope': 'erk', 'model.args.mlp.widths': (16, 8)},
  'layer_normalised': {
    'pruning.scope': 'layer_normalised',
    'model.args.mlp.widths': (16, 8),
  },
  'one_threshold': {'model.args.mlp.widths': (16, 8)},
  'adam': {'server.optimizer': 'adam', 'server.learning_rate': 0.01},
  'client_options': {
    'client.momentum': 0.9,
    'client.proximal': 0.1,
    'client.weight_decay': 0.01,
    'client.epochs': 2,
  },
  'convolutions': {
    'model.name': 'cifar_cnn',
    'model.args.cifar_cnn.channels': (8, 8, 8),
    # At 0.1 a change of one part in 10^7 makes another model in a round.
    'client.learning_rate': 0.001,
  },
  'krum_on_sketches': {
    **_ATTACK,
    'attack.updates': 'alie',
    'defence.name': 'multi_krum',
    'defence.pre_steps': ('nnm',),
    'defence.num_malicious': 2,
  },
  'fltrust_on_shares': {
    **_ATTACK,
    'attack.updates': 'scaling',
    'attack.data': 'backdoor',
    'defence.name': 'fltrust',
    'defence.root_examples': 20,
  },
  'hidden_weights': {
    **_ATTACK,
    'sharing.min_contributors': 2,
    'attack.updates': 'scaling',
    'defence.name': 'fltrust',
    'defence.root_examples': 20,
  },
  'median_of_updates': {
    **_ATTACK,
    'attack.updates': 'min_max',
    'sharing.reveal': 'updates',
    'sharing.audit': 'none',
    'defence.name': 'median',
  },
  'liars': {
    'sharing.audit': 'clients',
    'faults.lying_servers': (4,),
    'faults.inconsistent_clients': (3,),
  },
  'retries': {
    'faults.client_dropout_probability': 0.3,
    'faults.server_dropout_probability': 0.4,
    'faults.on_failed_round': 'retry',
  },
}


# What no processor changes.
_COUNTED = (
  'kept_parameters',
  'clients_reporting',
  'failed_attempts',
  'uplink_bytes_per_client',
  'server_to_central_bytes',
)


def _processor() -> str:
  """Returns what float bits depend on: processor, its vectors, compiler."""
  info = pathlib.Path('/proc/cpuinfo')
  flags = info.read_text(encoding='utf-8').split() if info.exists() else []
  vectors = [one for one in ('avx2', 'avx512f', 'amx_tile') if one in flags]
  parts = (cpu_model(), *vectors, f'jaxlib {metadata.version("jaxlib")}')
  return ', '.join(parts)


def _run(name: str) -> tuple[dict[str, Any], str]:
  """Returns what all processors agree on, of a run, and the model's hash."""
  config = small.make_config(
    **{'num_rounds': 2, 'perf.num_devices': 1, **CASES[name]}
  )
  validate(config)
  # Convolutions that are not optimised round as the program around them has it.
  is_full = name == 'convolutions'
  with small.full_compilation() if is_full else contextlib.nullcontext():
    params, rows = small.run(config)
  table = [dict(row) for row in rows]
  counted = [[row[field] for field in _COUNTED] for row in table]
  norm = float(np.linalg.norm(params.astype(np.float64)))
  model = hashlib.sha256(params.tobytes()).hexdigest()
  return {'counted': counted, 'norm': norm}, model


def _read() -> dict[str, Any]:
  return json.loads(_FILE.read_text(encoding='utf-8'))


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=_MARKS.get(name, pytest.mark.slow))
    for name in CASES
  ],
)
def test_the_model_is_the_known_one(name: str):
  known = _read()[name]
  found, model = _run(name)
  assert found['counted'] == known['counted']
  np.testing.assert_allclose(found['norm'], known['norm'], rtol=1e-3)
  assert model == known['models'].get(_processor(), model)


def test_every_run_is_known_and_has_a_model_of_its_own():
  known = _read()
  assert list(known) == list(CASES)
  for processor in known['clear']['models']:
    model = {name: known[name]['models'][processor] for name in CASES}
    # Sharing changes no bit, nor does what becomes of the shares.
    for name in ('ideal', 'shamir', 'updates'):
      assert model.pop(name) == model['quantised']
    assert len(set(model.values())) == len(model)


def main() -> None:
  """Writes what runs come to, beside the models on other processors."""
  before = _read() if _FILE.exists() else {}
  after = {}
  for name in CASES:
    found, model = _run(name)
    models = before.get(name, {}).get('models', {})
    after[name] = {**found, 'models': {**models, _processor(): model}}
  lines = [f'{json.dumps(name)}: {json.dumps(after[name])}' for name in after]
  _FILE.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')


if __name__ == '__main__':
  sys.exit(main())
