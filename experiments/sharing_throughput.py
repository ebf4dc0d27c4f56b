"""How fast shares are made, summed, checked and opened, beside a memory copy.

A few minutes on two CPU cores; leave the machine alone meanwhile:

  python launch.py --config=experiments/sharing_throughput.py

Beside `galois` where it is installed (`pip install '.[peers]'`). Arguments:
`tiny` is a test of seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.jobs.sharing_throughput import job as sharing_throughput


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(arguments, tiny=False)
  config = sharing_throughput.default()
  if args.tiny:
    config.smoke_test = True
    config.cases = config.cases[:1] + config.cases[5:6]
    config.log2_words = (10, 12)
    config.num_clients = 3
    config.repeats = 2
  return config
