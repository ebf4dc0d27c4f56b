"""Full MNIST, IID, every client every round: the setting others report.

The 784-200-200-10 perceptron, 100 clients of 600 images, one local epoch in
batches of 10, learning rate 0.1; 90 % of the parameters are gone by round 30.
Any four of five servers open; a word of 16 bits carries two values. Needs MNIST
prepared for TFDS (BUILD.md, "Data"). Half a minute a run on two CPU cores:

  python launch.py --config=experiments/mnist_iid.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `methods=fedavg+fedpruneshare` runs
those alone; `plain` prunes by the paper's single threshold, forgets what is
pruned, and shares one value a word of 31 bits, of which any three servers open;
`tiny` is a test of seconds.
Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=1, methods='', plain=False, tiny=False
  )
  config = configs.default()
  config.name = 'mnist_iid'
  config.seeds = tuple(range(args.seeds))
  configs.compare_methods(config, args.methods)
  config.num_rounds = 60
  config.data.source = 'mnist'
  config.data.partition = 'iid'
  config.pruning.end_round = 30
  config.eval.batch_size = 2000
  if args.plain:
    configs.prune_by_single_threshold(config)
  else:
    config.sharing.threshold = 4
    config.sharing.secrets_per_polynomial = 2
    # The sum over all 60,000 examples fits.
    config.sharing.prime = 65521
  if args.tiny:
    configs.tiny(config)
  return config
