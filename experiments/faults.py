"""FedPruneShare while clients drop out and servers fail.

The bundled MNIST sample, non-IID (Dirichlet 0.5), 20 of 100 clients a round, 5
local epochs; seven servers, any four of which open. In `fixed`, 30 % of the
clients drop out, server 1 never answers and server 2 lies in every round. In
`random`, every server fails to answer with probability 0.2 and lies with
probability 0.1, and a round that cannot be completed is tried again; a sum is
opened only if five servers answer. About a minute a run on two CPU cores:

  python launch.py --config=experiments/faults.py

Arguments: `seeds=N` runs seeds 0 .. N - 1; `tiny` is a test of seconds. Results
are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(arguments, seeds=1, tiny=False)
  config = configs.default()
  config.name = 'faults'
  configs.prune_by_single_threshold(config)
  config.seeds = tuple(range(args.seeds))
  config.variants.update(
    {
      'faultless': {},
      'fixed': {
        'faults': {
          'client_dropout_probability': 0.3,
          'missing_servers': (1,),
          'lying_servers': (2,),
        }
      },
      'random': {
        'faults': {
          'client_dropout_probability': 0.3,
          'server_dropout_probability': 0.2,
          'server_corruption_probability': 0.1,
          'on_failed_round': 'retry',
        },
        'sharing': {'min_answers': 5},
      },
    }
  )
  config.baseline = 'faultless'
  config.num_rounds = 50
  config.cohort.size = 20
  config.client.epochs = 5
  config.pruning.end_round = 35
  config.sharing.num_servers = 7
  config.sharing.threshold = 4
  config.sharing.prime = 4194301
  config.eval.every_rounds = 5
  if args.tiny:
    configs.tiny(config)
  return config
