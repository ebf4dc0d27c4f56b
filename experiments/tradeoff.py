"""Accuracy, uplink, privacy and faults against each other.

FedPruneShare at several sparsities and value bits on full MNIST, the
784-200-200-10 perceptron and 20 of 100 clients a round; each result with every
sharing scheme and field that its sums fit. Reports the choices that no other
dominates. Needs MNIST prepared for TFDS (BUILD.md, "Data"). Under a minute a
run on two CPU cores, nine runs a seed:

  python launch.py --config=experiments/tradeoff.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `tiny` is a test of seconds. Results
are in experiments/README.md.
"""

import itertools

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.jobs.tradeoff import job as tradeoff

SPARSITIES = (0.8, 0.9, 0.95)
VALUE_BITS = (4, 6, 8)


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(arguments, seeds=1, tiny=False)
  config = tradeoff.default()
  config.seeds = tuple(range(args.seeds))
  few = args.tiny
  for sparsity, bits in itertools.product(
    SPARSITIES[: 2 if few else None], VALUE_BITS[: 2 if few else None]
  ):
    config.variants[f'sparsity_{100 * sparsity:g}_bits_{bits}'] = {
      'pruning': {'sparsity': sparsity},
      'sharing': {'value_bits': bits},
    }
  config.num_rounds = 60
  config.data.source = 'mnist'
  config.data.partition = 'iid'
  config.cohort.size = 20
  config.pruning.end_round = 30
  config.pruning.scope, config.pruning.server = 'global', 'dense'
  config.sharing.scheme = 'ideal'
  config.eval.every_rounds = 10
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  return config
