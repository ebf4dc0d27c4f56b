"""The parts of a run that attacks and defences are made of, from a config."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fps_jax import defences
from fps_jax.attacks import data as data_attacks
from fps_jax.attacks import updates as update_attacks
from fps_jax.attacks.malicious import choose_malicious
from fps_jax.config.build_sharing import min_contributors, scheme_of
from fps_jax.core.rng import Stream, host_generator
from fps_jax.core.types import Array, Key, Params, PruningPlan
from fps_jax.data.dataset import Dataset
from fps_jax.federated.client import ClientResult, LocalUpdate
from fps_jax.federated.layout import Tiling
from fps_jax.federated.method import Guard, Opened, TrainRoot
from fps_jax.sharing.codec import levels_of
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.sketches.projection import Projection, fewest_sums
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch

NONE = 'none'


def malicious_clients(config: ConfigDict, seed: int) -> np.ndarray:
  """Returns the numbers of the clients that an attacker controls."""
  return choose_malicious(
    config.data.num_clients,
    config.attack.malicious,
    host_generator(seed, Stream.MALICIOUS),
  )


def make_data_attack(
  config: ConfigDict, num_classes: int
) -> data_attacks.DataAttack | None:
  """Returns what malicious clients do to their examples, or None.

  Raises:
    ValueError: if an argument does not fit.
  """
  name = config.attack.data
  if name == NONE:
    return None
  return data_attacks.make_data(name, num_classes, **_args(config, name))


def check_update_attack(config: ConfigDict) -> None:
  """Checks the arguments of what malicious clients send.

  Raises:
    ValueError: if one does not fit.
  """
  name = config.attack.updates
  # The limit of `wrap_around` is that of the field.
  if name not in (NONE, 'wrap_around'):
    update_attacks.make(name, **_args(config, name))


def make_defence(config: ConfigDict) -> defences.Defence | None:
  """Returns what weighs updates, or None.

  Raises:
    ValueError: if the rule does not bear as many malicious clients, or an
      argument does not fit.
  """
  defence = config.defence
  if defence.name == NONE:
    return None
  arguments = (tuple(defence.pre_steps), defence.args.to_dict())
  defences.check(
    defence.name, defence.num_malicious, config.cohort.size, *arguments
  )
  return defences.make(
    defence.name,
    defence.num_malicious,
    *arguments,
    cohort_size=config.cohort.size,
  )


def sees_updates(config: ConfigDict) -> bool:
  """Returns whether the central server sees every update."""
  return scheme_of(config).sees_updates(config.sharing.reveal)


def sketches(config: ConfigDict) -> bool:
  """Returns whether sketches are opened for a defence."""
  return config.defence.name != NONE and not sees_updates(config)


def num_buckets(config: ConfigDict) -> int:
  """Returns the columns of a sketch, each of l values.

  Raises:
    ValueError: if the size of a sketch is not whole columns.
  """
  size = config.defence.sketch_size
  per_column = config.sharing.secrets_per_polynomial
  if size < 1 or size % per_column:
    raise ValueError(
      f'sketch_size={size} must be a multiple of '
      f'sharing.secrets_per_polynomial={per_column}, and above 0'
    )
  return size // per_column


def num_opened_columns(config: ConfigDict, num_params: int) -> int:
  """Returns the columns that are opened of each update for a defence."""
  if not sketches(config):
    return 0
  num_columns = num_buckets(config) + RangeCheck(_field(config)).num_sums
  if config.defence.name in defences.ROOT_RULES:
    num_columns += config.sharing.secrets_per_polynomial * _num_products(
      config, num_params
    )
  return num_columns


def _field(config: ConfigDict) -> PrimeField:
  return PrimeField(config.sharing.prime)


def _num_products(config: ConfigDict, num_params: int) -> int:
  return fewest_sums(
    -(-num_params // config.sharing.secrets_per_polynomial),
    levels_of(config.sharing.value_bits),
    _field(config),
  )


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
  if sees_updates(config):
    return num_kept
  per_column = config.sharing.secrets_per_polynomial
  return num_opened_columns(config, num_params) * per_column


def make_guard(
  config: ConfigDict,
  seed: int,
  dataset: Dataset,
  protocol: SumProtocol,
  tiling: Tiling,
  plans: Sequence[PruningPlan],
  local_update: LocalUpdate,
  num_params: int,
) -> Guard | None:
  """Returns attacks on updates and the defence, or None without any.

  Raises:
    ValueError: if an argument does not fit, or what is opened for the defence
      could wrap.
  """
  defence = make_defence(config)
  name = config.attack.updates
  if name == NONE and defence is None:
    return None
  attack = None
  if name != NONE:
    attack = update_attacks.make(name, **_update_args(config, protocol))
  opened = None
  if defence is not None and protocol.field and sketches(config):
    sketch = Sketch(num_buckets(config), protocol.field)
    most_kept = max(int(plan.keep_count) for plan in plans)
    _check_sketch(config, sketch, protocol, tiling, most_kept)
    projection = None
    if defence.needs_root:
      projection = Projection.fit(
        _num_products(config, num_params),
        tiling.used(most_kept),
        tiling.size // protocol.alignment,
        protocol.largest,
        protocol.field,
      )
    opened = Opened(sketch, RangeCheck(protocol.field), projection)
  train_root = None
  if defence is not None and defence.needs_root:
    train_root = _make_train_root(config, seed, dataset, local_update)
  return Guard(attack, defence, opened, train_root)


def _args(config: ConfigDict, name: str) -> dict[str, Any]:
  return dict(config.attack.args.get(name, {}))


def _update_args(config: ConfigDict, protocol: SumProtocol) -> dict[str, Any]:
  name = config.attack.updates
  if name != 'wrap_around':
    return _args(config, name)
  assert protocol.field is not None
  step = config.sharing.clip / protocol.largest
  return {'limit': step * (protocol.field.modulus // 2)}


def _check_sketch(
  config: ConfigDict,
  sketch: Sketch,
  protocol: SumProtocol,
  tiling: Tiling,
  most_kept: int,
) -> None:
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
  num_all = len(dataset.train_labels)
  if not 1 <= num_examples <= num_all:
    raise ValueError(
      f'defence.root_examples={num_examples} must be in [1, {num_all}], the '
      'number of training examples'
    )
  rows = host_generator(seed, Stream.ROOT_SET).permutation(num_all)
  chosen = rows[:num_examples]
  images = jnp.asarray(dataset.train_images[chosen])
  labels = jnp.asarray(dataset.train_labels[chosen])
  batch_size = min(config.client.batch_size, num_examples)
  per_epoch = -(-num_examples // batch_size)
  steps = config.client.steps or config.client.epochs * per_epoch
  num_epochs = -(-steps // per_epoch)
  missing = per_epoch * batch_size - num_examples

  def train_root(params: Params, mask: Params | None, key: Key) -> ClientResult:
    def epoch(key: Key) -> Array:
      order = jax.random.permutation(key, num_examples)
      return jnp.pad(order, (0, missing), constant_values=-1)

    batches = jax.vmap(epoch)(jax.random.split(key, num_epochs))
    indices = batches.reshape(-1, batch_size).astype(jnp.int32)
    return local_update(params, mask, images, labels, indices, steps)

  return train_root


def backdoor_test_set(
  dataset: Dataset, attack: data_attacks.DataAttack | None
) -> tuple[np.ndarray, np.ndarray] | None:
  """Returns test images with the trigger, and what the attacker wants of them.

  Those of the target's own class are left out. None without a backdoor.
  """
  if attack is None or attack.trigger is None or attack.target is None:
    return None
  others = dataset.test_labels != attack.target
  images = np.asarray(attack.trigger(jnp.asarray(dataset.test_images[others])))
  return images, np.full(len(images), attack.target, np.int32)
