"""Every range and cross-field rule of a config, checked before data is loaded.

What depends on the data (client sizes, hence whether a sum could wrap; whether
the exempt parameters fit the sparsity) is checked when the run is built, which
is for all runs of a study before the first of them starts.
"""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ml_collections import ConfigDict

from fps_jax import build_guard, models
from fps_jax.attacks.data import DATA_ATTACKS
from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.build import make_regrowth, make_schedule
from fps_jax.build_sharing import make_scheme
from fps_jax.data import PARTITIONERS
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES
from fps_jax.federated import server
from fps_jax.federated.performance import Performance
from fps_jax.heterogeneity import profiles
from fps_jax.pruning import masks, pruner, selection
from fps_jax.rng import MAX_SEED
from fps_jax.sharing.audit import AUDITS
from fps_jax.sharing.codec import levels_of
from fps_jax.sharing.protocol import CLEAR_SCHEMES, REVEALS, SCHEMES
from fps_jax.sharing.randomness import ENTROPIES

# (field, smallest allowed value, whether that value itself is allowed)
_LOWER_BOUNDS = (
  ('num_rounds', 1, True),
  ('target_accuracy', 0, True),
  ('data.num_clients', 1, True),
  ('data.pixel_std', 0, False),
  ('client.learning_rate', 0, False),
  ('client.momentum', 0, True),
  ('client.weight_decay', 0, True),
  ('client.proximal', 0, True),
  ('client.batch_size', 1, True),
  ('client.epochs', 1, True),
  ('client.steps', 0, True),
  ('cohort.size', 1, True),
  ('cohort.dropout_probability', 0, True),
  ('attack.malicious', 0, True),
  ('defence.num_malicious', 0, True),
  ('server.learning_rate', 0, False),
  ('server.momentum', 0, True),
  ('sharing.clip', 0, False),
  ('sharing.min_contributors', 1, True),
  ('profiles.deadline_seconds', 0, True),
  ('profiles.compute_saved', 0, True),
  ('eval.every_rounds', 1, True),
  ('eval.batch_size', 1, True),
)
_BELOW_ONE = (
  'target_accuracy',
  'client.momentum',
  'server.momentum',
  'cohort.dropout_probability',
  'attack.malicious',
)


_DEFENCES = ('none', *GRAM_RULES, *COORDINATE_RULES)


def validate(config: ConfigDict) -> None:
  """Checks the resolved config of one variant.

  Raises:
    ValueError: naming the problems, one a line: the field or section, the
      value and the bound. Of `perf`, `pruning` and `sharing` only the first
      problem is named.
  """
  problems = list(_problems(config))
  if problems:
    raise ValueError('\n'.join(problems))


def _problems(config: ConfigDict) -> Iterator[str]:
  yield from _range_problems(config)
  yield from _choice_problems(config)
  if config.cohort.size > config.data.num_clients:
    yield (
      f'cohort.size={config.cohort.size} must be at most data.num_clients='
      f'{config.data.num_clients}'
    )
  if len(set(config.seeds)) != len(config.seeds) or not config.seeds:
    yield f'seeds={config.seeds} must be distinct and at least one'
  if not all(0 <= seed <= MAX_SEED for seed in config.seeds):
    yield f'seeds={config.seeds} must be in [0, {MAX_SEED}]'
  if not math.isfinite(config.data.pixel_mean):
    yield f'data.pixel_mean={config.data.pixel_mean} must be finite'
  inconsistent = config.sharing.inconsistent_clients
  if not all(0 <= c < config.data.num_clients for c in inconsistent):
    yield (
      f'sharing.inconsistent_clients={inconsistent} must be in [0, '
      f'{config.data.num_clients}), the numbers of clients'
    )
  yield from _collect('perf', lambda: Performance(**config.perf))
  yield from _collect('pruning', lambda: check_pruning(config.pruning))
  yield from _collect('profiles', lambda: check_profiles(config))
  yield from _collect('sharing', lambda: check_sharing(config.sharing))
  yield from _collect('attack, defence', lambda: check_guard(config))
  yield from _collect('pruning', lambda: check_own_mask(config))
  is_clear = config.sharing.scheme in CLEAR_SCHEMES
  if not is_clear and config.sharing.min_contributors > config.cohort.size:
    yield (
      f'sharing.min_contributors={config.sharing.min_contributors} must be at '
      f'most cohort.size={config.cohort.size}: no sum would ever be opened'
    )


def check_pruning(pruning: ConfigDict) -> None:
  """Checks schedule, scope and regrowth together.

  Raises:
    ValueError: if they do not fit.
  """
  make_schedule(pruning)
  make_regrowth(pruning)
  pruner.check(pruning.scope, pruning.server, pruning.regrow_every)
  masks.tier_counts(1, pruning.tiers)
  selection.check(
    pruning.mask,
    pruning.scope,
    pruning.server,
    pruning.regrow_every,
    len(pruning.tiers),
  )


def check_own_mask(config: ConfigDict) -> None:
  """Checks that what clients choose by themselves can be summed.

  Raises:
    ValueError: if it cannot.
  """
  mask, sharing = config.pruning.mask, config.sharing
  if config.pruning.schedule == 'none' or mask == 'shared':
    return
  if sharing.scheme == 'shamir':
    raise ValueError(
      f"mask={mask!r} with sharing.scheme='shamir': choose 'ideal', which "
      'opens to the same sums and counts the bytes of shares and positions'
    )
  is_clear = sharing.scheme in CLEAR_SCHEMES
  if not is_clear and sharing.secrets_per_polynomial > 1:
    raise ValueError(
      f'mask={mask!r} with sharing.secrets_per_polynomial='
      f'{sharing.secrets_per_polynomial}: words that pack values of different '
      'positions cannot be added; set it to 1'
    )


def check_profiles(config: ConfigDict) -> None:
  """Checks the clients' devices, the deadline and the tiers together.

  Raises:
    ValueError: if they do not fit.
  """
  settings = config.profiles
  distribution = settings.distribution
  if settings.compute_saved > 1:
    raise ValueError(
      f'compute_saved={settings.compute_saved} must be at most 1'
    )
  has_profiles = distribution != 'none'
  if has_profiles:
    arguments = settings.args.get(distribution, {})
    profiles.check(distribution, arguments, settings.round_sigma)
  dropout = config.cohort.dropout_probability
  if has_profiles and dropout and not settings.deadline_seconds:
    raise ValueError(
      f'deadline_seconds=0 would wait for ever for clients that drop out, '
      f'with cohort.dropout_probability={dropout}: set a deadline'
    )
  if settings.deadline_seconds and not has_profiles:
    raise ValueError(
      f'deadline_seconds={settings.deadline_seconds} needs profiles of the '
      f'clients: set distribution to one of {sorted(profiles.DISTRIBUTIONS)}'
    )
  if config.pruning.schedule == 'none' or len(config.pruning.tiers) == 1:
    return
  if not settings.deadline_seconds:
    raise ValueError(
      f'deadline_seconds=0 lets every client train the last of pruning.tiers='
      f'{config.pruning.tiers}: set a deadline, or tiers=(1.0,)'
    )
  if config.pruning.scope == 'layer_normalised':
    raise ValueError(
      f"pruning.scope='layer_normalised' with pruning.tiers="
      f'{config.pruning.tiers}: clients cannot order what they receive by '
      "norms of what they do not; use 'global' or 'erk'"
    )
  is_shared = config.sharing.scheme not in CLEAR_SCHEMES
  if is_shared and config.sharing.reveal == 'updates':
    raise ValueError(
      f'pruning.tiers={config.pruning.tiers} are summed, and opened, a band at '
      "a time: use sharing.reveal='sum', not 'updates'"
    )


def check_guard(config: ConfigDict) -> None:
  """Checks attacks and the defence against the rest of the config.

  Raises:
    ValueError: if they do not fit.
  """
  attack, defence = config.attack, config.defence
  is_attack = attack.data != 'none' or attack.updates != 'none'
  if is_attack != (attack.malicious > 0):
    raise ValueError(
      f'attack.malicious={attack.malicious} with attack.data={attack.data!r} '
      f'and attack.updates={attack.updates!r}: set a fraction above 0 and one '
      'of them, or neither'
    )
  if attack.updates == 'wrap_around' and config.sharing.scheme == 'none':
    raise ValueError(
      "attack.updates='wrap_around' needs sums in a field: use another "
      "sharing.scheme than 'none'"
    )
  if attack.updates == 'none' and defence.name == 'none':
    return
  pruning = config.pruning
  prunes = pruning.schedule != 'none'
  if prunes and (pruning.mask != 'shared' or len(pruning.tiers) > 1):
    raise ValueError(
      f'attack.updates={attack.updates!r} and defence.name={defence.name!r} '
      f'compare updates of the same parameters, with pruning.mask='
      f"{pruning.mask!r} and pruning.tiers={pruning.tiers}: use 'shared' and "
      '(1.0,)'
    )
  if defence.name not in _DEFENCES:
    return  # Which `validate` says.
  rule = build_guard.make_defence(config)
  if rule is None:
    return
  if config.cohort.weighting != 'clients':
    raise ValueError(
      f'defence.name={defence.name!r} takes all clients to weigh the same, '
      f"with cohort.weighting={config.cohort.weighting!r}: use 'clients'"
    )
  if build_guard.sees_updates(config):
    return
  build_guard.num_buckets(config)
  if rule.weigh is None:
    raise ValueError(
      f'defence.name={defence.name!r} needs every update in the clear: use '
      "sharing.reveal='updates', or a rule of defences.GRAM_RULES"
    )
  if rule.selects_one:
    raise ValueError(
      f'defence.name={defence.name!r} selects a single client, whose update '
      "would be the sum that is opened: use 'multi_krum', or "
      "sharing.reveal='updates'"
    )


def check_sharing(sharing: ConfigDict) -> None:
  """Checks servers, threshold, packing, prime and faults together.

  Raises:
    ValueError: if they do not fit.
  """
  levels_of(sharing.value_bits)
  scheme = make_scheme(sharing)
  scheme.present_without(sharing.missing_servers)
  unknown = set(sharing.lying_servers) - set(scheme.server_points)
  if unknown or len(set(sharing.lying_servers)) < len(sharing.lying_servers):
    raise ValueError(
      f'lying_servers={sharing.lying_servers} must be distinct numbers from 1 '
      f'to num_servers={scheme.num_servers}'
    )
  if sharing.reveal == 'updates' and (
    sharing.lying_servers or sharing.audit == 'clients'
  ):
    raise ValueError(
      "reveal='updates' opens every client's words by themselves: it has no "
      "sums to lie about and no audit; use reveal='sum', or audit='none' and "
      'no lying_servers'
    )


def _range_problems(config: ConfigDict) -> Iterator[str]:
  for name, bound, inclusive in _LOWER_BOUNDS:
    value = _get(config, name)
    if not math.isfinite(value):
      yield f'{name}={value} must be finite'
    elif value < bound or (value == bound and not inclusive):
      relation = 'at least' if inclusive else 'above'
      yield f'{name}={value} must be {relation} {bound}'
  for name in _BELOW_ONE:
    if _get(config, name) >= 1:
      yield f'{name}={_get(config, name)} must be below 1'


def _choice_problems(config: ConfigDict) -> Iterator[str]:
  choices: dict[str, Collection[str]] = {
    'data.partition': PARTITIONERS,
    'model.name': models.MODELS,
    'server.optimizer': server.OPTIMIZERS,
    'cohort.weighting': ('examples', 'clients'),
    'attack.data': ('none', *DATA_ATTACKS),
    'attack.updates': ('none', *UPDATE_ATTACKS),
    'defence.name': _DEFENCES,
    'sharing.scheme': SCHEMES,
    'sharing.reveal': REVEALS,
    'sharing.entropy': ENTROPIES,
    'sharing.audit': AUDITS,
  }
  for name, known in choices.items():
    if _get(config, name) not in known:
      yield f'{name}={_get(config, name)!r} is not one of {sorted(known)}'


def _collect(section: str, check: Callable[[], object]) -> Iterator[str]:
  try:
    check()
  except ValueError as error:
    yield f'{section}: {error}'


def _get(config: ConfigDict, name: str) -> Any:
  for part in name.split('.'):
    config = config[part]
  return config
