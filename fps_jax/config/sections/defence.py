"""The section `defence`: what weighs updates, and what is opened for it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fps_jax import defences
from fps_jax.config.checks import above_zero, choice, each, whole
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.attack import SEED_ATTACKS, make_update_attack
from fps_jax.config.sections.client import MAX_PASSES
from fps_jax.config.sections.data import split
from fps_jax.config.sections.sharing import min_contributors, scheme_of
from fps_jax.core.rng import Stream, host_generator
from fps_jax.core.types import Array, Examples, Key, Params, PruningPlan
from fps_jax.data.dataset import Dataset
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES, PRE_STEPS
from fps_jax.federated.client import ClientResult, ClientWork, LocalUpdate
from fps_jax.federated.layout import Tiling
from fps_jax.federated.method import Guard, Opened, TrainRoot
from fps_jax.sharing.codec import levels_of
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.sketches.projection import Projection, fewest_sums
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch

_NONE = 'none'
_MAX_SKETCH = 2**24


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


def _rule(config: ConfigDict) -> Iterator[str]:
  name, num_malicious = config.defence.name, config.defence.num_malicious
  if name == _NONE:
    return
  args = _args(config)
  yield from collect(
    'defence',
    lambda: defences.check(name, num_malicious, config.cohort.size, *args),
  )
  yield from collect('defence', lambda: _make(config))
  if config.cohort.weighting != 'clients':
    yield (
      f'defence.name={name!r} takes all clients to weigh the same, with '
      f"cohort.weighting={config.cohort.weighting!r}: use 'clients'"
    )
  if not _sees_updates(config):
    yield from _on_shares(config)


def _known_seed(config: ConfigDict) -> Iterator[str]:
  attack = config.attack
  if not attack.knows_seed:
    return
  if attack.updates not in SEED_ATTACKS or not sketches(config):
    yield (
      f'attack.knows_seed=True with attack.updates={attack.updates!r} and '
      f'defence.name={config.defence.name!r}: set it for one of '
      f'{SEED_ATTACKS} against a defence that sees sketches (with a '
      "sharing.scheme other than 'none', and sharing.reveal='sum')"
    )


def _on_shares(config: ConfigDict) -> Iterator[str]:
  """What a rule must be if the central server sees no update."""
  defence = config.defence
  name, num_malicious = defence.name, defence.num_malicious
  yield from collect('defence', lambda: _num_buckets(config))
  if name in COORDINATE_RULES:
    yield (
      f'defence.name={name!r} needs every update in the clear: use '
      "sharing.reveal='updates', sharing.scheme='none' or 'quantised', or a "
      'rule of defences.GRAM_RULES'
    )
  if defences.selects_one(name, defence.pre_steps):
    yield (
      f'defence.name={name!r} selects a single client, whose update would be '
      "the sum that is opened: use 'multi_krum', or sharing.reveal='updates'"
    )
  least = config.sharing.min_contributors
  # After pre-steps more clients have weight than are chosen.
  is_chosen = name == 'multi_krum' and not defence.pre_steps
  if is_chosen and config.cohort.size - num_malicious < least:
    yield (
      f"defence.name='multi_krum' chooses {config.cohort.size - num_malicious} "
      f'of cohort.size={config.cohort.size} clients, fewer than '
      f'sharing.min_contributors={least}: no sum would be opened. Lower it, or '
      f'defence.num_malicious={num_malicious}'
    )


SECTION = Section(
  'defence',
  {
    'name': Field(
      'none',
      choice((_NONE,), GRAM_RULES, COORDINATE_RULES),
      'a key of defences.GRAM_RULES or, where the central server sees every '
      "update, of COORDINATE_RULES; needs cohort.weighting='clients'",
    ),
    'pre_steps': Field(
      (),
      each(choice(PRE_STEPS)),
      'nnm, bucketing, trust, in the order they are taken',
    ),
    'num_malicious': Field(0, whole(0), 'f, clients of a round it is to bear'),
    'sketch_size': Field(
      1024,
      whole(1, _MAX_SKETCH),
      "linear combinations of each update that are opened with reveal='sum'; "
      'squared norms and distances have a standard deviation of a fraction of '
      'up to sqrt(2 * secrets_per_polynomial / sketch_size), norms of half of '
      'that',
    ),
    'root_examples': Field(
      100, whole(1), 'of fltrust and trust, drawn from the training set'
    ),
    'args.geometric_median.iterations': Field(8, whole(1, MAX_PASSES)),
    'args.geometric_median.smoothing': Field(1e-6, above_zero),
    'args.centred_clipping.iterations': Field(5, whole(1, MAX_PASSES)),
    'args.centred_clipping.radius_factor': Field(1.0, above_zero),
    'args.norm_bound.factor': Field(1.0, above_zero),
    'args.fltrust.max_scale': Field(
      10.0, above_zero, 'of short updates; 1e30: no bound'
    ),
    'args.bucketing.size': Field(2, whole(1)),
  },
  (_comparable, _rule, _known_seed),
  {'args': (GRAM_RULES, COORDINATE_RULES, PRE_STEPS)},
)


class Trained(NamedTuple):
  """What a round trains and shares, as far as a defence depends on it.

  Attributes:
    dataset: of which the central server has some examples.
    local_update: how clients train, and the central server.
    protocol: how sums are formed.
    tiling: how updates are cut.
    plans: of all rounds.
    num_params: D.
  """

  dataset: Dataset
  local_update: LocalUpdate
  protocol: SumProtocol
  tiling: Tiling
  plans: Sequence[PruningPlan]
  num_params: int


def make_guard(config: ConfigDict, seed: int, trained: Trained) -> Guard | None:
  """Returns attacks on updates and the defence, or None without any.

  Raises:
    ValueError: if an argument does not fit, or what is opened for the defence
      could wrap.
  """
  attack = make_update_attack(config, trained.protocol)
  if config.defence.name == _NONE:
    return Guard(attack, None, None, None) if attack else None
  defence = _make(config)
  train_root = None
  if defence.needs_root:
    train_root = _make_train_root(
      config, seed, trained.dataset, trained.local_update
    )
  opened = _make_opened(config, trained, defence.needs_root)
  seed_known = config.attack.knows_seed
  return Guard(attack, defence, opened, train_root, seed_known)


def num_opened_columns(config: ConfigDict, num_params: int) -> int:
  """Returns the columns that are opened of each update for a defence."""
  if not sketches(config):
    return 0
  num_columns = _num_buckets(config) + RangeCheck(_field(config)).num_sums
  if defences.needs_root(config.defence.name, config.defence.pre_steps):
    num_columns += config.sharing.secrets_per_polynomial * _num_products(
      config, num_params
    )
  return num_columns


def opened_values(
  config: ConfigDict, num_params: int, num_kept: int, num_reporting: int
) -> int:
  """Returns how many numbers of each update alone the central server sees.

  Servers send nothing of a round in which fewer than
  `sharing.min_contributors` clients report.

  Args:
    config: the config of one variant.
    num_params: D.
    num_kept: parameters that are shared.
    num_reporting: clients whose update arrives.
  """
  if num_reporting < min_contributors(config):
    return 0
  if _sees_updates(config):
    return num_kept
  per_column = config.sharing.secrets_per_polynomial
  return num_opened_columns(config, num_params) * per_column


def _args(config: ConfigDict) -> tuple[tuple[str, ...], dict[str, dict]]:
  return tuple(config.defence.pre_steps), config.defence.args.to_dict()


def _make(config: ConfigDict) -> defences.Defence:
  defence = config.defence
  return defences.make(
    defence.name,
    defence.num_malicious,
    *_args(config),
    cohort_size=config.cohort.size,
  )


def _sees_updates(config: ConfigDict) -> bool:
  """Returns whether the central server sees every update."""
  return scheme_of(config).sees_updates(config.sharing.reveal)


def sketches(config: ConfigDict) -> bool:
  """Returns whether sketches are opened for a defence."""
  return config.defence.name != _NONE and not _sees_updates(config)


def _num_buckets(config: ConfigDict) -> int:
  """Returns the columns of a sketch, each of l values.

  Raises:
    ValueError: if the size of a sketch is not whole columns.
  """
  size = config.defence.sketch_size
  per_column = config.sharing.secrets_per_polynomial
  if size % per_column:
    raise ValueError(
      f'sketch_size={size} must be a multiple of '
      f'sharing.secrets_per_polynomial={per_column}'
    )
  return size // per_column


def _field(config: ConfigDict) -> PrimeField:
  return PrimeField(config.sharing.prime)


def _num_products(config: ConfigDict, num_params: int) -> int:
  return fewest_sums(
    -(-num_params // config.sharing.secrets_per_polynomial),
    levels_of(config.sharing.value_bits),
    _field(config),
  )


def _make_opened(
  config: ConfigDict, trained: Trained, needs_root: bool
) -> Opened | None:
  """Returns what servers open of each update; None if all are seen anyway."""
  protocol, tiling = trained.protocol, trained.tiling
  if protocol.field is None or not sketches(config):
    return None
  sketch = Sketch(_num_buckets(config), protocol.field)
  most_kept = max(int(plan.keep_count) for plan in trained.plans)
  _check_sketch(config, sketch, trained, most_kept)
  projection = None
  if needs_root:
    projection = Projection.fit(
      _num_products(config, trained.num_params),
      tiling.used(most_kept),
      tiling.size // protocol.alignment,
      protocol.largest,
      protocol.field,
    )
  return Opened(sketch, RangeCheck(protocol.field), projection)


def _check_sketch(
  config: ConfigDict, sketch: Sketch, trained: Trained, most_kept: int
) -> None:
  tiling, protocol = trained.tiling, trained.protocol
  columns = tiling.size // protocol.alignment
  per_tile = -(-columns // sketch.num_buckets)
  largest = tiling.used(most_kept) * per_tile * protocol.largest
  if 2 * largest >= config.sharing.prime:
    raise ValueError(
      f'defence.sketch_size={config.defence.sketch_size}: a sum of honest '
      f'values in a bucket can reach {largest}, beyond (p - 1) / 2 of '
      f'sharing.prime={config.sharing.prime}, and would wrap: raise the '
      'sketch_size or the prime, or lower sharing.value_bits'
    )


def _make_train_root(
  config: ConfigDict, seed: int, dataset: Dataset, local_update: LocalUpdate
) -> TrainRoot:
  """Returns training on the central server's own examples, as clients do."""
  if jax.process_count() > 1:
    raise ValueError(
      f'defence.name={config.defence.name!r} trains on examples that no '
      'process has alone: run it in one process'
    )
  num_examples = config.defence.root_examples
  training = split(config, seed, len(dataset.train_targets)).training
  if num_examples > len(training):
    raise ValueError(
      f'defence.root_examples={num_examples} must be at most '
      f'{len(training)}, the number of training examples'
    )
  order = host_generator(seed, Stream.ROOT_SET).permutation(len(training))
  chosen = training[order[:num_examples]]
  examples = Examples(
    jnp.asarray(dataset.train_inputs[chosen]),
    jnp.asarray(dataset.train_targets[chosen]),
  )
  batch_size = min(config.client.batch_size, num_examples)
  per_epoch = -(-num_examples // batch_size)
  steps = config.client.steps or config.client.epochs * per_epoch
  num_epochs = -(-steps // per_epoch)
  missing = per_epoch * batch_size - num_examples

  def train_root(
    params: Params, mask: Params | None, round: Array, key: Key
  ) -> ClientResult:
    def epoch(key: Key) -> Array:
      order = jax.random.permutation(key, num_examples)
      return jnp.pad(order, (0, missing), constant_values=-1)

    batches = jax.vmap(epoch)(jax.random.split(key, num_epochs))
    # What is not trained on is not counted by a loss that knows its classes.
    indices = batches.reshape(-1, batch_size)[:steps].astype(jnp.int32)
    work = ClientWork(indices, steps, round=round)
    return local_update(params, mask, examples, work)

  return train_root
