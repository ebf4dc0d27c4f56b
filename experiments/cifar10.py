"""CIFAR-10 at 80 and 90 % sparsity against FedAvg at equal rounds.

A convolutional network with GroupNorm and a dense layer, 321,450 parameters; 10
of 100 clients a round, one local epoch in batches of 20, learning rate 0.05.
The central server remembers what is pruned and chooses anew each round; the
sparsity rises from round 0 to 30 and stays. Words of 22 bits in packs of two
for five servers, any four of which open. Needs CIFAR-10 prepared for TFDS
(BUILD.md, "Data"). Five to ten minutes a run on two CPU cores:

  python launch.py --config=experiments/cifar10.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `partition=dirichlet` deals classes
unevenly (alpha 0.5); `methods=fedavg+fedpruneshare_90` runs those alone;
`hidden=0` leaves the dense layer out, 66,730 parameters; `tiny` is a test of
seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=1, partition='iid', methods='', hidden=256, tiny=False
  )
  config = configs.default()
  config.name = 'cifar10'
  config.seeds = tuple(range(args.seeds))
  configs.compare_sparsities(config, (0.8, 0.9), args.methods)
  config.num_rounds = 60
  configs.learn_cifar10(config)
  config.data.partition = args.partition
  config.model.args.cifar_cnn.hidden = args.hidden
  config.pruning.scope, config.pruning.server = 'global', 'dense'
  config.pruning.end_round = 30
  # Without the dense layer, the last one is 15 % of the model.
  config.pruning.exempt = ('bias$', 'scale$')
  configs.share_in_short_words(config)
  config.eval.every_rounds = 5
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  return config
