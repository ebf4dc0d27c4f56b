"""How unevenly classes are dealt, and what that costs whom.

FedAvg and FedPruneShare at 90 %, with classes dealt by Dirichlet of alpha 0.1,
0.3, 0.5 and 1, in two shards a client, and evenly: test accuracy, and that of
the tenth of clients for whom it is lowest. 10 of 100 clients a round for 100
rounds of one local epoch, on the bundled MNIST sample. Half a minute a run on
two CPU cores:

  python launch.py --config=experiments/non_iid.py

Arguments: `seeds=N` runs seeds 0 .. N - 1; `deals=dirichlet_0.5+shards_2+iid`
and `methods=fedavg+fedpruneshare_95` run those alone; `clients=500` deals to as
many; `epochs=5` trains for longer at clients; `data=mnist` is all of it, from
TFDS; `tiny` is a test of seconds. Results are in experiments/README.md.
"""

from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.results.titles import SEPARATOR


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    seeds=1,
    deals='dirichlet_0.1+dirichlet_0.3+dirichlet_0.5+dirichlet_1+shards_2+iid',
    methods='fedavg+fedpruneshare_90',
    clients=100,
    epochs=1,
    data='mnist_sample',
    tiny=False,
  )
  config = configs.default()
  config.name = 'non_iid'
  config.seeds = tuple(range(args.seeds))
  config.num_rounds = 100
  config.data.source = args.data
  config.data.num_clients = args.clients
  config.cohort.size = 10
  config.client.epochs = args.epochs
  config.pruning.end_round = 30
  config.pruning.scope = 'erk'
  config.pruning.server = 'dense'
  configs.share_in_short_words(config)
  config.eval.every_rounds = 10
  config.eval.by_client_every_rounds = config.num_rounds
  for deal in args.deals.split('+'):
    for method in args.methods.split('+'):
      config.variants[f'{deal}{SEPARATOR}{method}'] = {
        'data': _deal(deal),
        **_method(method),
      }
  config.baseline = next(iter(config.variants))
  if args.tiny:
    configs.tiny(config)
    # Of so few clients, accuracies by client are no numbers, and one may have
    # most of the examples.
    config.eval.by_client_every_rounds = 0
    config.cohort.weighting = 'clients'
  return config


def _deal(name: str) -> dict[str, Any]:
  """Returns what `iid`, `dirichlet_ALPHA` or `shards_NUMBER` sets of data."""
  kind, _, number = name.partition('_')
  if kind == 'dirichlet':
    settings = {'dirichlet': {'alpha': float(number)}}
  elif kind == 'shards':
    settings = {'shards': {'shards_per_client': int(number)}}
  else:
    return {'partition': kind}
  return {'partition': kind, 'partition_args': settings}


def _method(name: str) -> dict[str, Any]:
  """Returns what a key of `METHODS`, or that and a sparsity, sets."""
  if name in configs.METHODS:
    return configs.METHODS[name]
  method, _, percent = name.rpartition('_')
  if method not in configs.METHODS or not percent.replace('.', '').isdigit():
    raise ValueError(
      f'method {name!r} is not one of {list(configs.METHODS)}, nor such a name '
      'with a sparsity in percent, as fedpruneshare_95'
    )
  sparsity = {'pruning': {'sparsity': float(percent) / 100}}
  return {**configs.METHODS[method], **sparsity}
