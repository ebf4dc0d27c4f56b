"""A `Dataset` as one .npz file: bundled, decoded from TFDS, or a user's own."""

import os
import pathlib
import uuid
from collections.abc import Container

import numpy as np

from fps_jax.core.host_memory import aligned_empty
from fps_jax.data.dataset import Dataset

# Fields of a data set; the first four are in every file.
ARRAYS = ('train_inputs', 'train_targets', 'test_inputs', 'test_targets')
CLIENTS = ('train_clients', 'test_clients')
# What files of earlier versions, such as the bundled sample, call them.
_FORMER = dict(
  zip(
    ARRAYS,
    ('train_images', 'train_labels', 'test_images', 'test_labels'),
    strict=True,
  )
)


def write_npz(
  path: pathlib.Path, dataset: Dataset, *, compress: bool = False
) -> None:
  """Writes a data set so that `read_npz` gives it back.

  The file appears at `path` complete or not at all, also where two processes
  write it at once. Equal arrays give equal bytes under one version of NumPy
  and zlib.

  Args:
    path: file to create or replace, in a folder that exists.
    dataset: what to write; its name is not stored.
    compress: whether to deflate the arrays: for MNIST a fifth of the size, at
      many times the time to write and read.

  Raises:
    OSError: if the folder cannot be written to.
  """
  save = np.savez_compressed if compress else np.savez
  temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
  try:
    with temporary.open('xb') as file:
      save(
        file,
        **{
          name: array
          for name in (*ARRAYS, *CLIENTS)
          if (array := getattr(dataset, name)) is not None
        },
        num_classes=np.int32(dataset.num_classes),
      )
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def read_npz(path: pathlib.Path, name: str, cure: str) -> Dataset:
  """Reads a data set from a file such as `write_npz` writes, and checks it.

  The file has the arrays of `ARRAYS`, `num_classes` and, if examples belong to
  clients, those of `CLIENTS`.

  Args:
    path: file to read.
    name: name of the returned data set.
    cure: ends the error message: what to do about a broken file.

  Returns:
    The data set, its arrays in memory.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not a whole and valid data set; a flipped bit
      fails the checksum that .npz files carry.
  """
  try:
    with path.open('rb') as file, np.load(file) as stored:
      arrays = {name: _aligned(stored[_key(name, stored)]) for name in ARRAYS}
      clients = {name: stored[name] for name in CLIENTS if name in stored}
      num_classes = int(stored['num_classes'])
      return Dataset(name, num_classes=num_classes, **arrays, **clients)
  except FileNotFoundError:
    raise
  # What a damaged archive, array or header raises is not one kind.
  except Exception as error:
    raise ValueError(
      f'{path} does not hold a whole data set ({error}): {cure}'
    ) from error


def _key(name: str, stored: Container[str]) -> str:
  """Returns what a file calls an array."""
  return name if name in stored else _FORMER[name]


def _aligned(array: np.ndarray) -> np.ndarray:
  """Copies an array to where CPU devices can share it."""
  aligned = aligned_empty(array.shape, array.dtype)
  aligned[...] = array
  return aligned
