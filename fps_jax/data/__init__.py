"""Data of federated learning: where it comes from, and who holds it.

`cohort` draws who takes part in a round.

`load` names a source and gives a `Dataset`; `partition` names a scheme and
gives the examples of each client:

>>> dataset = load('fake', num_train=100)
>>> parts = partition('dirichlet', dataset.train_labels, 5, rng=0, alpha=0.3)
>>> sum(len(part) for part in parts)
100

A new source is a function that returns a `Dataset`, added to `SOURCES`; a new
scheme is a function like those in `partitioners`, added to `PARTITIONERS`.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from fps_jax.data.dataset import Dataset
from fps_jax.data.fake import make_fake
from fps_jax.data.mnist_sample import load_mnist_sample
from fps_jax.data.partitioners import (
  PARTITIONERS,
  dirichlet,
  iid,
  quantity_skew,
  shards,
)
from fps_jax.data.tfds_source import load_tfds

SOURCES: dict[str, Callable[..., Dataset]] = {
  'mnist_sample': load_mnist_sample,
  'fake': make_fake,
}

__all__ = [
  'PARTITIONERS',
  'SOURCES',
  'Dataset',
  'dirichlet',
  'iid',
  'load',
  'load_mnist_sample',
  'load_tfds',
  'make_fake',
  'partition',
  'quantity_skew',
  'shards',
]


def load(
  source: str,
  data_dir: str | os.PathLike[str] | None = None,
  **kwargs: Any,
) -> Dataset:
  """Loads a bundled source, or else the TFDS set of that name.

  Args:
    source: a key of `SOURCES`, or a name for `load_tfds`.
    data_dir: where to look for TFDS sets; see `load_tfds`.
    **kwargs: further arguments of the source's function.

  Raises:
    FileNotFoundError: if the TFDS set is not prepared in the folder.
    ValueError: if neither `SOURCES` nor TFDS knows the name, or as the
      source's function says.
  """
  if source in SOURCES:
    return SOURCES[source](**kwargs)
  return load_tfds(source, data_dir, **kwargs)


def partition(
  name: str,
  labels: np.ndarray,
  num_clients: int,
  rng: np.random.Generator | int,
  **kwargs: Any,
) -> list[np.ndarray]:
  """Splits examples over clients by the partitioner of that name.

  Args:
    name: a key of `PARTITIONERS`.
    labels: integer [n], the class of each example.
    num_clients: number of clients, in [1, n].
    rng: source of randomness, whose state advances; or a seed for one.
    **kwargs: further arguments of the partitioner.

  Returns:
    num_clients arrays of sorted int32 indices in [0, n), non-empty, disjoint
    and covering.

  Raises:
    ValueError: if there is no such partitioner, or as it says itself.
  """
  return PARTITIONERS.make(
    name, kwargs, np.asarray(labels), num_clients, np.random.default_rng(rng)
  )
