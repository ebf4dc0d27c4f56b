"""What each field of a config may be by itself; `validate` has the rest.

A field that is in neither table is refused (`fps_jax.config.known`), but for
arguments of what a file registers: whoever reads those checks them.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from fps_jax.attacks import bounded_distance, mimic
from fps_jax.attacks.data import DATA_ATTACKS
from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.config.checks import (
  Check,
  above_zero,
  at_least_zero,
  choice,
  each,
  finite,
  optional,
  row,
  show,
  whole,
  within,
)
from fps_jax.core.registry import is_number, is_whole
from fps_jax.core.rng import MAX_SEED
from fps_jax.data import PARTITIONERS
from fps_jax.data.partitioners import MAX_ALPHA
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES, PRE_STEPS
from fps_jax.federated.performance import EXECUTIONS
from fps_jax.federated.server import OPTIMIZERS
from fps_jax.models import MODELS
from fps_jax.pruning.pruner import SERVERS
from fps_jax.pruning.schedules import SCHEDULES
from fps_jax.pruning.scopes import SCOPES
from fps_jax.pruning.selection import MASKS
from fps_jax.results.workdir import NAME_RULE, is_name
from fps_jax.runs.costs.profiles import DISTRIBUTIONS
from fps_jax.runs.faults import ON_FAILED_ROUND
from fps_jax.sharing.audit import AUDITS
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import REVEALS
from fps_jax.sharing.randomness import ENTROPIES
from fps_jax.sharing.schemes import SCHEMES

# Every round is planned before the first one.
_MAX_ROUNDS = 10**6
# Batches are padded to their size, and lie in memory for every client.
_MAX_BATCH = 2**20
_MAX_PASSES = 10**4
# Matrices of sharing take time with the cube of the servers.
_MAX_SERVERS = 256
_MAX_UNITS = 2**16
_MAX_SKETCH = 2**24
# exp(sigma z) stays far below infinity.
_MAX_SIGMA = 10
_MISSING = object()


def _boolean(value: Any) -> Iterator[str]:
  if not isinstance(value, bool):
    yield 'must be True or False'


def _text(value: Any) -> Iterator[str]:
  if not isinstance(value, str):
    yield 'must be text'


def _not_empty(value: Any) -> Iterator[str]:
  if not isinstance(value, str) or not value:
    yield 'must be a name'


def _name(value: Any) -> Iterator[str]:
  if not is_name(value):
    yield NAME_RULE


def _pattern(value: Any) -> Iterator[str]:
  try:
    re.compile(value)
  except (re.error, TypeError) as error:
    yield f'must be a regular expression ({error})'


def _seeds(value: Any) -> Iterator[str]:
  if not isinstance(value, tuple) or not all(map(is_whole, value)):
    yield 'must be whole numbers'
    return
  if not value or len(set(value)) != len(value):
    yield 'must be distinct and at least one'
  if not all(0 <= seed <= MAX_SEED for seed in value):
    yield f'must be in [0, {MAX_SEED}]'


def _tiers(value: Any) -> Iterator[str]:
  if not isinstance(value, tuple) or not all(map(is_number, value)):
    yield 'must be numbers'
  elif not value or not value[0] > 0 or value[-1] != 1:
    yield 'must be above 0 and end with 1'
  elif not all(low < high for low, high in itertools.pairwise(value)):
    yield 'must ascend strictly'


def _prime(value: Any) -> Iterator[str]:
  try:
    PrimeField(value)
  except (TypeError, ValueError):
    yield (
      'is not a prime in [2, 2**31): use one such as 2**31 - 1 (2147483647) or '
      '2**22 - 3 (4194301)'
    )


_SPEEDS = ('gflops', 'download_mbits', 'upload_mbits')
_SERVER_NUMBERS = each(whole(1, _MAX_SERVERS))
_SCHEME = row('(N, k, l)', *[whole(1, _MAX_SERVERS)] * 3)

FIELDS: dict[str, Check] = {
  'name': _name,
  'job': _text,
  'seeds': _seeds,
  'num_rounds': whole(1, _MAX_ROUNDS),
  'on_divergence': choice(('end_run', 'stop')),
  'target_accuracy': within(0, 1, '[)'),
  'baseline': _text,
  'data.source': _not_empty,
  'data.num_clients': whole(1),
  'data.partition': choice(PARTITIONERS),
  'data.partition_args.dirichlet.alpha': within(0, MAX_ALPHA, '(]'),
  'data.partition_args.dirichlet.min_examples': whole(1),
  'data.partition_args.shards.shards_per_client': whole(1),
  'data.partition_args.quantity_skew.alpha': within(0, MAX_ALPHA, '(]'),
  'data.partition_args.quantity_skew.min_examples': whole(1),
  'data.pixel_mean': finite,
  'data.pixel_std': above_zero,
  'model.name': choice(MODELS),
  'model.args.mlp.widths': each(whole(1, _MAX_UNITS)),
  'model.args.cifar_cnn.channels': each(whole(1, _MAX_UNITS)),
  'model.args.cifar_cnn.hidden': whole(0, _MAX_UNITS),
  'model.args.resnet8.width': whole(1, _MAX_UNITS),
  'model.args.resnet20.width': whole(1, _MAX_UNITS),
  'client.learning_rate': above_zero,
  'client.momentum': within(0, 1, '[)'),
  'client.weight_decay': at_least_zero,
  'client.proximal': at_least_zero,
  'client.batch_size': whole(1, _MAX_BATCH),
  'client.epochs': whole(1, _MAX_PASSES),
  'client.steps': whole(0, _MAX_ROUNDS),
  'cohort.size': whole(1),
  'faults.client_dropout_probability': within(0, 1, '[)'),
  'cohort.weighting': choice(('clients', 'examples')),
  'server.optimizer': choice(OPTIMIZERS),
  'server.learning_rate': above_zero,
  'server.momentum': within(0, 1, '[)'),
  'pruning.schedule': choice(SCHEDULES),
  'pruning.sparsity': within(0, 1, '[)'),
  'pruning.begin_round': whole(0),
  'pruning.end_round': whole(0),
  'pruning.num_steps': whole(1),
  'pruning.exempt': each(_pattern),
  'pruning.mask': choice(MASKS),
  'pruning.scope': choice(SCOPES),
  'pruning.server': choice(SERVERS),
  'pruning.regrow_every': whole(0),
  'pruning.regrow_fraction': within(0, 0.5, '(]'),
  'pruning.regrow_end_round': whole(0),
  'pruning.candidates_per_regrown': within(1, 1e6),
  'pruning.tiers': _tiers,
  'profiles.distribution': choice(('none',), DISTRIBUTIONS),
  **{f'profiles.args.same.{name}': above_zero for name in _SPEEDS},
  **{
    f'profiles.args.three_classes.{name}': each(above_zero, length=3)
    for name in _SPEEDS
  },
  **{f'profiles.args.lognormal.{name}': above_zero for name in _SPEEDS},
  'profiles.args.lognormal.sigma': within(0, _MAX_SIGMA, '(]'),
  'profiles.round_sigma': within(0, _MAX_SIGMA),
  'profiles.deadline_seconds': at_least_zero,
  'profiles.compute_saved': within(0, 1),
  'sharing.scheme': choice(SCHEMES),
  'sharing.reveal': choice(REVEALS),
  'sharing.num_servers': whole(1, _MAX_SERVERS),
  'sharing.threshold': whole(1, _MAX_SERVERS),
  'sharing.secrets_per_polynomial': whole(1, _MAX_SERVERS),
  'sharing.seeded': _boolean,
  'sharing.entropy': choice(ENTROPIES),
  'sharing.prime': _prime,
  'sharing.min_contributors': whole(1),
  'sharing.value_bits': whole(2, 16),
  'sharing.clip': above_zero,
  'sharing.min_answers': whole(0, _MAX_SERVERS),
  'faults.missing_servers': _SERVER_NUMBERS,
  'sharing.audit': choice(AUDITS),
  'faults.lying_servers': _SERVER_NUMBERS,
  'faults.inconsistent_clients': each(whole(0)),
  'attack.malicious': within(0, 1, '[)'),
  'attack.data': choice(('none',), DATA_ATTACKS),
  'attack.updates': choice(('none',), UPDATE_ATTACKS),
  'attack.args.backdoor.target': whole(0),
  'attack.args.backdoor.fraction': within(0, 1, '(]'),
  'attack.args.backdoor.size': whole(1),
  'attack.args.sign_flip.scale': above_zero,
  'attack.args.gaussian.deviation_factor': above_zero,
  'attack.args.scaling.factor': above_zero,
  'attack.args.alie.deviations': optional(above_zero),
  'attack.args.ipm.epsilon': above_zero,
  'attack.args.min_max.direction': choice(bounded_distance.DIRECTIONS),
  'attack.args.min_sum.direction': choice(bounded_distance.DIRECTIONS),
  'attack.args.mimic.target': choice(mimic.TARGETS),
  'defence.name': choice(('none',), GRAM_RULES, COORDINATE_RULES),
  'defence.pre_steps': each(choice(PRE_STEPS)),
  'defence.num_malicious': whole(0),
  'defence.sketch_size': whole(1, _MAX_SKETCH),
  'defence.root_examples': whole(1),
  'defence.args.geometric_median.iterations': whole(1, _MAX_PASSES),
  'defence.args.geometric_median.smoothing': above_zero,
  'defence.args.centred_clipping.iterations': whole(1, _MAX_PASSES),
  'defence.args.centred_clipping.radius_factor': above_zero,
  'defence.args.norm_bound.factor': above_zero,
  'defence.args.fltrust.max_scale': above_zero,
  'defence.args.bucketing.size': whole(1),
  'faults.server_dropout_probability': within(0, 1, '[)'),
  'faults.server_corruption_probability': within(0, 1, '[)'),
  'faults.on_failed_round': choice(ON_FAILED_ROUND),
  'faults.max_retries': whole(1, 100),
  'checkpoint.every_rounds': whole(0),
  'checkpoint.keep': whole(1),
  'eval.every_rounds': whole(1),
  'eval.batch_size': whole(1, _MAX_BATCH),
  'perf.chunk_size': whole(0),
  'perf.execution': choice(EXECUTIONS),
  'perf.num_devices': whole(0),
}

# Those that a job has besides, in sections of its own.
JOB_FIELDS: dict[str, dict[str, Check]] = {
  'privacy': {
    'privacy.images_per_client': each(whole(1), least=1),
    'privacy.width': whole(1, _MAX_UNITS),
    'privacy.local_steps': each(whole(1)),
    'privacy.plain_smoothness': at_least_zero,
    'privacy.roundings': each(
      row('(value bits, weight)', whole(2, 16), at_least_zero), least=1
    ),
    'privacy.servers': each(_SCHEME, least=1),
    'privacy.clients': each(whole(1)),
    'privacy.sparsities': each(within(0, 1, '[)')),
    'privacy.sketches': each(row('(sums, weight)', whole(1), at_least_zero)),
    'privacy.joint_clients': whole(1),
    'privacy.joint_sparsity': within(0, 1, '[)'),
    'privacy.iterations': whole(1),
    'privacy.restarts': whole(1),
    'privacy.step_size': above_zero,
  },
  'tradeoff': {
    'tradeoff.servers': each(_SCHEME, least=1),
    'tradeoff.primes': each(_prime, least=1),
  },
  'throughput': {
    'timing.rounds': whole(1),
    'timing.group': _text,
    'timing.trace': _boolean,
    'timing.examples': whole(0),
    'timing.image_shape': row('(height, width, channels)', *[whole(1)] * 3),
  },
}


def of_job(job: Any) -> dict[str, Check]:
  """Returns every field of a job's config, by its name, and its check."""
  return {**FIELDS, **JOB_FIELDS.get(str(job), {})}


def problems(config: ConfigDict) -> Iterator[tuple[str, str]]:
  """Yields the fields that are wrong by themselves, and a line about each.

  Guarantee: a line begins with the field and its value.

  Args:
    config: of one variant, with all sections and fields of the defaults; but
      for arguments, which are by a name that may not be used.
  """
  seen = set()
  for name, check in of_job(config.get('job')).items():
    path, value = _look_up(config, name)
    if path == name and value is not _MISSING:
      for problem in check(value):
        yield name, f'{name}={show(value)} {problem}'
    elif path not in seen and value is not _MISSING:
      yield path, f'{path}={show(value)} must be a section of fields'
    elif path not in seen and '.args' not in path and '_args' not in path:
      yield path, f'{path} is missing: begin with {_beginning(path)}'
    seen.add(path)


def _beginning(path: str) -> str:
  """Returns what makes a config that has a field or a section."""
  for job, own in JOB_FIELDS.items():
    if any(f'{name}.'.startswith(f'{path}.') for name in own):
      return f'the default() of job={job!r}'
  return 'fps_jax.config.defaults.default()'


def _look_up(config: ConfigDict, name: str) -> tuple[str, Any]:
  """Returns how far a path goes, and what is there."""
  path, value = '', config
  for part in name.split('.'):
    if not isinstance(value, ConfigDict):
      break
    path = f'{path}.{part}' if path else part
    value = value.get(part, _MISSING)
  return path, value
