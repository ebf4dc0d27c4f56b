"""CIFAR-10 with residual networks, as others train them.

ResNet-8 with GroupNorm, 77,850 parameters; pixels standardised by channel,
images cropped and mirrored at random; 100 clients whose classes are uneven
(Dirichlet 0.5), 10 of them a round, one local epoch in batches of 20; a
learning rate that falls as a cosine over the rounds. FedAvg against
FedPruneShare at 80, 90 and 95 % from the first round on, with as many weights
of each layer as ERK says; the central server remembers what is pruned. Words of
22 bits in packs of two for five servers, any four of which open. They learn
more as `cifar10_long.py` has it. Needs CIFAR-10 prepared for TFDS (BUILD.md,
"Data"):

  python launch.py --config=experiments/cifar10_resnet.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `rounds=1000` trains for longer;
`model=cifar_cnn` is no residual network; `model=resnet20` and, for a GPU,
`model=resnet18` are larger; `partition=iid` deals evenly;
`methods=fedavg+fedpruneshare_90` runs those alone; `tiny` is a test of seconds.
Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    seeds=1,
    rounds=500,
    model='resnet8',
    partition='dirichlet',
    methods='',
    tiny=False,
  )
  config = configs.default()
  config.name = 'cifar10_resnet'
  config.seeds = tuple(range(args.seeds))
  configs.compare_sparsities(config, (0.8, 0.9, 0.95), args.methods)
  config.num_rounds = args.rounds
  configs.learn_cifar10_for_long(config)
  config.data.partition = args.partition
  config.model.name = args.model
  config.client.learning_rate = 0.1
  config.pruning.schedule = 'constant'
  config.pruning.scope = 'erk'
  config.pruning.server = 'dense'
  configs.share_in_short_words(config)
  if args.tiny:
    configs.tiny(config)
    # In three rounds it is as good as another learning rate.
    config.client.schedule = 'constant'
    config.model.args[args.model].width = 8
    config.eval.batch_size = 8
  return config
