"""CIFAR-10 until FedAvg's learning rate is 0.

Pixels standardised by channel, images mirrored at random; 100 clients whose
classes are uneven (Dirichlet 0.5), 10 of them a round, one local epoch; a
learning rate that falls as a cosine over the rounds. FedAvg against
FedPruneShare at 90 and 95 %, reached in round 450 of 700; the central server
remembers what is pruned. Words of 12 bits in packs of six for nine servers, any
eight of which open, and any two learn nothing.

The network of convolutions of `cifar10.py`, 321,450 parameters, learns in
batches of 20 from a learning rate of 0.07; one threshold prunes all layers.
Residual networks with GroupNorm learn in batches of 10 from 0.15, with logits
adjusted for uneven classes and with momentum at the central server (FedAvgM);
as many weights of each layer are kept as ERK says. ResNet-8 has 77,850
parameters. Needs CIFAR-10 prepared for TFDS (BUILD.md, "Data"). Three quarters
of an hour a run of convolutions, on one CPU core, and twice that of ResNet-8:

  python launch.py --config=experiments/cifar10_long.py --tfds_data_dir=DIR

Arguments: `model=resnet8` or `model=resnet20` and, for a GPU, `model=resnet18`
are residual networks; `seeds=N` runs seeds 0 .. N - 1; `rounds=300` trains for
less than 700; `partition=iid` deals evenly; `methods=fedavg+fedpruneshare_80`
compares with 80 % alone; `tiny` is a test of seconds. Results are in
experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    seeds=1,
    rounds=700,
    model='cifar_cnn',
    partition='dirichlet',
    methods='fedavg+fedpruneshare_90+fedpruneshare_95',
    tiny=False,
  )
  config = configs.default()
  config.name = 'cifar10_long'
  config.seeds = tuple(range(args.seeds))
  configs.compare_sparsities(config, (0.8, 0.9, 0.95), args.methods)
  config.num_rounds = args.rounds
  configs.learn_cifar10_for_long(config)
  config.data.partition = args.partition
  config.model.name = args.model
  # With images moved as well, and 0.05, FedAvg was at 66 % after 300 rounds.
  config.client.augmentation_args.crop_flip.padding = 0
  if args.model == 'cifar_cnn':
    config.model.args.cifar_cnn.hidden = 256
    config.client.learning_rate = 0.07
    config.pruning.scope = 'global'
    config.sharing.clip = 0.04
  else:
    _learn_residual(config)
  config.pruning.server = 'dense'
  config.pruning.end_round = args.rounds * 9 // 14
  config.sharing.num_servers, config.sharing.threshold = 9, 8
  config.sharing.secrets_per_polynomial = 6
  # Sums of ten clients' 8-bit values fit, and of weights of up to 400.
  config.sharing.prime, config.sharing.value_bits = 4093, 8
  config.sharing.largest_weight = 400
  if args.tiny:
    configs.tiny(config)
    # In three rounds it is as good as another learning rate.
    config.client.schedule = 'constant'
    config.eval.batch_size = 8
    if args.model != 'cifar_cnn':
      config.model.args[args.model].width = 8
  return config


def _learn_residual(config: ConfigDict) -> None:
  """Sets how residual networks learn, in place.

  After 20 rounds ResNet-8 was ahead by four points with adjusted logits, and by
  another two with momentum. No layer holds most of the weights, as the dense
  one of the convolutions does; other scopes were not tried.
  """
  config.pruning.scope = 'erk'
  config.sharing.clip = 0.08
  config.client.batch_size, config.client.learning_rate = 10, 0.15
  config.model.loss = 'logit_adjustment'
  config.server.optimizer, config.server.momentum = 'momentum', 0.6
