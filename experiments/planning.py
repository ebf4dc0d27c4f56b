"""How long the host takes to plan a round, by population and cohort.

Half a minute on two CPU cores; leave the machine alone meanwhile:

  python launch.py --config=experiments/planning.py

Arguments: `tiny` is a test of seconds. Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.jobs.planning import job as planning


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(arguments, tiny=False)
  config = planning.default()
  if args.tiny:
    config.smoke_test = True
    config.planning.populations = (10, 100)
    config.planning.cohorts = (5, 50)
    config.planning.rounds = 1
  return config
