"""Image classification sets of TensorFlow Datasets (TFDS), read offline.

Reads sets that are already prepared in the array_record format through
`tfds.data_source`, which needs no TensorFlow. Decoding tens of thousands of
PNG files takes long, so the decoded arrays are kept in a cache folder. A
process that needs some images alone decodes these (`on_demand`); the labels of
all are read without decoding.

The name of a cache file holds a hash of all prepared files. Hence the
prepared set must be there even when the cache holds its arrays, and a data
directory never yields the arrays of another with different content.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from fps_jax.core import extras, files
from fps_jax.data.dataset import Dataset
from fps_jax.data.npz_file import read_npz, write_npz
from fps_jax.data.stored import Stored

# Sources that need no TFDS, named here to tell users of a mistyped name.
BUNDLED_SOURCES = ('mnist_sample', 'text', 'fake')

_HASH_DIGITS = 16
_BLOCK = 1000  # Examples read at a time, which is faster than one by one.


def load_tfds(
  name: str,
  data_dir: str | os.PathLike[str] | None = None,
  client_feature: str | None = None,
  on_demand: bool = False,
) -> Dataset:
  """Loads the splits 'train' and 'test' of a prepared TFDS set.

  Args:
    name: TFDS name, such as 'mnist', 'fashion_mnist', 'cifar10', 'cifar100'
      (fine labels) or 'emnist/letters', or any other set prepared in the
      folder; 'mnist:3.0.1' pins a version.
    data_dir: folder that holds the prepared set as name/version/. None means
      the environment variable TFDS_DATA_DIR, or else TFDS's default,
      ~/tensorflow_datasets.
    client_feature: the feature that says whose each example is, by a whole
      number or a text; None if none does. For a config, a source of one's own
      gives it: `SOURCES['NAME'] = lambda: load_tfds(...)`.
    on_demand: whether images are read when they are asked for, as
      `data.stored.Stored`: from the cache, if it has them, or decoded.

  Returns:
    A data set called `name`, in the order in which it is stored: uint8 images
    and int32 labels, from the features 'image' and 'label'. Clients have the
    numbers of the feature; texts are numbered in their order, from 0.

  Raises:
    FileNotFoundError: if the set is not prepared in the folder.
    ValueError: if the folder is not one of this machine, if TFDS knows no such
      name, if the set is not one of uint8 images of one shape with class labels
      and both splits, if no such feature says whose examples are, if it is
      prepared in a format that needs TensorFlow, or if its prepared files or
      its cache file are damaged.
    OSError: if the prepared files cannot be read.
  """
  directory = _data_directory(data_dir)
  with files.naming(directory, 'prepare it again', 'cannot be read'):
    builder = _find_builder(name, directory)
    cache_name = _cache_name(builder, client_feature)
  cache_file = _find_cache(cache_name)
  if cache_file is not None and cache_file.exists():
    return read_npz(
      cache_file, name, 'delete it, and load again', on_demand, cache_name
    )
  dataset = _open(name, builder, client_feature, cache_name)
  if on_demand:
    return dataset
  dataset = dataclasses.replace(
    dataset,
    train_inputs=np.asarray(dataset.train_inputs),
    test_inputs=np.asarray(dataset.test_inputs),
  )
  if cache_file is not None:
    _write_cache(cache_file, dataset)
  return dataset


def cache_directory() -> pathlib.Path:
  """Returns the folder of decoded arrays, which may not exist yet.

  It is FPS_JAX_CACHE_DIR, or else XDG_CACHE_HOME/fps_jax, or else
  ~/.cache/fps_jax.
  """
  own = os.environ.get('FPS_JAX_CACHE_DIR')
  if own:
    return pathlib.Path(own).expanduser()
  home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(home).expanduser() / 'fps_jax'


def _data_directory(data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
  """Returns the folder in which to look for prepared sets."""
  given = '--tfds_data_dir'
  if data_dir is None:
    given = 'TFDS_DATA_DIR'
    data_dir = os.environ.get(given) or '~/tensorflow_datasets'
  return files.local(data_dir, given).expanduser().absolute()


def _find_builder(name: str, directory: pathlib.Path) -> Any:
  """Returns the TFDS builder of a prepared set."""
  extras.require_tfds()
  # Importing TFDS takes about a second, which other sources need not pay.
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder(name, data_dir=directory)
  # TFDS answers an unknown version with an AssertionError.
  except (AssertionError, ValueError) as error:
    reason = str(error).strip().partition('\n')[0]
    raise ValueError(
      f'data source {name!r} is unknown to TFDS ({reason}): use a name of '
      'tfds.list_builders() or a bundled source, '
      + ' or '.join(BUNDLED_SOURCES)
    ) from error
  if not (pathlib.Path(builder.data_dir) / 'dataset_info.json').is_file():
    raise FileNotFoundError(
      f'TFDS data set {builder.info.full_name!r} is not prepared in '
      f'{directory}: point TFDS_DATA_DIR or --tfds_data_dir to a folder that '
      'holds it (see BUILD.md, "Data"), or use the source mnist_sample, '
      'which needs no files'
    )
  return builder


def _cache_name(builder: Any, client_feature: str | None) -> str:
  """Names a cache file by set, version, content and what tells clients."""
  digest = hashlib.sha256()
  folder = pathlib.Path(builder.data_dir)
  for path in sorted(path for path in folder.iterdir() if path.is_file()):
    with path.open('rb') as file:
      digest.update(hashlib.file_digest(file, 'sha256').digest())
    digest.update(path.name.encode())
  if client_feature is not None:
    digest.update(f'/{client_feature}'.encode())
  name = builder.info.full_name.replace('/', '-')
  return f'{name}-{digest.hexdigest()[:_HASH_DIGITS]}.npz'


def _find_cache(name: str) -> pathlib.Path | None:
  """Returns the path of a cache file; None, and says so, if it has none."""
  try:
    path = files.local(cache_directory(), 'FPS_JAX_CACHE_DIR') / name
    path.exists()
  except (ValueError, OSError, RuntimeError) as error:
    _warn_of_cache(error)
    return None
  return path


def _write_cache(path: pathlib.Path, dataset: Dataset) -> None:
  """Writes a cache file, or says why there is none."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, dataset)
  except OSError as error:
    _warn_of_cache(error)


def _warn_of_cache(error: Exception) -> None:
  logging.warning(
    'decoded images are not kept (%s), and will be decoded again: set '
    'FPS_JAX_CACHE_DIR to a folder that can be written to',
    error,
  )


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
  """Keeps TFDS from recommending OpenCV, which this package does not need."""

  def is_other(record: Any) -> bool:
    return 'OpenCV is not installed' not in record.getMessage()

  logger = logging.get_absl_logger()
  logger.addFilter(is_other)
  try:
    yield
  finally:
    logger.removeFilter(is_other)


def _open(
  name: str, builder: Any, client_feature: str | None, digest: str
) -> Dataset:
  """Returns a prepared set, after checking its features; decodes no image."""
  _check_features(name, builder, client_feature)
  splits = [
    _Split(name, builder, split, client_feature) for split in ('train', 'test')
  ]
  labels, named = zip(*(split.read_labels() for split in splits), strict=True)
  clients = np.concatenate(named)
  if clients.dtype.kind not in 'iuSU' or clients.ndim != 1:
    raise ValueError(
      f'TFDS data set {name!r} has client_feature={client_feature!r} of '
      f'{clients.dtype} {clients.shape[1:]}: name one of whole numbers or text'
    )
  if clients.dtype.kind in 'SU':
    clients = np.unique(clients, return_inverse=True)[1]
  is_told = client_feature is not None
  train, test = (split.images(digest).as_array() for split in splits)
  return Dataset(
    name,
    train,
    labels[0],
    test,
    labels[1],
    builder.info.features['label'].num_classes,
    clients[: len(train)] if is_told else None,
    clients[len(train) :] if is_told else None,
  )


def _check_features(
  name: str, builder: Any, client_feature: str | None
) -> None:
  """Raises ValueError unless the set is an image classification set."""
  import tensorflow_datasets as tfds

  features = builder.info.features
  kinds = {
    'image': tfds.features.Image,
    'label': tfds.features.ClassLabel,
  }
  for feature, kind in kinds.items():
    if feature not in features or not isinstance(features[feature], kind):
      raise ValueError(
        f'TFDS data set {name!r} has features {sorted(features)} without '
        f'a feature {feature!r} of kind {kind.__name__}: use an image '
        'classification set'
      )
  if client_feature is not None and client_feature not in features:
    raise ValueError(
      f'TFDS data set {name!r} has features {sorted(features)} without '
      f'client_feature={client_feature!r}: name one of them'
    )
  if features['image'].np_dtype != np.uint8:
    raise ValueError(
      f'TFDS data set {name!r} has {features["image"].np_dtype} images, not '
      'uint8: use a set of 8-bit images'
    )
  missing = {'train', 'test'} - set(builder.info.splits)
  if missing:
    raise ValueError(
      f'TFDS data set {name!r} has splits {sorted(builder.info.splits)} '
      f'without {sorted(missing)}: use a set with train and test'
    )


class _Split:
  """A split of a prepared set, of which examples are read by their numbers."""

  def __init__(
    self, name: str, builder: Any, split: str, client_feature: str | None
  ):
    self._name, self._builder, self._split = name, builder, split
    self._client_feature = client_feature
    self._image_shape = builder.info.features['image'].shape
    self._num_examples = builder.info.splits[split].num_examples

  def read_labels(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns int32 [n] labels, and what the clients are called.

    Where nothing says whose examples are, all clients are called 0.
    """
    import tensorflow_datasets as tfds

    feature = self._client_feature
    skipped = {'image': tfds.decode.SkipDecoding()}
    read = self._read(
      np.arange(self._num_examples), skipped if feature != 'image' else None
    )
    told = [
      (example['label'], 0 if feature is None else example[feature])
      for example in read
    ]
    labels, clients = zip(*told, strict=True)
    return np.array(labels, np.int32), np.array(clients)

  def images(self, digest: str) -> Stored:
    """Returns uint8 [n, height, width, channels], none of them decoded."""
    shape = self._image_shape
    if None in shape:
      (first,) = self._read(np.arange(1))
      shape = first['image'].shape
    return Stored(
      (self._num_examples, *shape),
      np.dtype(np.uint8),
      f'{digest}/{self._split}_inputs',
      self._decode_into,
    )

  def _decode_into(self, rows: np.ndarray, into: np.ndarray) -> None:
    shapes = {into.shape[1:]}
    for place, example in enumerate(self._read(rows)):
      image = example['image']
      shapes.add(image.shape)
      if len(shapes) == 1:
        into[place] = image
    if len(shapes) > 1:
      raise ValueError(
        f'TFDS data set {self._name!r} has {self._split} images of unequal '
        f'shapes, from {min(shapes)} to {max(shapes)}: use a set of one image '
        'shape'
      )

  def _read(
    self, rows: np.ndarray, decoders: Mapping[str, Any] | None = None
  ) -> Iterator[dict[str, Any]]:
    """Yields the examples of some numbers."""
    try:
      source = self._builder.as_data_source(self._split, decoders=decoders)
      with _without_advice():
        for start in range(0, len(rows), _BLOCK):
          block = rows[start : start + _BLOCK].tolist()
          for example in source.__getitems__(block):
            # So are records of a shard that is cut.
            if any(value is None for value in example.values()):
              raise OSError('an example is empty')
            yield example
    except NotImplementedError as error:
      raise ValueError(
        f'TFDS data set {self._name!r} in {self._builder.data_dir} is in a '
        'format that needs TensorFlow: prepare it with '
        '--file_format=array_record'
      ) from error
    # What TFDS raises where a shard is missing or cut, or a record is damaged.
    except (OSError, RuntimeError) as error:
      raise ValueError(
        f'TFDS data set {self._name!r} in {self._builder.data_dir} has a '
        f'{self._split} split that cannot be read ({error}): delete that '
        'folder and prepare the set again'
      ) from error
