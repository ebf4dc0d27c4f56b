"""Data of federated learning: where it comes from, and who holds it.

`cohort` draws who takes part in a round.

`load` names a source and gives a `Dataset`; `partition` names a scheme and
gives the examples of each client:

>>> dataset = load('fake', num_train=100)
>>> parts = partition('dirichlet', dataset.train_targets, 5, rng=0, alpha=0.3)
>>> sum(len(part) for part in parts)
100

A new source is a function that returns a `Dataset`, added to `SOURCES`; a new
scheme is a function like those in `partitioners`, added to `PARTITIONERS`.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fps_jax.core import files
from fps_jax.data.dataset import Dataset
from fps_jax.data.fake import make_fake
from fps_jax.data.mnist_sample import load_mnist_sample
from fps_jax.data.npz_file import read_npz, write_npz
from fps_jax.data.partitioners import (
  OF_CLIENTS,
  PARTITIONERS,
  dirichlet,
  iid,
  natural,
  quantity_skew,
  shards,
)
from fps_jax.data.text import make_text
from fps_jax.data.tfds_source import load_tfds

SOURCES: dict[str, Callable[..., Dataset]] = {
  'mnist_sample': load_mnist_sample,
  'text': make_text,
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
  'make_text',
  'natural',
  'partition',
  'quantity_skew',
  'shards',
  'write_npz',
]


def load(
  source: str,
  data_dir: str | os.PathLike[str] | None = None,
  on_demand: bool = False,
  **kwargs: Any,
) -> Dataset:
  """Loads a bundled source, an .npz file, or else the TFDS set of that name.

  Args:
    source: a key of `SOURCES`, the path of a file for `read_npz`, which ends in
      .npz, or a name for `load_tfds`.
    data_dir: where to look for TFDS sets; see `load_tfds`.
    on_demand: whether a file or a TFDS set gives inputs when they are asked
      for, as `data.stored.Stored`: for who needs some of them. A key of
      `SOURCES` makes all.
    **kwargs: further arguments of the source's function.

  Raises:
    FileNotFoundError: if there is no such file, or the TFDS set is not prepared
      in the folder.
    ValueError: if neither `SOURCES` nor TFDS knows the name, or as the
      source's function says.
  """
  if source in SOURCES:
    return SOURCES[source](**kwargs)
  if source.endswith('.npz'):
    path = files.local(source, 'data.source').expanduser()
    if not path.is_file():
      raise FileNotFoundError(
        f'data.source={source!r}: there is no such file, seen from '
        f'{pathlib.Path.cwd()}: give the path of one that write_npz wrote'
      )
    cure = 'write it with fps_jax.data.write_npz'
    return read_npz(path, path.stem, cure, on_demand)
  return load_tfds(source, data_dir, on_demand=on_demand, **kwargs)


def partition(
  name: str,
  targets: np.ndarray,
  num_clients: int,
  rng: np.random.Generator | int,
  clients: np.ndarray | None = None,
  **kwargs: Any,
) -> list[np.ndarray]:
  """Splits examples over clients by the partitioner of that name.

  Args:
    name: a key of `PARTITIONERS`.
    targets: of `Dataset`, [n, ...]; most partitioners read classes, integer
      [n], alone.
    num_clients: number of clients, in [1, n].
    rng: source of randomness, whose state advances; or a seed for one.
    clients: int [n], whose each example is; None where the data does not say.
    **kwargs: further arguments of the partitioner.

  Returns:
    num_clients arrays of sorted int32 indices in [0, n), non-empty, disjoint
    and covering.

  Raises:
    ValueError: if there is no such partitioner, it needs to be told whose the
      examples are, or as it says itself.
  """
  generator = np.random.default_rng(rng)
  if name not in OF_CLIENTS:
    return PARTITIONERS.make(
      name, kwargs, np.asarray(targets), num_clients, generator
    )
  if clients is None:
    raise ValueError(
      f'partition {name!r} needs to know whose each example is: give the data '
      'set train_clients (docs/tutorial.md, "Clients of your own"), or '
      'use the partition iid'
    )
  return PARTITIONERS.make(
    name, kwargs, np.asarray(clients), num_clients, generator
  )
