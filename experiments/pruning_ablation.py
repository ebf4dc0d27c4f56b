"""What each way to prune is worth: when, where, and whether it comes back.

The 784-200-200-10 perceptron on full MNIST, 20 of 100 clients a round, 60
rounds. Every variant changes `cubic`, where the sparsity rises until round 30,
one threshold is for all layers, and what is pruned is forgotten. Needs MNIST
prepared for TFDS (BUILD.md, "Data"). Under a minute a run on two CPU cores:

  python launch.py --config=experiments/pruning_ablation.py --tfds_data_dir=DIR

Arguments: `data=cifar10` learns what `experiments/cifar10.py` does, in five to
ten minutes a run; `seeds=N` runs seeds 0 .. N - 1; `sparsity=0.9` is another
one than 0.95; `partition=dirichlet` deals classes unevenly (alpha 0.5);
`variants=fedavg+cubic+dense` runs those alone; `tiny` is a test of seconds, of
a few of them.
Results are in experiments/README.md.
"""

from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs

# Twice the units of the widest layers, and the parameters without and with.
_WIDE = {
  'mnist': ({'mlp': {'widths': (400, 400)}}, 199_210, 478_410),
  'cifar10': ({'cifar_cnn': {'hidden': 512}}, 321_450, 586_410),
}
_TINY = 'fedavg+cubic+dense+regrowth+erk'


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    data='mnist',
    seeds=1,
    sparsity=0.95,
    partition='iid',
    variants='',
    tiny=False,
  )
  if args.data not in _WIDE:
    raise ValueError(f'data={args.data} is not one of {list(_WIDE)}')
  config = configs.default()
  config.name = 'pruning_ablation'
  configs.prune_by_single_threshold(config)
  config.seeds = tuple(range(args.seeds))
  config.num_rounds = 60
  config.data.source = args.data
  config.cohort.size = 20
  if args.data == 'cifar10':
    configs.learn_cifar10(config)
  config.data.partition = args.partition
  config.pruning.sparsity = args.sparsity
  config.pruning.exempt = ('bias$', 'scale$')
  configs.share_in_short_words(config)
  config.eval.every_rounds = 5
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  config.pruning.end_round = config.num_rounds // 2
  variants = _variants(config.num_rounds)
  model_args, size, wide_size = _WIDE[args.data]
  variants['wide'] = {
    'model': {'args': model_args},
    # As many parameters kept.
    'pruning': {'sparsity': 1 - (1 - args.sparsity) * size / wide_size},
  }
  few = _TINY if args.tiny else ''
  configs.choose(config, variants, args.variants or few)
  return config


def _variants(num_rounds: int) -> dict[str, dict[str, Any]]:
  """Returns what each variant sets of the config."""
  dense = {'server': 'dense'}
  later = {'begin_round': num_rounds // 4, 'end_round': 3 * num_rounds // 4}
  once = {'schedule': 'constant', 'scope': 'erk'}
  layers = {'scope': 'layer_normalised'}
  whole = {'schedule': 'none', 'scope': 'erk'}
  in_parts = {'scope': 'erk', 'end_round': 5 * num_rounds // 6}
  after_one_round = {'schedule': 'constant', 'begin_round': 1}
  pruning = {
    'cubic': {},
    'step': {'schedule': 'step'},
    'constant': {'schedule': 'constant'},
    # All of it at once, after half of the rounds.
    'one_shot': {'schedule': 'constant', 'begin_round': num_rounds // 2},
    'later': later,
    'dense': dense,
    'dense_later': {**dense, **later},
    'regrowth': {'regrow_every': 5, 'regrow_end_round': 3 * num_rounds // 4},
    'layer_normalised': layers,
    'erk': {'scope': 'erk'},
    'erk_constant': once,
    'dense_erk': {**dense, 'scope': 'erk'},
    # For as few bytes as rivals send.
    'soonest': {**layers, 'end_round': num_rounds // 15},
    'soon': {**layers, 'end_round': num_rounds // 3},
    'parts_5': {**in_parts, 'trained_fraction': 0.05},
    # As many bytes as `ssfl` sends.
    'parts_7': {**in_parts, 'trained_fraction': 0.0725},
    'parts_20': {**in_parts, 'trained_fraction': 0.2},
    # As many as `random_part_20`.
    'parts_48': {**in_parts, 'trained_fraction': 0.48},
    # The rivals: their papers, and what differs from them, are in README.md.
    'erk_random': {**once, 'score': 'random'},
    'erk_initial': {**once, 'score': 'initial_magnitude'},
    'ssfl': {**after_one_round, 'score': 'saliency'},
    'ssfl_warm_up': {
      'schedule': 'constant',
      'begin_round': max(1, 2 * num_rounds // 15),
      'score': 'saliency',
    },
    'feddst': {
      **once,
      'regrow_every': 5,
      'regrow_end_round': num_rounds // 2,
      'regrow_rule': 'magnitude',
    },
    'random_part': {**whole, 'trained_fraction': 0.05},
    'random_part_20': {**whole, 'trained_fraction': 0.2},
    'uniform_part': {**whole, 'scope': 'global', 'trained_fraction': 0.05},
    # Of all that is pruned, so that such a round is as one without pruning.
    'prunefl': {
      **after_one_round,
      **layers,
      'regrow_every': 10,
      'regrow_end_round': 3 * num_rounds // 4,
      'candidates_per_regrown': 1e6,
    },
  }
  return {
    'fedavg': configs.METHODS['fedavg'],
    **{name: {'pruning': changed} for name, changed in pruning.items()},
  }
