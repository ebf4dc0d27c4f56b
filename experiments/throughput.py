"""Clients and examples a second, by model, execution, method and cohort.

Random images of MNIST's size; about 15 minutes on two CPU cores:

  python launch.py --config=experiments/throughput.py

Arguments: `w1` (MLP, 100 clients of 600 images, batches of 10) and `w2` (CNN,
10 clients, batches of 50) measure FedAvg on MNIST from TFDS alone, and end with
a line of JSON if asked for it (`--json`); any setting can be overridden, the
model's width, the cohort, the method or the execution. `scaling` measures
cohorts of 10 to 10,000 clients alone, `defences` FedPruneShare with defences on
shares beside it without, `privacy` with noise for differential privacy; `tiny`
is a test of seconds. Results are in experiments/README.md.

For a GPU, where it should take less than ten minutes, FedPruneShare by model
and by clients that are trained at once:

  python launch.py --config=experiments/throughput.py:accelerator
"""

import itertools
from collections.abc import Sequence

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.jobs.throughput import job as throughput

_METHODS = {
  'fedavg': {},
  'pruning': {'pruning': {'schedule': 'constant'}},
  'ideal': {'sharing': {'scheme': 'ideal'}},
  'sharing': {'sharing': {'scheme': 'shamir'}},
  'fedpruneshare': {
    'pruning': {'schedule': 'constant'},
    'sharing': {'scheme': 'shamir'},
  },
}
_DEFENCES = {
  'none': {'name': 'none'},
  'nnm_multi_krum': {'name': 'multi_krum', 'pre_steps': ('nnm',)},
  'fltrust': {'name': 'fltrust'},
}
_PRIVACY = {
  'no_noise': {},
  'central': {'mode': 'central', 'noise_multiplier': 1.0},
  'distributed': {'mode': 'distributed', 'noise_multiplier': 1.0},
  'rotated': {'mode': 'distributed', 'noise_multiplier': 1.0, 'rotate': True},
}
_MODELS = ('mlp', 'mcmahan_cnn', 'cifar_cnn', 'resnet8', 'resnet20')
_COHORTS = (10, 100, 1_000, 10_000)
# On an accelerator: models and their clients a round, chunks for the first.
_ON_ACCELERATOR = {'mlp': 10_000, 'mcmahan_cnn': 1_000, 'resnet20': 100}
_CHUNKS = (16, 128, 1_024)


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    w1=False,
    w2=False,
    scaling=False,
    defences=False,
    privacy=False,
    accelerator=False,
    tiny=False,
  )
  config = throughput.default()
  configs.prune_by_single_threshold(config)
  if args.tiny:
    config.timing.rounds = 1
    config.timing.examples = 60
  if args.w1 or args.w2:
    config.name = 'w1' if args.w1 else 'w2'
    config.data.source = 'mnist'
    config.timing.examples = 0
    config.timing.trace = False
    if args.w2:
      config.model.name = 'mcmahan_cnn'
      config.cohort.size = 10
      config.client.batch_size = 50
  elif args.accelerator:
    _add_accelerator(config, args.tiny)
  elif args.defences:
    _add_defences(config, (8,) if args.tiny else (100, 1_000))
  elif args.privacy:
    _add_privacy(config, 8 if args.tiny else 100)
  else:
    if not args.scaling:
      few = ('fedavg', 'fedpruneshare')
      _add_methods(config, few if args.tiny else tuple(_METHODS))
    if not args.scaling and not args.tiny:
      _add_models(config, _MODELS)
    _add_scaling(config, (2, 8) if args.tiny else _COHORTS)
  if args.tiny:
    configs.tiny(config)
    if 'fedavg' in config.variants:
      # It compiles everything once more.
      config.variants.fedavg.timing.trace = False
    config.timing.image_shape = (8, 8, 1)
  return config


def _add_methods(config: ConfigDict, methods: Sequence[str]) -> None:
  """Adds w1 by each method, their rounds in turn."""
  for name in methods:
    timing = {'group': 'methods', 'rounds': config.timing.rounds * 3}
    config.variants[name] = {**_METHODS[name], 'timing': timing}


def _add_defences(config: ConfigDict, cohorts: Sequence[int]) -> None:
  """Adds FedPruneShare without and with a defence on shares, in turn."""
  for cohort, name in itertools.product(cohorts, _DEFENCES):
    config.variants[f'{name}_{cohort}'] = {
      **_METHODS['fedpruneshare'],
      'cohort': {'size': cohort, 'weighting': 'clients'},
      'data': {'num_clients': cohort},
      'defence': {'num_malicious': cohort // 5, **_DEFENCES[name]},
      'timing': {'group': f'defences_{cohort}', 'trace': False},
    }


def _add_privacy(config: ConfigDict, cohort: int) -> None:
  """Adds FedPruneShare without and with noise, in turn."""
  for name, privacy in _PRIVACY.items():
    config.variants[name] = {
      **_METHODS['fedpruneshare'],
      'cohort': {'size': cohort, 'weighting': 'clients'},
      'data': {'num_clients': cohort},
      'privacy': privacy,
      'timing': {'group': 'privacy', 'rounds': 11, 'trace': False},
    }


def _add_accelerator(config: ConfigDict, is_tiny: bool) -> None:
  """Adds FedPruneShare by model, and by the clients of a chunk."""
  cohorts = {'mlp': 8} if is_tiny else _ON_ACCELERATOR
  cases = {f'{model}_on_accelerator': (model, 0) for model in cohorts}
  for chunk_size in (2,) if is_tiny else _CHUNKS:
    cases[f'mlp_chunks_of_{chunk_size}'] = ('mlp', chunk_size)
  for name, (model, chunk_size) in cases.items():
    config.variants[name] = {
      **_METHODS['fedpruneshare'],
      'model': {'name': model},
      'perf': {'chunk_size': chunk_size, 'execution': 'vmap'},
      'cohort': {'size': cohorts[model]},
      'data': {'num_clients': cohorts[model]},
      'timing': {'rounds': 1 if is_tiny else 3},
    }


def _add_models(config: ConfigDict, models: Sequence[str]) -> None:
  """Adds FedAvg of each model, clients in sequence and vmapped."""
  for model, execution in itertools.product(models, ('sequential', 'vmap')):
    config.variants[f'{model}_{execution}'] = {
      'model': {'name': model},
      'perf': {'execution': execution},
      'client': {'batch_size': 20},
      'cohort': {'size': 10},
      'data': {'num_clients': 10},
      'timing': {'examples': 120, 'group': model, 'trace': False},
    }


def _add_scaling(config: ConfigDict, cohorts: Sequence[int]) -> None:
  """Adds cohorts of one and the same set of clients."""
  for cohort in cohorts:
    config.variants[f'scaling_{cohort}'] = {
      'cohort': {'size': cohort},
      'data': {'num_clients': max(cohorts)},
      'timing': {'examples': 60, 'trace': False},
    }
