"""The section `data`: which examples, and how they are dealt to clients."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.checks import (
  above_zero,
  choice,
  each,
  finite,
  name,
  whole,
  within,
)
from fps_jax.config.section import Field, Section, takes
from fps_jax.core.rng import Stream, host_generator
from fps_jax.data import PARTITIONERS, partition
from fps_jax.data.dataset import Dataset
from fps_jax.data.partitioners import MAX_ALPHA

_ALPHA = within(0, MAX_ALPHA, '(]')


def _arguments(config: ConfigDict) -> Iterator[str]:
  yield from takes(
    'data.partition',
    config.data.partition,
    PARTITIONERS,
    config.data.partition_args,
  )


SECTION = Section(
  'data',
  {
    'source': Field(
      'mnist_sample', name, 'or fake, a file.npz, or any TFDS name: mnist'
    ),
    'num_clients': Field(100, whole(1)),
    'partition': Field(
      'dirichlet',
      choice(PARTITIONERS),
      'natural keeps to the clients of the data, and num_clients is theirs',
    ),
    'partition_args.dirichlet.alpha': Field(0.5, _ALPHA),
    'partition_args.dirichlet.min_examples': Field(1, whole(1)),
    'partition_args.shards.shards_per_client': Field(2, whole(1)),
    'partition_args.quantity_skew.alpha': Field(0.5, _ALPHA),
    'partition_args.quantity_skew.min_examples': Field(1, whole(1)),
    'validation_fraction': Field(
      0.0,
      within(0, 1, '[)'),
      'of the training set, drawn uniformly by seed before it is dealt: no '
      'client has it, and every evaluation measures it, too',
    ),
    'pixel_mean': Field(
      (0.0,),
      each(finite, least=1),
      'one, or one a channel; subtracted after scaling pixels of uint8 to '
      '[0, 1]',
    ),
    'pixel_std': Field((1.0,), each(above_zero, least=1), 'and divided by'),
  },
  (_arguments,),
  {'partition_args': (PARTITIONERS,)},
)


class Split(NamedTuple):
  """Rows of the training set, ascending int32: all of them, in two parts.

  Attributes:
    training: what clients, and a central server that trains, are given.
    validation: what nobody trains on.
  """

  training: np.ndarray
  validation: np.ndarray


def split(config: ConfigDict, seed: int, num_examples: int) -> Split:
  """Returns which of the training examples nobody trains on.

  Every example is as likely as any other to be held out, whatever its class:
  the draw is not stratified.

  Raises:
    ValueError: if a fraction above 0 is of no example.
  """
  fraction = config.data.validation_fraction
  count = round(fraction * num_examples)
  if not fraction:
    return Split(np.arange(num_examples, dtype=np.int32), np.zeros(0, np.int32))
  if not 0 < count < num_examples:
    raise ValueError(
      f'data.validation_fraction={fraction} of {num_examples} training '
      f'examples are {count}: must leave at least one on either side'
    )
  order = host_generator(seed, Stream.VALIDATION).permutation(num_examples)
  order = order.astype(np.int32)
  return Split(np.sort(order[count:]), np.sort(order[:count]))


def make_partition(
  config: ConfigDict, seed: int, dataset: Dataset
) -> list[np.ndarray]:
  """Returns the rows of each client, none of which is held out.

  Raises:
    ValueError: if the data does not fit the partition: too few examples,
      targets that it does not read, or another number of clients.
  """
  settings = config.data
  name, clients = settings.partition, dataset.train_clients
  rows = split(config, seed, len(dataset.train_targets)).training
  if name == 'natural' and clients is not None:
    _check_all_train(config, clients, rows)
  try:
    parts = partition(
      name,
      dataset.train_targets[rows],
      settings.num_clients,
      host_generator(seed, Stream.PARTITION),
      None if clients is None else clients[rows],
      **settings.partition_args.get(name, {}),
    )
  except ValueError as error:
    raise ValueError(
      f'data.partition={name!r} of data.source={settings.source!r}: {error}'
    ) from error
  return [rows[part] for part in parts]


def _check_all_train(
  config: ConfigDict, clients: np.ndarray, rows: np.ndarray
) -> None:
  """Raises ValueError if all examples of a client of the data are held out."""
  lost = np.setdiff1d(clients, clients[rows])
  if len(lost):
    raise ValueError(
      f'data.validation_fraction={config.data.validation_fraction} holds out '
      f'all examples of {len(lost)} clients of the data, such as client '
      f'{lost[0]}: lower it, or leave such clients out of the data'
    )
