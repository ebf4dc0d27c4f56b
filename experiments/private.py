"""Differential privacy of one client, by epsilon and sparsity.

All of 100 clients take part in every round, so that nothing is owed to chance
in who does, and a client may contribute nothing (`privacy.neighbours`); MNIST
with the 784-200-200-10 perceptron, or CIFAR-10. The mask is of the first model.
About half a minute a run on two CPU cores, CIFAR-10 much more; needs the data
prepared for TFDS (BUILD.md, "Data"):

  python launch.py --config=experiments/private.py --tfds_data_dir=DIR

Arguments: `data=cifar10`; `mode=distributed`, where clients add the noise;
`epsilons=none+1+3+8`, `sparsities=0+80+90` and `bits=16+18` to 31 of a word,
which are run in all combinations; `seeds=N` runs seeds 0 .. N - 1; `tiny` is a
test of seconds. Results are in experiments/README.md.
"""

import itertools
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs

# The largest below each power of two.
PRIMES = {
  '16': 65521,
  '18': 262139,
  '20': 1048573,
  '22': 4194301,
  '24': 16777213,
  '26': 67108859,
  '28': 268435399,
  '31': 2147483647,
}


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(
    arguments,
    seeds=1,
    data='mnist',
    mode='central',
    bits='31',
    epsilons='none+1+3+8',
    sparsities='0+80+90',
    tiny=False,
  )
  primes = {bits: _prime(bits) for bits in args.bits.split('+')}
  config = configs.default()
  config.name = f'private_{args.data}_{args.mode}'
  configs.prune_by_single_threshold(config)
  config.seeds = tuple(range(args.seeds))
  config.num_rounds = 15
  config.data.source = 'mnist'
  config.data.partition = 'iid'
  config.client.learning_rate = 0.3
  config.client.batch_size = 20
  if args.data == 'cifar10':
    configs.learn_cifar10(config)
  config.cohort.size = config.data.num_clients
  config.cohort.weighting = 'clients'
  config.pruning.schedule = 'constant'
  config.pruning.exempt = ('bias$', 'scale$')
  # To the same sums, bit for bit, as shamir, whose bytes are counted.
  config.sharing.scheme = 'ideal'
  config.sharing.value_bits = 16
  config.sharing.clip = 1.0
  config.privacy.neighbours = 'zero_out'
  config.privacy.delta = 1e-3
  config.privacy.clip = 1.0
  config.eval.every_rounds = 5
  config.eval.batch_size = 2000
  for sparsity, epsilon, bits in itertools.product(
    args.sparsities.split('+'), args.epsilons.split('+'), primes
  ):
    name = f'epsilon_{epsilon}_sparsity_{sparsity}'
    name += f'_bits_{bits}' if len(primes) > 1 else ''
    config.variants[name] = {
      **_variant(args.mode, epsilon, float(sparsity) / 100),
      'sharing': {'prime': primes[bits]},
    }
  config.baseline = next(iter(config.variants))
  if args.tiny:
    configs.tiny(config)
    config.cohort.size = config.data.num_clients
  return config


def _prime(bits: str) -> int:
  """Returns the prime of words of so many bits."""
  if bits not in PRIMES:
    raise ValueError(f'bits={bits} is not one of {", ".join(PRIMES)}')
  return PRIMES[bits]


def _variant(mode: str, epsilon: str, sparsity: float) -> dict[str, Any]:
  """Returns what a variant sets; of epsilon `none` no privacy."""
  privacy = {'mode': 'none'}
  if epsilon != 'none':
    privacy = {'mode': mode, 'epsilon': float(epsilon)}
  pruning: dict[str, Any] = {'sparsity': sparsity}
  if not sparsity:
    pruning = {'schedule': 'none'}
  return {'privacy': privacy, 'pruning': pruning}
