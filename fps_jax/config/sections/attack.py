"""The section `attack`: what malicious clients train on and send."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fps_jax.attacks import ascent, bounded_distance, mimic
from fps_jax.attacks import data as data_attacks
from fps_jax.attacks import updates as update_attacks
from fps_jax.attacks.data import DATA_ATTACKS, DataAttack
from fps_jax.attacks.malicious import choose_malicious
from fps_jax.attacks.updates import UPDATE_ATTACKS, UpdateAttack
from fps_jax.config.checks import (
  above_zero,
  boolean,
  choice,
  optional,
  whole,
  within,
)
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.client import MAX_PASSES
from fps_jax.config.sections.sharing import scheme_of
from fps_jax.core.rng import Stream, host_generator
from fps_jax.data.dataset import Dataset
from fps_jax.sharing.protocol import SumProtocol

_NONE = 'none'
# Labels of the data are known when a run is built.
_MOST_CLASSES = 2**31
# Those that make use of a seed of sketches, if they know it.
SEED_ATTACKS = ('ascent', 'hidden')
_DIRECTION = choice(bounded_distance.DIRECTIONS)


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


def _arguments(config: ConfigDict) -> Iterator[str]:
  yield from collect('attack', lambda: _check_updates(config))
  yield from collect('attack', lambda: make_data_attack(config, _MOST_CLASSES))
  if config.attack.data != 'backdoor':
    return
  fraction = config.attack.args.get('backdoor', {}).get('fraction', 1.0)
  batch_size = config.client.batch_size
  if not round(fraction * batch_size):
    yield (
      f'attack.args.backdoor.fraction={fraction} of client.batch_size='
      f'{batch_size} is no example: raise it above {0.5 / batch_size}'
    )


SECTION = Section(
  'attack',
  {
    'malicious': Field(
      0.0, within(0, 1, '[)'), 'fraction of all clients an attacker controls'
    ),
    'data': Field(
      'none',
      choice((_NONE,), DATA_ATTACKS),
      'label_flip, backdoor: what they train on',
    ),
    'updates': Field(
      'none', choice((_NONE,), UPDATE_ATTACKS), 'what they send'
    ),
    'knows_seed': Field(
      False,
      boolean,
      'whether ascent and hidden know the seed of sketches, as if it were '
      'drawn before shares are fixed: to show why it must not be',
    ),
    'args.backdoor.target': Field(0, whole(0)),
    'args.backdoor.fraction': Field(0.5, within(0, 1, '(]')),
    'args.backdoor.size': Field(3, whole(1)),
    'args.sign_flip.scale': Field(1.0, above_zero),
    'args.gaussian.deviation_factor': Field(10.0, above_zero),
    'args.scaling.factor': Field(10.0, above_zero),
    'args.alie.deviations': Field(
      float,
      optional(above_zero),
      'chosen from how many clients there are, if None',
    ),
    'args.ipm.epsilon': Field(0.1, above_zero),
    'args.min_max.direction': Field('unit', _DIRECTION),
    'args.min_sum.direction': Field('unit', _DIRECTION),
    'args.mimic.target': Field('variance', choice(mimic.TARGETS)),
    'args.ascent.goal': Field('against', choice(ascent.GOALS)),
    'args.ascent.steps': Field(10, whole(1, MAX_PASSES)),
    'args.ascent.keep': Field(0.5, within(0, 1)),
    'args.ascent.reach': Field(10.0, above_zero),
    'args.trusted_direction.cosine': Field(0.7, within(0, 1, '(]')),
    'args.hidden.deviations': Field(1.0, above_zero),
  },
  (_malicious, _arguments),
  {'args': (UPDATE_ATTACKS, DATA_ATTACKS)},
  # It is that of the field.
  ('args.wrap_around.limit',),
)


def malicious_clients(config: ConfigDict, seed: int) -> np.ndarray:
  """Returns the numbers of the clients that an attacker controls."""
  return choose_malicious(
    config.data.num_clients,
    config.attack.malicious,
    host_generator(seed, Stream.MALICIOUS),
  )


def make_data_attack(config: ConfigDict, num_classes: int) -> DataAttack | None:
  """Returns what malicious clients do to their examples, or None.

  Raises:
    ValueError: if an argument does not fit.
  """
  name = config.attack.data
  if name == _NONE:
    return None
  return data_attacks.make_data(name, num_classes, **_args(config, name))


def make_attack_on(config: ConfigDict, dataset: Dataset) -> DataAttack | None:
  """Returns what malicious clients do to their examples of a set, or None.

  Raises:
    ValueError: if an argument does not fit, or the attack does not take inputs
      or targets such as those of the set.
  """
  attack = make_data_attack(config, dataset.num_classes)
  if attack is None:
    return None
  batch = [
    jax.ShapeDtypeStruct((config.client.batch_size, *a.shape[1:]), a.dtype)
    for a in (dataset.train_inputs, dataset.train_targets)
  ]
  try:
    jax.eval_shape(attack.corrupt, *batch, jax.ShapeDtypeStruct((), bool))
  except ValueError as error:
    raise ValueError(
      f'attack.data={config.attack.data!r} does not take the examples of '
      f'data.source={config.data.source!r}: {error}'
    ) from error
  return attack


def _check_updates(config: ConfigDict) -> None:
  """Checks the arguments of what malicious clients send.

  Raises:
    ValueError: if one does not fit.
  """
  name = config.attack.updates
  # The limit of `wrap_around` is that of the field.
  if name not in (_NONE, 'wrap_around'):
    update_attacks.make(name, **_args(config, name))


def make_update_attack(
  config: ConfigDict, protocol: SumProtocol
) -> UpdateAttack | None:
  """Returns what malicious clients make of their updates, or None.

  Raises:
    ValueError: if an argument does not fit.
  """
  name = config.attack.updates
  if name == _NONE:
    return None
  args = _args(config, name)
  if name == 'wrap_around':
    assert protocol.field is not None  # A rule of the config sees to it.
    step = config.sharing.clip / protocol.largest
    args = {'limit': step * (protocol.field.modulus // 2)}
  return update_attacks.make(name, **args)


def _args(config: ConfigDict, name: str) -> dict[str, Any]:
  return dict(config.attack.args.get(name, {}))


def backdoor_test_set(
  dataset: Dataset, attack: DataAttack | None
) -> tuple[np.ndarray, np.ndarray] | None:
  """Returns test images with the trigger, and what the attacker wants of them.

  Those of the target's own class are left out. None without a backdoor.
  """
  if attack is None or attack.trigger is None or attack.target is None:
    return None
  others = dataset.test_targets != attack.target
  images = np.asarray(attack.trigger(jnp.asarray(dataset.test_inputs[others])))
  return images, np.full(len(images), attack.target, np.int32)
