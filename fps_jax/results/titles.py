"""Names of variants for the reader; files and folders keep what they are."""

import re
from collections.abc import Mapping
from typing import Final

# Of what a sweep adds to a variant's name (see `fps_jax.config.sweep`), and
# between an attack and a defence.
SEPARATOR: Final = '--'

_TITLES: Mapping[str, str] = {
  'fedavg': 'FedAvg',
  'pruning': 'Pruning only',
  'sharing': 'Secret sharing only',
  'fedpruneshare': 'FedPruneShare',
  'single_threshold': 'Single threshold',
  'quantisation': 'Quantisation only',
  'pruning_quantisation': 'Pruning and quantisation',
  'local_masks': 'Masks of each client',
  'top_k': 'Top-k, error feedback',
  'uniform': 'Uniform sparsity',
  'tiers': 'Sparsity per client',
}
_ATTACKS: Mapping[str, str] = {
  'none': 'No attack',
  'label_flip': 'Label flip',
  'sign_flip': 'Sign flip',
  'gaussian': 'Gaussian noise',
  'backdoor': 'Backdoor',
  'backdoor_scaling': 'Scaled backdoor',
  'scaling': 'Scaling',
  'alie': 'ALIE',
  'ipm': 'IPM',
  'min_max': 'Min-max',
  'min_sum': 'Min-sum',
  'mimic': 'Mimic',
  'ascent': 'Ascent',
  'trusted_direction': 'Trusted direction',
  'hidden_backdoor': 'Hidden backdoor',
  'ascent_known_seed': 'Ascent, seed known',
  'hidden_backdoor_known_seed': 'Hidden backdoor, seed known',
}
_DEFENCES: Mapping[str, str] = {
  'none': 'No defence',
  'norm_bound': 'Norm bound',
  'geometric_median': 'Geometric median',
  'centred_clipping': 'Centred clipping',
  'krum': 'Krum',
  'multi_krum': 'Multi-Krum',
  'fltrust': 'FLTrust',
  'median': 'Median',
  'trimmed_mean': 'Trimmed mean',
  'bulyan': 'Bulyan',
}


def title_of(variant: str) -> str:
  """Returns a variant's name for the reader.

  >>> title_of('fedpruneshare_90'), title_of('my_method')
  ('FedPruneShare 90 %', 'my_method')
  >>> title_of('fedavg--client.learning_rate=0.1')
  'FedAvg, learning_rate=0.1'
  >>> title_of('fedavg--client.momentum=0.9--server.momentum=0.5')
  'FedAvg, client.momentum=0.9, server.momentum=0.5'
  >>> title_of('none--fltrust_sketched')
  'No attack, FLTrust on sketches'
  >>> title_of('sparsity_97.5_bits_8')
  'Sparsity 97.5 %, 8-bit values'
  """
  name, chosen = split_variant(variant)
  if chosen:
    last = [field.rpartition('.')[2] for field in chosen]
    # Sections are named where fields of two would otherwise be called alike.
    names = last if len(set(last)) == len(last) else chosen
    shown = map('='.join, zip(names, chosen.values(), strict=True))
    return ', '.join([title_of(name), *shown])
  first, separator, second = variant.partition(SEPARATOR)
  if separator and first and second:
    return f'{title_of_attack(first)}, {title_of_defence(second)}'
  if match := re.fullmatch(r'sparsity_([\d.]+)_bits_(\d+)', variant):
    return f'Sparsity {match[1]} %, {match[2]}-bit values'
  method, _, percent = variant.rpartition('_')
  if method in _TITLES and percent.replace('.', '').isdigit():
    return f'{_TITLES[method]} {percent} %'
  return _TITLES.get(variant, variant)


def title_of_attack(name: str) -> str:
  """Returns what stands first in `FIRST--SECOND`, an attack, for the reader.

  >>> title_of_attack('none'), title_of_attack('my_own')
  ('No attack', 'my own')
  """
  return _ATTACKS.get(name) or _TITLES.get(name) or name.replace('_', ' ')


def title_of_defence(name: str) -> str:
  """Returns what stands second in `FIRST--SECOND`, a defence, for the reader.

  >>> title_of_defence('nnm_multi_krum_sketched'), title_of_defence('my_own')
  ('NNM + Multi-Krum on sketches', 'my own')
  >>> title_of_defence('fedpruneshare_nnm_multi_krum_sketched')
  'FedPruneShare with NNM + Multi-Krum on sketches'
  >>> title_of_defence('fedpruneshare_90')
  'FedPruneShare 90 %'
  """
  if (title := title_of(name)) != name:
    return title
  if name.endswith('_sketched'):
    return f'{title_of_defence(name.removesuffix("_sketched"))} on sketches'
  for prefix, form in (
    ('fedpruneshare_', 'FedPruneShare with {}'),
    ('nnm_', 'NNM + {}'),
    ('trust_', 'Trust + {}'),
  ):
    if name.startswith(prefix):
      return form.format(title_of_defence(name.removeprefix(prefix)))
  return _DEFENCES.get(name) or name.replace('_', ' ')


def split_variant(variant: str) -> tuple[str, dict[str, str]]:
  """Returns a variant's name before a sweep, and its swept fields' values.

  >>> split_variant('fedavg--client.momentum=0.9')
  ('fedavg', {'client.momentum': '0.9'})
  """
  *first, rest = variant.split(SEPARATOR)
  chosen = {}
  while first and '=' in rest:
    field, _, value = rest.partition('=')
    chosen[field] = value
    *first, rest = first
  return SEPARATOR.join([*first, rest]), dict(reversed(chosen.items()))
