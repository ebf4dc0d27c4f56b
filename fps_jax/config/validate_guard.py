"""Rules of attacks and defences, and of what they need of a config."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from fps_jax import defences
from fps_jax.config import build_guard
from fps_jax.config.build_sharing import scheme_of
from fps_jax.config.rules import Rule, collect
from fps_jax.defences import COORDINATE_RULES

# Labels of the data are known when a run is built.
_MOST_CLASSES = 2**31


def _malicious(config: ConfigDict) -> Iterator[str]:
  attack = config.attack
  is_attack = attack.data != 'none' or attack.updates != 'none'
  if is_attack != (attack.malicious > 0):
    yield (
      f'attack.malicious={attack.malicious} with attack.data={attack.data!r} '
      f'and attack.updates={attack.updates!r}: set a fraction above 0 and one '
      'of them, or neither'
    )
  elif is_attack and not round(attack.malicious * config.data.num_clients):
    yield (
      f'attack.malicious={attack.malicious} of data.num_clients='
      f'{config.data.num_clients} is nobody: raise it above '
      f'{0.5 / config.data.num_clients}'
    )
  if attack.updates == 'wrap_around' and not scheme_of(config).has_codec:
    yield (
      "attack.updates='wrap_around' needs sums in a field: use another "
      "sharing.scheme than 'none'"
    )


def _attack_arguments(config: ConfigDict) -> Iterator[str]:
  yield from collect('attack', lambda: build_guard.check_update_attack(config))
  yield from collect(
    'attack', lambda: build_guard.make_data_attack(config, _MOST_CLASSES)
  )
  if config.attack.data != 'backdoor':
    return
  fraction = config.attack.args.get('backdoor', {}).get('fraction', 1.0)
  batch_size = config.client.batch_size
  if not round(fraction * batch_size):
    yield (
      f'attack.args.backdoor.fraction={fraction} of client.batch_size='
      f'{batch_size} is no example: raise it above {0.5 / batch_size}'
    )


def _comparable(config: ConfigDict) -> Iterator[str]:
  attack, defence, pruning = config.attack, config.defence, config.pruning
  if attack.updates == 'none' and defence.name == 'none':
    return
  prunes = pruning.schedule != 'none'
  if prunes and (pruning.mask != 'shared' or len(pruning.tiers) > 1):
    yield (
      f'attack.updates={attack.updates!r} and defence.name={defence.name!r} '
      f'compare updates of the same parameters, with pruning.mask='
      f"{pruning.mask!r} and pruning.tiers={pruning.tiers}: use 'shared' and "
      '(1.0,)'
    )


def _defence(config: ConfigDict) -> Iterator[str]:
  name = config.defence.name
  if name == 'none':
    return
  arguments = (config.defence.pre_steps, config.defence.args.to_dict())
  num_malicious = config.defence.num_malicious
  yield from collect(
    'defence',
    lambda: defences.check(name, num_malicious, config.cohort.size, *arguments),
  )
  yield from collect(
    'defence',
    lambda: defences.make(
      name, num_malicious, *arguments, cohort_size=config.cohort.size
    ),
  )
  if config.cohort.weighting != 'clients':
    yield (
      f'defence.name={name!r} takes all clients to weigh the same, with '
      f"cohort.weighting={config.cohort.weighting!r}: use 'clients'"
    )
  if build_guard.sees_updates(config):
    return
  yield from collect('defence', lambda: build_guard.num_buckets(config))
  if name in COORDINATE_RULES:
    yield (
      f'defence.name={name!r} needs every update in the clear: use '
      "sharing.reveal='updates', sharing.scheme='none' or 'quantised', or a "
      'rule of defences.GRAM_RULES'
    )
  if defences.selects_one(name, config.defence.pre_steps):
    yield (
      f'defence.name={name!r} selects a single client, whose update would be '
      "the sum that is opened: use 'multi_krum', or sharing.reveal='updates'"
    )
  least, steps = config.sharing.min_contributors, config.defence.pre_steps
  # After pre-steps more clients have weight than are chosen.
  is_chosen = name == 'multi_krum' and not steps
  if is_chosen and config.cohort.size - num_malicious < least:
    yield (
      f"defence.name='multi_krum' chooses {config.cohort.size - num_malicious} "
      f'of cohort.size={config.cohort.size} clients, fewer than '
      f'sharing.min_contributors={least}: no sum would be opened. Lower it, or '
      f'defence.num_malicious={num_malicious}'
    )


RULES = (
  Rule(
    (
      'attack.malicious',
      'attack.data',
      'attack.updates',
      'data.num_clients',
      'sharing.scheme',
    ),
    _malicious,
  ),
  Rule(('attack', 'client.batch_size'), _attack_arguments),
  Rule(
    (
      'attack.updates',
      'defence.name',
      'pruning.schedule',
      'pruning.mask',
      'pruning.tiers',
    ),
    _comparable,
  ),
  Rule(
    (
      'defence',
      'cohort.size',
      'cohort.weighting',
      'sharing.scheme',
      'sharing.reveal',
      'sharing.secrets_per_polynomial',
      'sharing.min_contributors',
    ),
    _defence,
  ),
)
