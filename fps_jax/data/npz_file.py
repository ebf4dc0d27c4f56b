"""A `Dataset` as one .npz file: bundled, decoded from TFDS, or a user's own."""

import contextlib
import math
import os
import pathlib
import uuid
import zipfile
from collections.abc import Container, Iterator
from typing import IO, Any

import numpy as np

from fps_jax.core.host_memory import aligned_empty
from fps_jax.data.dataset import Dataset
from fps_jax.data.stored import Stored

# Fields of a data set; the first four are in every file.
ARRAYS = ('train_inputs', 'train_targets', 'test_inputs', 'test_targets')
INPUTS = ('train_inputs', 'test_inputs')
CLIENTS = ('train_clients', 'test_clients')
_BLOCK_BYTES = 2**22
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


def read_npz(
  path: pathlib.Path,
  name: str,
  cure: str,
  on_demand: bool = False,
  digest: str = '',
) -> Dataset:
  """Reads a data set from a file such as `write_npz` writes, and checks it.

  The file has the arrays of `ARRAYS`, `num_classes` and, if examples belong to
  clients, those of `CLIENTS`.

  Args:
    path: file to read.
    name: name of the returned data set.
    cure: ends the error message: what to do about a broken file.
    on_demand: whether inputs are read when they are asked for, as
      `data.stored.Stored`: the file is gone through then, a part at a time.
    digest: what tells its content from any other, on demand; by default the
      checksums of the file.

  Returns:
    The data set, its arrays in memory.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not a whole and valid data set; a flipped bit
      fails the checksum that .npz files carry.
  """
  with (
    _naming(path, cure),
    path.open('rb') as file,
    np.load(file) as stored,
  ):
    arrays = {}
    for field in ARRAYS:
      key, told = _key(field, stored), digest and f'{digest}/{field}'
      is_read_later = on_demand and field in INPUTS
      later = _open(path, key, cure, told) if is_read_later else None
      arrays[field] = _aligned(stored[key]) if later is None else later
    clients = {name: stored[name] for name in CLIENTS if name in stored}
    num_classes = int(stored['num_classes'])
    return Dataset(name, num_classes=num_classes, **arrays, **clients)


@contextlib.contextmanager
def _naming(path: pathlib.Path, cure: str) -> Iterator[None]:
  """Names the file and the cure in what is raised inside."""
  try:
    yield
  except FileNotFoundError:
    raise
  # What a damaged archive, array or header raises is not one kind.
  except Exception as error:
    raise ValueError(
      f'{path} does not hold a whole data set ({error}): {cure}'
    ) from error


def _open(
  path: pathlib.Path, key: str, cure: str, digest: str
) -> np.ndarray | None:
  """Returns an array of a file, of which nothing is read but its header.

  None where its rows do not lie one after another.
  """
  with _member(path, key) as (_, (shape, is_fortran, dtype), checksum):
    if is_fortran:
      return None

  def read_into(rows: np.ndarray, into: np.ndarray) -> None:
    with _naming(path, cure):
      _read_into(path, key, rows, into)

  return Stored(shape, dtype, digest or checksum, read_into).as_array()


@contextlib.contextmanager
def _member(
  path: pathlib.Path, key: str
) -> Iterator[tuple[IO[bytes], tuple[Any, ...], str]]:
  """Yields what reads an array's values, its header and its checksum.

  The header is its shape, whether it is in the order of Fortran, and its type.
  """
  member = f'{key}.npy'
  with zipfile.ZipFile(path) as archive, archive.open(member) as file:
    read_header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    yield file, read_header(file), f'{archive.getinfo(member).CRC:08x}'


def _read_into(
  path: pathlib.Path, key: str, rows: np.ndarray, into: np.ndarray
) -> None:
  """Reads rows of an array, going through all of it once, in blocks."""
  order = np.argsort(rows, kind='stable')
  ordered = rows[order]
  with _member(path, key) as (file, (shape, _, dtype), _):
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    per_block = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, shape[0], per_block):
      count = min(per_block, shape[0] - start)
      content = file.read(count * row_bytes)
      if len(content) < count * row_bytes:
        raise ValueError(f'{key} ends before its last row')
      block = np.frombuffer(content, dtype).reshape(count, *shape[1:])
      first, last = np.searchsorted(ordered, [start, start + count])
      into[order[first:last]] = block[ordered[first:last] - start]
    # Only at the end is the checksum compared.
    file.read(1)


def _key(name: str, stored: Container[str]) -> str:
  """Returns what a file calls an array."""
  return name if name in stored else _FORMER[name]


def _aligned(array: np.ndarray) -> np.ndarray:
  """Copies an array to where CPU devices can share it."""
  aligned = aligned_empty(array.shape, array.dtype)
  aligned[...] = array
  return aligned
