"""The FedAvg paper's MNIST network at 90 and 95 % sparsity.

Two convolutions and 512 units, 1,663,370 parameters; 10 of 100 clients a round,
one local epoch in batches of 10, learning rate 0.2. Pruned from the first round
on; the central server remembers what is pruned and chooses anew each round.
Words of 22 bits in packs of two for five servers, any four of which open.
Needs MNIST prepared for TFDS (BUILD.md, "Data"). Five to ten minutes a run on
two CPU cores:

  python launch.py --config=experiments/mnist_cnn.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `partition=dirichlet` deals classes
unevenly (alpha 0.5); `methods=fedavg+fedpruneshare_90` runs those alone; `tiny`
is a test of seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=1, partition='iid', methods='', tiny=False
  )
  config = configs.default()
  config.name = 'mnist_cnn'
  config.seeds = tuple(range(args.seeds))
  configs.compare_sparsities(config, (0.9, 0.95), args.methods)
  config.num_rounds = 50
  config.data.source = 'mnist'
  config.data.partition = args.partition
  config.model.name = 'mcmahan_cnn'
  config.client.learning_rate = 0.2
  config.cohort.size = 10
  config.pruning.schedule = 'constant'
  config.pruning.scope, config.pruning.server = 'global', 'dense'
  configs.share_in_short_words(config)
  config.eval.every_rounds = 5
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  return config
