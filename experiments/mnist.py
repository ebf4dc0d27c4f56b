"""FedPruneShare against its three baselines on the bundled MNIST sample.

20 of 100 clients a round, non-IID (Dirichlet 0.5), 5 local epochs; 78 % of the
parameters are gone by round 35. About a minute on two CPU cores:

  python launch.py --config=experiments/mnist.py

Arguments: `seeds=N` runs seeds 0 .. N - 1; `methods=fedavg+fedpruneshare` runs
those alone; `tiny` is a test of seconds.
Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(arguments, seeds=1, methods='', tiny=False)
  config = configs.default()
  config.name = 'mnist'
  config.seeds = tuple(range(args.seeds))
  configs.compare_methods(config, args.methods)
  config.num_rounds = 50
  config.cohort.size = 20
  config.client.epochs = 5
  config.client.learning_rate = 0.2
  config.pruning.sparsity = 0.78
  config.pruning.end_round = 35
  # Any 2 of 5 servers learn nothing, and any 4 open; a word carries 2 values.
  # In 14 bits sums of 64 clients fit, and of 20 with up to 819 examples each.
  config.sharing.threshold = 4
  config.sharing.secrets_per_polynomial = 2
  config.sharing.prime = 16381
  if args.tiny:
    configs.tiny(config)
  return config
