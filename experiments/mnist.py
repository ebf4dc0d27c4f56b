"""FedPruneShare against its three baselines on the bundled MNIST sample.

python launch.py --config=experiments/mnist.py
"""

from fps_jax import config as configs


def get_config(arguments=None):
  """Arguments: seeds=N, tiny."""
  args = configs.parse_arguments(arguments, seeds=1, tiny=False)
  config = configs.default()
  config.name = 'mnist'
  config.seeds = tuple(range(args.seeds))
  config.variants.update(configs.FOUR_METHODS)
  config.baseline = 'fedavg'
  if args.tiny:
    configs.tiny(config)
  return config
