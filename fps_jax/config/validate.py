"""Every range and cross-field rule of a config, checked before data is loaded.

`fps_jax.config.known` has which fields there are, `fps_jax.config.fields` what
each may be; here is what they may be together. A rule is applied where none of
its fields is wrong by itself, so that everything that is wrong is said, and
nothing twice.

What depends on the data (client sizes, hence whether counts could wrap; whether
the exempt parameters fit the sparsity) is checked when the run is built, which
is for all runs of a study before the first of them starts.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from fps_jax import models
from fps_jax.config import fields, known, validate_guard
from fps_jax.config.build_sharing import (
  is_shared,
  make_codec,
  make_shamir,
  scheme_of,
)
from fps_jax.config.rules import Rule, collect, takes
from fps_jax.data import PARTITIONERS
from fps_jax.pruning import pruner, schedules, selection
from fps_jax.pruning.scopes import SCOPES
from fps_jax.runs.costs import profiles

_SCHEME_FIELDS = (
  'sharing.prime',
  'sharing.num_servers',
  'sharing.threshold',
  'sharing.secrets_per_polynomial',
  'sharing.seeded',
)


def validate(config: ConfigDict) -> None:
  """Checks the resolved config of one variant.

  Raises:
    ValueError: naming all problems, one a line: the field or section, the
      value and the bound.
  """
  # Two rules may meet the same problem.
  problems = list(dict.fromkeys(_problems(config)))
  if problems:
    raise ValueError('\n'.join(problems))


def _problems(config: ConfigDict) -> Iterator[str]:
  wrong = set()
  for name, problem in (*known.problems(config), *fields.problems(config)):
    wrong.add(name)
    yield problem
  for rule in (*_RULES, *validate_guard.RULES):
    if rule.is_sound(wrong):
      yield from rule.check(config)


def _cohort(config: ConfigDict) -> Iterator[str]:
  if config.cohort.size > config.data.num_clients:
    yield (
      f'cohort.size={config.cohort.size} must be at most data.num_clients='
      f'{config.data.num_clients}'
    )


def _partition(config: ConfigDict) -> Iterator[str]:
  yield from takes(
    'data.partition',
    config.data.partition,
    PARTITIONERS,
    config.data.partition_args,
  )


def _model(config: ConfigDict) -> Iterator[str]:
  name = config.model.name
  arguments = config.model.args.get(name, {})
  yield from collect('model', lambda: models.make(name, 2, **arguments))


def _schedule(config: ConfigDict) -> Iterator[str]:
  pruning = config.pruning
  yield from collect(
    'pruning',
    lambda: schedules.make(
      pruning.schedule,
      pruning.sparsity,
      pruning.begin_round,
      pruning.end_round,
      pruning.num_steps,
    ),
  )


def _mask(config: ConfigDict) -> Iterator[str]:
  pruning = config.pruning
  settings = (pruning.scope, pruning.server, pruning.regrow_every)
  yield from collect('pruning', lambda: pruner.check(*settings))
  yield from collect(
    'pruning',
    lambda: selection.check(pruning.mask, *settings, len(pruning.tiers)),
  )


def _own_mask(config: ConfigDict) -> Iterator[str]:
  """What clients choose by themselves must be of a kind that can be summed."""
  mask, sharing = config.pruning.mask, config.sharing
  if config.pruning.schedule == 'none' or mask == 'shared':
    return
  if not scheme_of(config).sums_own_masks:
    yield (
      f'pruning.mask={mask!r} with sharing.scheme={sharing.scheme!r}: choose '
      "'ideal', which opens to the same sums and counts the bytes of shares "
      'and positions'
    )
  elif is_shared(config) and sharing.secrets_per_polynomial > 1:
    yield (
      f'pruning.mask={mask!r} with sharing.secrets_per_polynomial='
      f'{sharing.secrets_per_polynomial}: words that pack values of different '
      'positions cannot be added; set it to 1'
    )
  elif is_shared(config) and sharing.reveal == 'updates':
    yield (
      f"pruning.mask={mask!r} with sharing.reveal='updates': a client's values "
      "cannot be opened without their positions; use sharing.reveal='sum'"
    )


def _profile_arguments(config: ConfigDict) -> Iterator[str]:
  name = config.profiles.distribution
  if name == 'none':
    return
  arguments = config.profiles.args
  yield from takes(
    'profiles.distribution', name, profiles.DISTRIBUTIONS, arguments
  )
  yield from collect(
    'profiles',
    lambda: profiles.check(
      name, arguments.get(name, {}), config.profiles.round_sigma
    ),
  )


def _deadline(config: ConfigDict) -> Iterator[str]:
  settings, dropout = config.profiles, config.faults.client_dropout_probability
  has_profiles = settings.distribution != 'none'
  if has_profiles and dropout and not settings.deadline_seconds:
    yield (
      'profiles.deadline_seconds=0 would wait for ever for clients that drop '
      f'out, with faults.client_dropout_probability={dropout}: set a deadline'
    )
  if settings.deadline_seconds and not has_profiles:
    yield (
      f'profiles.deadline_seconds={settings.deadline_seconds} needs profiles '
      'of the clients: set profiles.distribution to one of '
      f'{sorted(profiles.DISTRIBUTIONS)}'
    )


def _tiers(config: ConfigDict) -> Iterator[str]:
  pruning = config.pruning
  if pruning.schedule == 'none' or len(pruning.tiers) == 1:
    return
  if not config.profiles.deadline_seconds:
    yield (
      'profiles.deadline_seconds=0 lets every client train the last of '
      f'pruning.tiers={pruning.tiers}: set a deadline, or tiers=(1.0,)'
    )
  if SCOPES[pruning.scope].sees_whole_layer:
    fit = [name for name in SCOPES if not SCOPES[name].sees_whole_layer]
    yield (
      f'pruning.scope={pruning.scope!r} with pruning.tiers={pruning.tiers}: '
      'clients cannot order what they receive by norms of what they do not; '
      f'use one of {fit}'
    )
  if is_shared(config) and config.sharing.reveal == 'updates':
    yield (
      f'pruning.tiers={pruning.tiers} are summed, and opened, a band at a '
      "time: use sharing.reveal='sum', not 'updates'"
    )


def _scheme(config: ConfigDict) -> Iterator[str]:
  yield from collect('sharing', lambda: make_shamir(config.sharing))


def _servers(config: ConfigDict) -> Iterator[str]:
  faults = config.faults
  try:
    scheme = make_shamir(config.sharing)
  except ValueError:
    return  # Which `_scheme` says.
  yield from collect(
    'faults', lambda: scheme.present_without(faults.missing_servers)
  )
  lying = faults.lying_servers
  if len(set(lying)) < len(lying) or set(lying) - set(scheme.server_points):
    yield (
      f'faults.lying_servers={lying} must be distinct numbers from 1 to '
      f'num_servers={scheme.num_servers}'
    )


def _reveal(config: ConfigDict) -> Iterator[str]:
  sharing, faults = config.sharing, config.faults
  if sharing.reveal == 'updates' and (
    faults.lying_servers or sharing.audit == 'clients'
  ):
    yield (
      "sharing.reveal='updates' opens every client's words by themselves: it "
      f'has no sums for lying_servers={faults.lying_servers} to lie about, '
      f"and no audit={sharing.audit!r}; use reveal='sum', or audit='none' and "
      'no lying_servers'
    )


def _client_audit(config: ConfigDict) -> Iterator[str]:
  """Shares that can be checked are more than those that fix a polynomial."""
  sharing, missing = config.sharing, config.faults.missing_servers
  num_present = sharing.num_servers - len(missing)
  if (
    scheme_of(config).has_servers
    and sharing.reveal == 'sum'
    and sharing.audit == 'clients'
    and num_present == sharing.threshold
  ):
    yield (
      f"sharing.audit='clients' with sharing.num_servers={sharing.num_servers}"
      f', faults.missing_servers={missing} and sharing.threshold='
      f'{sharing.threshold}: any {num_present} shares fit together, so no '
      'client would be checked; lower the threshold, add servers, or set '
      "audit='none'"
    )


def _corruption(config: ConfigDict) -> Iterator[str]:
  probability = config.faults.server_corruption_probability
  if config.sharing.reveal == 'updates' and probability:
    yield (
      f'faults.server_corruption_probability={probability} with '
      "sharing.reveal='updates', which has no sums to lie about: use "
      "sharing.reveal='sum'"
    )


def _answers(config: ConfigDict) -> Iterator[str]:
  sharing = config.sharing
  most = sharing.num_servers - len(config.faults.missing_servers)
  least = sharing.min_answers
  if least and not sharing.threshold <= least <= most:
    yield (
      f'sharing.min_answers={least} must be 0 or from sharing.threshold='
      f'{sharing.threshold} to the {most} servers that answer'
    )


def _dealers(config: ConfigDict) -> Iterator[str]:
  inconsistent, num_clients = (
    config.faults.inconsistent_clients,
    config.data.num_clients,
  )
  if not all(client < num_clients for client in inconsistent):
    yield (
      f'faults.inconsistent_clients={inconsistent} must be in [0, '
      f'{num_clients}), the numbers of clients'
    )


def _codec(config: ConfigDict) -> Iterator[str]:
  """Sums of values must fit the field; those of counts depend on the data."""
  if scheme_of(config).has_codec:
    yield from collect('sharing', lambda: make_codec(config, max_count=1))


def _contributors(config: ConfigDict) -> Iterator[str]:
  least = config.sharing.min_contributors
  if is_shared(config) and least > config.cohort.size:
    yield (
      f'sharing.min_contributors={least} must be at most cohort.size='
      f'{config.cohort.size}: no sum would ever be opened'
    )


_RULES = (
  Rule(('cohort.size', 'data.num_clients'), _cohort),
  Rule(('data.partition', 'data.partition_args'), _partition),
  Rule(('model',), _model),
  Rule(
    (
      'pruning.schedule',
      'pruning.sparsity',
      'pruning.begin_round',
      'pruning.end_round',
      'pruning.num_steps',
    ),
    _schedule,
  ),
  Rule(
    (
      'pruning.mask',
      'pruning.scope',
      'pruning.server',
      'pruning.regrow_every',
      'pruning.tiers',
    ),
    _mask,
  ),
  Rule(
    (
      'pruning.mask',
      'pruning.schedule',
      'sharing.scheme',
      'sharing.secrets_per_polynomial',
      'sharing.reveal',
    ),
    _own_mask,
  ),
  Rule(
    ('profiles.distribution', 'profiles.args', 'profiles.round_sigma'),
    _profile_arguments,
  ),
  Rule(
    (
      'profiles.distribution',
      'profiles.deadline_seconds',
      'faults.client_dropout_probability',
    ),
    _deadline,
  ),
  Rule(
    (
      'pruning.schedule',
      'pruning.tiers',
      'pruning.scope',
      'profiles.deadline_seconds',
      'sharing.scheme',
      'sharing.reveal',
    ),
    _tiers,
  ),
  Rule(_SCHEME_FIELDS, _scheme),
  Rule(
    (*_SCHEME_FIELDS, 'faults.missing_servers', 'faults.lying_servers'),
    _servers,
  ),
  Rule(
    ('sharing.reveal', 'faults.lying_servers', 'sharing.audit'),
    _reveal,
  ),
  Rule(
    (
      'sharing.audit',
      'sharing.reveal',
      'sharing.scheme',
      'sharing.num_servers',
      'sharing.threshold',
      'faults.missing_servers',
    ),
    _client_audit,
  ),
  Rule(('sharing.reveal', 'faults.server_corruption_probability'), _corruption),
  Rule(
    (
      'sharing.min_answers',
      'sharing.num_servers',
      'sharing.threshold',
      'faults.missing_servers',
    ),
    _answers,
  ),
  Rule(('faults.inconsistent_clients', 'data.num_clients'), _dealers),
  Rule(
    (
      'sharing.scheme',
      'sharing.prime',
      'sharing.clip',
      'sharing.value_bits',
      'cohort.size',
    ),
    _codec,
  ),
  Rule(
    ('sharing.scheme', 'sharing.min_contributors', 'cohort.size'),
    _contributors,
  ),
)
