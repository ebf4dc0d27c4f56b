"""A `Dataset` as one .npz file: the bundled sample and the decoded cache."""

import os
import pathlib
import uuid
import zipfile
import zlib

import numpy as np

from fps_jax.core.host_memory import aligned_empty
from fps_jax.data.dataset import Dataset

_READ_BYTES = 2**20


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
        train_images=dataset.train_images,
        train_labels=dataset.train_labels,
        test_images=dataset.test_images,
        test_labels=dataset.test_labels,
        num_classes=np.int32(dataset.num_classes),
      )
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def read_npz(path: pathlib.Path, name: str, cure: str) -> Dataset:
  """Reads a data set written by `write_npz` and checks it.

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
    with zipfile.ZipFile(path) as archive:
      return Dataset(
        name=name,
        train_images=_read_array(archive, 'train_images'),
        train_labels=_read_array(archive, 'train_labels'),
        test_images=_read_array(archive, 'test_images'),
        test_labels=_read_array(archive, 'test_labels'),
        num_classes=int(_read_array(archive, 'num_classes')),
      )
  except FileNotFoundError:
    raise
  except (
    EOFError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise ValueError(
      f'{path} does not hold a whole data set ({error}): {cure}'
    ) from error


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
  """Reads an array to where CPU devices can share it, instead of a copy."""
  with archive.open(f'{name}.npy') as file:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
      raise ValueError(f'{name}.npy has format {version}, not (1, 0)')
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if is_fortran or dtype.hasobject:
      raise ValueError(f'{name}.npy is not a plain array in C order')
    array = aligned_empty(shape, dtype)
    unread = array.reshape(-1).view(np.uint8)
    # Reading past the end checks the checksum.
    while part := file.read(_READ_BYTES):
      if len(part) > len(unread):
        raise ValueError(f'{name}.npy is longer than its array')
      unread[: len(part)] = np.frombuffer(part, np.uint8)
      unread = unread[len(part) :]
    if len(unread):
      raise EOFError(f'{name}.npy ends {len(unread)} bytes early')
  return array
