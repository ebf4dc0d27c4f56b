"""Clients with slow devices: one sparsity for all, or as much as each can do.

A third of the clients each have slow, medium and fast computing and links
(`three_classes`), changing from round to round. FedAvg and uniform sparsity
wait for the slowest of a round; with tiers each client trains the largest part
of the model that it finishes by the deadline. The 784-200-200-10 perceptron on
full MNIST, 20 of 100 clients a round. Needs MNIST prepared for TFDS (BUILD.md,
"Data"). About a minute a run on two CPU cores:

  python launch.py --config=experiments/heterogeneous.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `partition=dirichlet` deals classes
unevenly (alpha 0.5); `deadline=S` is the seconds that a round may take; `tiny`
is a test of seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=1, partition='iid', deadline=1.2, tiny=False
  )
  config = configs.default()
  config.name = 'heterogeneous'
  config.seeds = tuple(range(args.seeds))
  config.variants.fedavg = configs.METHODS['fedavg']
  config.variants.uniform = {}
  config.variants.tiers = {
    'pruning': {'tiers': (0.1, 0.3, 0.6, 1.0)},
    'profiles': {'deadline_seconds': args.deadline},
  }
  config.baseline = 'fedavg'
  config.target_accuracy = 0.97
  config.num_rounds = 100
  config.data.source = 'mnist'
  config.data.partition = args.partition
  config.cohort.size = 20
  config.pruning.sparsity = 0.8
  config.pruning.end_round = 30
  config.pruning.scope, config.pruning.server = 'global', 'dense'
  config.profiles.distribution = 'three_classes'
  configs.share_in_short_words(config)
  config.eval.every_rounds = 2
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  return config
