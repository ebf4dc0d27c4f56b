"""Full MNIST, IID, every client every round: the setting others report.

The 784-200-200-10 perceptron, 100 clients of 600 images, one local epoch in
batches of 10, learning rate 0.1. Needs MNIST prepared for TFDS (BUILD.md,
"Data"). One to three minutes a run on two CPU cores:

  python launch.py --config=experiments/mnist_iid.py --tfds_data_dir=DIR

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
  config.name = 'mnist_iid'
  configs.prune_by_single_threshold(config)
  config.seeds = tuple(range(args.seeds))
  configs.compare_methods(config, args.methods)
  config.num_rounds = 60
  config.data.source = 'mnist'
  config.data.partition = 'iid'
  config.pruning.end_round = 30
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  return config
