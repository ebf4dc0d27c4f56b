"""What each way to prune is worth: when, where, and whether it comes back.

The 784-200-200-10 perceptron on full MNIST, 20 of 100 clients a round, 60
rounds. Every variant changes `cubic`, where the sparsity rises until round 30,
one threshold is for all layers, and what is pruned is forgotten. Needs MNIST
prepared for TFDS (BUILD.md, "Data"). Under a minute a run on two CPU cores:

  python launch.py --config=experiments/pruning_ablation.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `sparsity=0.9` is another one than
0.95; `partition=dirichlet` deals classes unevenly (alpha 0.5); `tiny` is a test
of seconds. Results are in experiments/README.md.
"""

from typing import Any

from ml_collections import ConfigDict

from fps_jax import config as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=1, sparsity=0.95, partition='iid', tiny=False
  )
  config = configs.default()
  config.name = 'pruning_ablation'
  config.seeds = tuple(range(args.seeds))
  config.num_rounds = 60
  config.data.source = 'mnist'
  config.data.partition = args.partition
  config.cohort.size = 20
  config.pruning.sparsity = args.sparsity
  config.pruning.exempt = ('bias$',)
  configs.share_in_short_words(config)
  config.eval.every_rounds = 5
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  config.pruning.end_round = config.num_rounds // 2
  config.variants.fedavg = configs.METHODS['fedavg']
  for name, pruning in _variants(config.num_rounds).items():
    config.variants[name] = {'pruning': pruning}
  config.baseline = 'fedavg'
  return config


def _variants(num_rounds: int) -> dict[str, dict[str, Any]]:
  """Returns what each variant sets of `config.pruning`."""
  dense = {'server': 'dense'}
  later = {'begin_round': num_rounds // 4, 'end_round': 3 * num_rounds // 4}
  return {
    'cubic': {},
    'step': {'schedule': 'step'},
    'constant': {'schedule': 'constant'},
    # All of it at once, after half of the rounds.
    'one_shot': {'schedule': 'constant', 'begin_round': num_rounds // 2},
    'later': later,
    'dense': dense,
    'dense_later': {**dense, **later},
    'regrowth': {'regrow_every': 5, 'regrow_end_round': 3 * num_rounds // 4},
    'layer_normalised': {'scope': 'layer_normalised'},
    'erk': {'scope': 'erk'},
    'erk_constant': {'schedule': 'constant', 'scope': 'erk'},
    'dense_erk': {**dense, 'scope': 'erk'},
  }
