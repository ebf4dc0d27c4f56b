"""What each party's view of an update reveals, by gradient inversion.

A strong attacker, who knows the model, the mask, the labels and how clients
train, searches for images of the bundled MNIST sample from what it sees of
their updates: plain, opened from shares, shares alone, sums, pruned and
sketched. Ten minutes on two CPU cores:

  python launch.py --config=experiments/inversion.py

Arguments: `seeds=N` attacks under seeds 0 .. N - 1; `networks=lenet+lenet_1000`
attacks a few views of one image a client of these networks, here untrained and
after 1,000 steps of honest training; `noise=0+0.01` attacks one image a client
under noise of these multiples of the clip, for one client and ten; `tiny` is a
test of seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.jobs.inversion import job


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments, seeds=4, networks='', noise='', tiny=False
  )
  config = job.default()
  config.seeds = tuple(range(args.seeds))
  if args.networks:
    config.inversion.networks = tuple(map(_network, args.networks.split('+')))
    config.inversion.images_per_client = (1,)
  if args.noise:
    config.inversion.noise_multipliers = tuple(
      map(float, args.noise.split('+'))
    )
    config.inversion.images_per_client = (1,)
  if args.tiny:
    configs.tiny(config)
    config.data.source = 'mnist_sample'
    config.seeds = config.seeds[:2]
    config.inversion.width = 4
    config.inversion.roundings = ((8, 0.03),)
    config.inversion.images_per_client = (1,)
    config.inversion.clients = (2,)
    config.inversion.sparsities = (0.5,)
    config.inversion.sketches = ((64, 0.1),)
    config.inversion.joint_clients = 2
    config.inversion.joint_sparsity = 0.5
    config.inversion.iterations = 3
    config.inversion.restarts = 1
  return config


def _network(text: str) -> tuple[str, int]:
  """Returns what `NAME` or `NAME_STEPS` stands for."""
  name, _, steps = text.rpartition('_')
  return (name, int(steps)) if name and steps.isdigit() else (text, 0)
