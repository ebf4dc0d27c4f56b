"""Attacks against defences, on plaintext and on shares.

Full MNIST dealt unevenly (Dirichlet 0.5) to 100 clients, all of them every
round, a perceptron with 64 hidden units, 12 local steps of 50 examples. A fifth
of the clients is malicious. Defences that end in `_sketched` see some 1,060
numbers of each update, opened from shares; the same without it sees every
update; FedAvg and secret sharing alone have none. The last five attacks know
the defence; those that end in `_known_seed` know the seed of its sketches, too,
if it has any, as if that were drawn before shares are fixed, and are not run
unless `attacks` names them. Needs MNIST prepared for TFDS
(BUILD.md, "Data"). Under a minute a run on two CPU cores:

  python launch.py --config=experiments/poisoning.py --tfds_data_dir=DIR

Arguments: `seeds=N` runs seeds 0 .. N - 1; `malicious=0.4` is another fraction;
`partition=iid` deals evenly; `data=cifar10`, prepared likewise, is a network of
convolutions, 20 clients and 40 rounds, of some minutes; `attacks=alie+ipm` and
`defences=fedavg+multi_krum_sketched` run those alone; `tiny` is a test of
seconds, of a few of both. Results are in experiments/README.md.
"""

from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.jobs.poisoning.job import SEPARATOR

ATTACKS: dict[str, dict[str, Any]] = {
  'none': {'malicious': 0.0},
  'label_flip': {'data': 'label_flip'},
  'sign_flip': {'updates': 'sign_flip', 'args': {'sign_flip': {'scale': 5.0}}},
  'gaussian': {
    'updates': 'gaussian',
    'args': {'gaussian': {'deviation_factor': 100.0}},
  },
  'backdoor_scaling': {'data': 'backdoor', 'updates': 'scaling'},
  'alie': {'updates': 'alie'},
  'ipm': {'updates': 'ipm', 'args': {'ipm': {'epsilon': 5.0}}},
  'min_max': {'updates': 'min_max'},
  'min_sum': {'updates': 'min_sum'},
  'mimic': {'updates': 'mimic'},
  'ascent': {'updates': 'ascent'},
  'trusted_direction': {'updates': 'trusted_direction'},
  'hidden_backdoor': {'data': 'backdoor', 'updates': 'hidden'},
  'ascent_known_seed': {'updates': 'ascent', 'knows_seed': True},
  'hidden_backdoor_known_seed': {
    'data': 'backdoor',
    'updates': 'hidden',
    'knows_seed': True,
  },
}
_RULES: dict[str, dict[str, Any]] = {
  'norm_bound': {'name': 'norm_bound'},
  'geometric_median': {'name': 'geometric_median'},
  'centred_clipping': {'name': 'centred_clipping'},
  'multi_krum': {'name': 'multi_krum'},
  'nnm_multi_krum': {'name': 'multi_krum', 'pre_steps': ('nnm',)},
  'nnm_geometric_median': {'name': 'geometric_median', 'pre_steps': ('nnm',)},
  'fltrust': {'name': 'fltrust'},
  'trust_nnm_multi_krum': {'name': 'multi_krum', 'pre_steps': ('trust', 'nnm')},
}
# Of fewer, updates go against many honest ones as the model gets better.
_TRUSTED_EXAMPLES = 1000
_COORDINATE_RULES = ('median', 'trimmed_mean', 'bulyan')
_IN_THE_CLEAR = {'scheme': 'none'}
# The sums of shamir bit for bit, and the bytes, without its arithmetic.
_SHARED = {'scheme': 'ideal'}
DEFENCES: dict[str, dict[str, Any]] = {
  'fedavg': {'sharing': _IN_THE_CLEAR},
  'sharing': {'sharing': _SHARED},
  **{
    f'{name}{suffix}': {'defence': rule, 'sharing': sharing}
    for name, rule in _RULES.items()
    for suffix, sharing in (('', _IN_THE_CLEAR), ('_sketched', _SHARED))
  },
  **{
    name: {'defence': {'name': name}, 'sharing': _IN_THE_CLEAR}
    for name in _COORDINATE_RULES
  },
  'fedpruneshare_nnm_multi_krum_sketched': {
    'defence': _RULES['nnm_multi_krum'],
    'sharing': _SHARED,
    'pruning': {'schedule': 'cubic'},
  },
}
_TINY = {'attacks': 'none+alie', 'defences': 'fedavg+sharing+fltrust_sketched'}
_USUAL_DEFENCES = (
  'fedavg+sharing+nnm_multi_krum+nnm_multi_krum_sketched+fltrust+'
  'fltrust_sketched+trust_nnm_multi_krum+trust_nnm_multi_krum_sketched'
)
_USUAL_ATTACKS = '+'.join(
  name for name, attack in ATTACKS.items() if 'knows_seed' not in attack
)


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    data='mnist',
    seeds=1,
    malicious=0.2,
    partition='dirichlet',
    attacks='',
    defences='',
    tiny=False,
  )
  config = configs.default()
  config.name = 'poisoning'
  config.job = 'poisoning'
  config.seeds = tuple(range(args.seeds))
  _learn(config, args.data)
  config.data.partition = args.partition
  config.client.steps = 12
  config.cohort.weighting = 'clients'
  config.pruning.schedule = 'none'
  config.pruning.sparsity = 0.8
  config.pruning.scope, config.pruning.server = 'global', 'dense'
  config.eval.every_rounds = 10
  config.eval.batch_size = 2000
  if args.tiny:
    configs.tiny(config)
  config.attack.malicious = args.malicious
  config.defence.num_malicious = round(args.malicious * config.cohort.size)
  usual = {'attacks': _USUAL_ATTACKS, 'defences': _USUAL_DEFENCES}
  chosen = _TINY if args.tiny else usual
  for attack in (args.attacks or chosen['attacks']).split('+'):
    for defence in (args.defences or chosen['defences']).split('+'):
      attacked = _choose('attack', ATTACKS, attack)
      defended = _choose('defence', DEFENCES, defence)
      if 'defence' not in defended or defended['sharing'] == _IN_THE_CLEAR:
        # There is no sketch whose seed could be known.
        attacked = {**attacked, 'knows_seed': False}
      if 'trust' in defended.get('defence', {}).get('pre_steps', ()):
        examples = 100 if args.tiny else _TRUSTED_EXAMPLES
        defended = {
          **defended,
          'defence': {**defended['defence'], 'root_examples': examples},
        }
      config.variants[f'{attack}{SEPARATOR}{defence}'] = {
        'attack': attacked,
        **defended,
      }
  return config


def _learn(config: ConfigDict, data: str) -> None:
  """Sets data, model and training, in place."""
  if data == 'cifar10':
    configs.learn_cifar10(config)
    config.num_rounds = 40
    config.data.num_clients = config.cohort.size = 20
    config.client.batch_size = 25
    config.client.learning_rate = 0.1
    config.model.args.cifar_cnn.hidden = 0
  elif data == 'mnist':
    config.num_rounds = 60
    config.data.source = 'mnist'
    # Of 10 examples, honest updates differ so much that attacks hide in
    # between.
    config.client.batch_size = 50
    config.model.args.mlp.widths = (64,)
  else:
    raise ValueError(f"data={data} is neither 'mnist' nor 'cifar10'")


def _choose(
  kind: str, known: dict[str, dict[str, Any]], name: str
) -> dict[str, Any]:
  if name not in known:
    raise ValueError(f'{kind} {name!r} is not one of {list(known)}')
  return known[name]
