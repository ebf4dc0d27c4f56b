"""The section `data`: which examples, and how they are dealt to clients."""

from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.checks import (
  above_zero,
  choice,
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
    'pixel_mean': Field(
      0.0, finite, 'subtracted after scaling pixels of uint8 to [0, 1]'
    ),
    'pixel_std': Field(1.0, above_zero, 'and divided by'),
  },
  (_arguments,),
  {'partition_args': (PARTITIONERS,)},
)


def make_partition(
  config: ConfigDict, seed: int, dataset: Dataset
) -> list[np.ndarray]:
  """Returns the rows of each client.

  Raises:
    ValueError: if the data does not fit the partition: too few examples,
      targets that it does not read, or another number of clients.
  """
  settings = config.data
  name = settings.partition
  try:
    return partition(
      name,
      dataset.train_targets,
      settings.num_clients,
      host_generator(seed, Stream.PARTITION),
      dataset.train_clients,
      **settings.partition_args.get(name, {}),
    )
  except ValueError as error:
    raise ValueError(
      f'data.partition={name!r} of data.source={settings.source!r}: {error}'
    ) from error
