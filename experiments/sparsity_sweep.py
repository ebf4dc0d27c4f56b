"""FedPruneShare from 50 to 99 % sparsity, what is pruned forgotten or not.

The 784-200-200-10 perceptron on full MNIST, 20 of 100 clients a round; the
sparsity rises until round 30 of 60. Needs MNIST prepared for TFDS (BUILD.md,
"Data"). Under a minute a run on two CPU cores:

  python launch.py --config=experiments/sparsity_sweep.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `server=dense` remembers what is
pruned; `partition=dirichlet` deals classes unevenly (alpha 0.5); `tiny` is a
test of seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=1, partition='iid', server='sparse', tiny=False
  )
  config = configs.default()
  config.name = 'sparsity_sweep'
  config.seeds = tuple(range(args.seeds))
  few = (0.5, 0.9, 0.99)
  configs.compare_sparsities(config, few if args.tiny else SPARSITIES)
  config.num_rounds = 60
  config.data.source = 'mnist'
  config.data.partition = args.partition
  config.cohort.size = 20
  config.pruning.end_round = 30
  config.pruning.scope, config.pruning.server = 'global', args.server
  config.pruning.exempt = ('bias$',)  # The last layer is more than 1 %.
  if args.partition == 'iid':
    # Sums of 20 clients of 600 examples each fit 14 bits.
    configs.share_in_short_words(config, prime=16381, value_bits=8)
  else:
    configs.share_in_short_words(config)
  config.eval.every_rounds = 5
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  return config
