"""The section `client`: local training."""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fps_jax.attacks.data import DataAttack
from fps_jax.config.checks import (
  above_zero,
  at_least_zero,
  boolean,
  choice,
  optional,
  whole,
  within,
)
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.model import (
  Network,
  make_loss_on,
  shapes_of_batch,
)
from fps_jax.config.sections.study import MAX_ROUNDS
from fps_jax.core.types import Examples
from fps_jax.federated import client, learning_rates, optimizers
from fps_jax.federated.augmentation import (
  AUGMENTATIONS,
  Augment,
  augment_batch,
)
from fps_jax.federated.client import LocalUpdate
from fps_jax.federated.learning_rates import SCHEDULES
from fps_jax.federated.optimizers import OPTIMIZERS

# Batches are padded to their size, and lie in memory for every client.
MAX_BATCH = 2**20
MAX_PASSES = 10**4
_NONE = 'none'
# Arguments of optimisers that weigh what was before.
_MEMORIES = ('b1', 'b2', 'decay', 'momentum', 'rho')


def _argument_fields() -> Iterator[tuple[str, Field]]:
  """Yields a field for each argument of an optimiser, with its default."""
  for name in OPTIMIZERS:
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    for argument in OPTIMIZERS.arguments(name) or ():
      default: Any = parameters[argument].default
      check = within(0, 1, '[)') if argument in _MEMORIES else at_least_zero
      if isinstance(default, bool):
        check = boolean
      elif default is None:
        default, check = float, optional(check)
      yield f'optimizer_args.{name}.{argument}', Field(default, check)


def schedule_fields() -> dict[str, Field]:
  """Returns the fields of a schedule of the learning rate over rounds."""
  return {
    'schedule': Field(
      learning_rates.CONSTANT,
      choice(SCHEDULES),
      'what the learning rate is multiplied by, from round to round',
    ),
    'schedule_args.cosine.final': Field(
      0.0, within(0, 1), 'factor after the last round'
    ),
    'schedule_args.linear.final': Field(
      0.0, within(0, 1), 'factor after the last round'
    ),
    'schedule_args.step.every': Field(10, whole(1, MAX_ROUNDS), 'rounds'),
    'schedule_args.step.factor': Field(0.5, above_zero),
    'schedule_args.exponential.factor': Field(0.99, above_zero, 'a round'),
    'warmup_rounds': Field(
      0,
      whole(0, MAX_ROUNDS),
      'in which the learning rate rises to its own, before the schedule',
    ),
  }


def make_factors(config: ConfigDict, section: str) -> np.ndarray | None:
  """Returns the factors of a schedule, as `learning_rates.factors` does.

  Args:
    config: the config of one variant.
    section: that has the fields of `schedule_fields`.

  Raises:
    ValueError: if an argument does not fit.
  """
  settings = getattr(config, section)
  name = settings.schedule
  return learning_rates.factors(
    name,
    settings.schedule_args.get(name, {}),
    config.num_rounds,
    settings.warmup_rounds,
  )


def _schedule(config: ConfigDict) -> Iterator[str]:
  yield from collect('client', lambda: make_factors(config, 'client'))


def _optimizer(config: ConfigDict) -> Iterator[str]:
  yield from collect('client', lambda: _make_optimizer(config))
  settings = config.client
  for field in ('momentum', 'weight_decay'):
    value = getattr(settings, field)
    if settings.optimizer != 'sgd' and value:
      yield (
        f"client.{field}={value} is of client.optimizer='sgd', not of "
        f'{settings.optimizer!r}: set it to 0; what {settings.optimizer!r} '
        f'takes is in client.optimizer_args.{settings.optimizer}'
      )


def _augmentation(config: ConfigDict) -> Iterator[str]:
  yield from collect('client', lambda: make_augment(config))


SECTION = Section(
  'client',
  {
    'optimizer': Field(
      'sgd', choice(OPTIMIZERS), 'begun afresh in every round; others: optax'
    ),
    'learning_rate': Field(0.1, above_zero),
    'momentum': Field(0.0, within(0, 1, '[)'), 'of sgd'),
    'weight_decay': Field(0.0, at_least_zero, 'of sgd: coupled, an L2 penalty'),
    **{
      name: field
      for name, field in _argument_fields()
      if not name.startswith('optimizer_args.sgd.')
    },
    **schedule_fields(),
    'proximal': Field(
      0.0, at_least_zero, "FedProx's mu; 0 is FedAvg's local training"
    ),
    'batch_size': Field(10, whole(1, MAX_BATCH)),
    'epochs': Field(1, whole(1, MAX_PASSES)),
    'steps': Field(
      0,
      whole(0, MAX_ROUNDS),
      'above 0: this many steps a round, not epochs',
    ),
    'augmentation': Field(
      _NONE, choice((_NONE,), AUGMENTATIONS), 'random changes of examples'
    ),
    'augmentation_args.crop_flip.padding': Field(4, whole(0, 2**10)),
    'augmentation_args.crop_flip.flips': Field(
      True, boolean, 'not for digits and letters'
    ),
  },
  (_optimizer, _schedule, _augmentation),
  {
    'optimizer_args': (OPTIMIZERS,),
    'schedule_args': (SCHEDULES,),
    'augmentation_args': (AUGMENTATIONS,),
  },
  # They are fields.
  ('optimizer_args.sgd.momentum', 'optimizer_args.sgd.weight_decay'),
)


def _make_optimizer(config: ConfigDict) -> optimizers.Optimizer:
  settings = config.client
  args = settings.optimizer_args.get(settings.optimizer, {})
  if settings.optimizer == 'sgd':
    args = {
      'momentum': settings.momentum,
      'weight_decay': settings.weight_decay,
    }
  return optimizers.make(settings.optimizer, settings.learning_rate, args)


def make_augment(config: ConfigDict) -> Augment | None:
  """Returns how clients change their examples at random, or None.

  Raises:
    ValueError: if an argument does not fit.
  """
  name = config.client.augmentation
  if name == _NONE:
    return None
  return AUGMENTATIONS.make(name, config.client.augmentation_args.get(name, {}))


def _make_augment_on(config: ConfigDict, examples: Examples) -> Augment | None:
  """Returns how clients change examples such as these at random, or None.

  Raises:
    ValueError: if an argument does not fit, or it does not take such inputs.
  """
  augment = make_augment(config)
  if augment is not None:
    inputs = shapes_of_batch(examples).inputs
    try:
      jax.eval_shape(
        lambda batch: augment_batch(augment, jax.random.key(0), 0, batch),
        inputs,
      )
    except ValueError as error:
      raise ValueError(
        f'client.augmentation={config.client.augmentation!r} does not take the '
        f'inputs of data.source={config.data.source!r}: {error}'
      ) from error
  return augment


def make_local_update(
  config: ConfigDict,
  network: Network,
  attack: DataAttack | None,
  examples: Examples,
) -> LocalUpdate:
  """Returns how a client trains; malicious ones, on what an attack makes.

  Raises:
    ValueError: if loss or augmentation do not fit the examples.
  """
  return client.make_local_update(
    network.apply,
    learning_rates.scheduled(
      _make_optimizer(config), make_factors(config, 'client')
    ),
    config.client.proximal,
    corrupt=attack.corrupt if attack else None,
    augment=_make_augment_on(config, examples),
    loss=make_loss_on(config, network, examples),
  )
