"""Which fields of a config nothing reads, as others leave no use for them.

All that is known of it is here. A field that no rule names counts as read, for
a sweep runs once what differs in unread fields alone: where in doubt, it runs.
`tests/config/unread_test.py` changes all that a rule names, and sees the same
models and metrics, bit for bit.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from fps_jax.config.sections import fields_of, sections_of
from fps_jax.sharing.schemes import SCHEMES


class Rule(NamedTuple):
  """Fields that nothing reads of some configs.

  Attributes:
    holds: whether of this one; fields may have values that are not valid.
    fields: by their dotted names.
  """

  holds: Callable[[ConfigDict], bool]
  fields: tuple[str, ...]


def _sends_floats(config: ConfigDict) -> bool:
  scheme = SCHEMES.get(config.sharing.scheme)
  return scheme is not None and not scheme.has_codec


def _is_clear(config: ConfigDict) -> bool:
  scheme = SCHEMES.get(config.sharing.scheme)
  return scheme is not None and scheme.is_clear


# What holds, in words, to the rule.
RULES: Mapping[str, Rule] = {
  'nothing is pruned': Rule(
    lambda config: config.pruning.schedule == 'none',
    (
      'pruning.sparsity',
      'pruning.begin_round',
      'pruning.end_round',
      'pruning.num_steps',
      'pruning.score',
      'pruning.server',
    ),
  ),
  'all is trained': Rule(
    lambda config: (
      config.pruning.schedule == 'none' and config.pruning.trained_fraction == 1
    ),
    (
      'pruning.mask',
      'pruning.scope',
      'pruning.regrow_every',
      'pruning.regrow_fraction',
      'pruning.regrow_end_round',
      'pruning.candidates_per_regrown',
      'pruning.regrow_rule',
      'pruning.tiers',
    ),
  ),
  'all is pruned at once': Rule(
    lambda config: config.pruning.schedule == 'constant',
    ('pruning.end_round', 'pruning.num_steps'),
  ),
  'no steps are taken': Rule(
    lambda config: config.pruning.schedule == 'cubic', ('pruning.num_steps',)
  ),
  'nothing grows back': Rule(
    lambda config: config.pruning.regrow_every == 0,
    (
      'pruning.regrow_fraction',
      'pruning.regrow_end_round',
      'pruning.candidates_per_regrown',
      'pruning.regrow_rule',
    ),
  ),
  'all clients weigh the same': Rule(
    lambda config: config.cohort.weighting == 'clients',
    ('sharing.largest_weight',),
  ),
  'floats are sent': Rule(
    _sends_floats,
    (
      'sharing.value_bits',
      'sharing.clip',
      'sharing.prime',
      'sharing.largest_weight',
    ),
  ),
  'no server holds a share': Rule(
    _is_clear,
    (
      'sharing.reveal',
      'sharing.num_servers',
      'sharing.threshold',
      'sharing.secrets_per_polynomial',
      'sharing.seeded',
      'sharing.min_contributors',
      'sharing.min_answers',
      'sharing.audit',
      'faults.server_dropout_probability',
      'faults.server_corruption_probability',
      'faults.missing_servers',
      'faults.lying_servers',
      'faults.inconsistent_clients',
    ),
  ),
  'nobody draws what has to be secret': Rule(
    lambda config: _is_clear(config) and config.privacy.mode == 'none',
    ('sharing.entropy',),
  ),
  'no privacy is promised': Rule(
    lambda config: config.privacy.mode == 'none',
    (
      'privacy.epsilon',
      'privacy.delta',
      'privacy.noise_multiplier',
      'privacy.neighbours',
      'privacy.clip',
      'privacy.clip_quantile',
      'privacy.clip_learning_rate',
      'privacy.count_deviation',
    ),
  ),
  'clients add no noise': Rule(
    lambda config: config.privacy.mode != 'distributed',
    ('privacy.min_honest', 'privacy.rotate', 'privacy.wrap_probability'),
  ),
  'steps follow from noise': Rule(
    lambda config: config.privacy.mode == 'distributed',
    ('sharing.value_bits', 'sharing.clip'),
  ),
  'the clip stays': Rule(
    lambda config: config.privacy.clip_quantile == 0,
    ('privacy.clip_learning_rate', 'privacy.count_deviation'),
  ),
  'no round is tried again': Rule(
    lambda config: config.faults.on_failed_round in ('stop', 'skip'),
    ('faults.max_retries',),
  ),
  'there is no defence': Rule(
    lambda config: config.defence.name == 'none',
    (
      'defence.pre_steps',
      'defence.num_malicious',
      'defence.sketch_size',
      'defence.root_examples',
    ),
  ),
  'devices have no profiles': Rule(
    lambda config: config.profiles.distribution == 'none',
    ('profiles.round_sigma', 'profiles.compute_saved'),
  ),
  'clients take client.steps': Rule(
    lambda config: config.client.steps > 0, ('client.epochs',)
  ),
  'plain gradient descent has no momentum': Rule(
    lambda config: config.server.optimizer == 'sgd', ('server.momentum',)
  ),
}


def unread(config: ConfigDict) -> dict[str, str]:
  """Returns fields that nothing reads of a config, and why.

  Args:
    config: the resolved config of one variant, valid or not.

  Returns:
    Dotted name to the reason; a field that is not in it may be read.
  """
  found = dict(_of_others(config))
  for reason, rule in RULES.items():
    try:
      holds = rule.holds(config)
    except (TypeError, AttributeError):
      continue  # A value of another type, which validation names.
    if holds:
      found |= {field: found.get(field, reason) for field in rule.fields}
  return found


def _of_others(config: ConfigDict) -> Iterator[tuple[str, str]]:
  """Yields arguments of what is registered and that no field names."""
  named = set(_words(config))
  job = config.get('job')
  for section in sections_of(job):
    for path in section.registries:
      start = f'{section.path(path)}.'
      for field in fields_of(job):
        if not field.startswith(start):
          continue
        entry = field.removeprefix(start).partition('.')[0]
        if entry not in named:
          yield field, f'{entry!r} is not chosen'


def _words(value: Any) -> Iterator[str]:
  """Yields every text that is a value, or in one."""
  if isinstance(value, (ConfigDict, Mapping)):
    for one in value.values():
      yield from _words(one)
  elif isinstance(value, (tuple, list)):
    for one in value:
      yield from _words(one)
  elif isinstance(value, str):
    yield value
