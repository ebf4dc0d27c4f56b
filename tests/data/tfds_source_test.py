"""Tests of `fps_jax.data.tfds_source`, on tiny sets prepared on the spot."""

import io
import os
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from fps_jax.data import SOURCES, Dataset, load, load_tfds
from fps_jax.data.tfds_source import BUNDLED_SOURCES, cache_directory
from fps_jax.jobs import agreement
from tests.helpers.shares import read_by_each

VERSION = '3.0.1'
IMAGES = {
  split: np.random.default_rng(seed).integers(
    256, size=(count, 28, 28, 1), dtype=np.uint8
  )
  for seed, (split, count) in enumerate({'train': 12, 'test': 5}.items())
}


def make_examples(images: np.ndarray) -> list[dict[str, Any]]:
  """Returns one example per image, with the label of its index."""
  return [
    {'image': image, 'label': index % 10} for index, image in enumerate(images)
  ]


EXAMPLES = {split: make_examples(images) for split, images in IMAGES.items()}


# mypy does not see the class parameters of an untyped package.
class TinyBuilder(  # type: ignore[call-arg]
  tfds.core.GeneratorBasedBuilder, skip_registration=True
):
  """Prepares given examples under any name, also that of a real TFDS set."""

  VERSION = tfds.core.Version(VERSION)

  def __init__(
    self,
    name: str,
    features: dict[str, Any],
    examples: dict[str, list[dict[str, Any]]],
    **kwargs: Any,
  ):
    self.name = name
    self._features = features
    self._examples = examples
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(self._features),
      # TFDS would shuffle by key, and tests compare examples in order.
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager
    return {split: self._generate_examples(split) for split in self._examples}

  def _generate_examples(self, split: str) -> Any:
    for key, example in enumerate(self._examples[split]):
      yield (
        key,
        {
          name: as_png(value) if isinstance(value, np.ndarray) else value
          for name, value in example.items()
        },
      )


def as_png(image: np.ndarray) -> io.BytesIO:
  """Encodes an image; TFDS itself would need TensorFlow to do so."""
  file = io.BytesIO()
  Image.fromarray(image.squeeze()).save(file, 'png')
  file.seek(0)
  return file


def prepare(
  data_dir: pathlib.Path,
  examples: dict[str, list[dict[str, Any]]] = EXAMPLES,
  image: Any = None,
  label: Any = None,
  name: str = 'mnist',
  **more: Any,
) -> pathlib.Path:
  """Prepares a set and returns the folder of its version.

  TFDS reads the features of a set that it knows, such as 'mnist', from its own
  code, so that a set of other features needs a name unknown to TFDS.
  """
  features = {
    'image': image or tfds.features.Image(shape=(28, 28, 1)),
    'label': label or tfds.features.ClassLabel(num_classes=10),
    **more,
  }
  builder = TinyBuilder(
    name, features, examples, data_dir=data_dir, file_format='array_record'
  )
  builder.download_and_prepare()
  return pathlib.Path(builder.data_dir)


@pytest.fixture(autouse=True)
def cache(
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  request: pytest.FixtureRequest,
) -> pathlib.Path:
  """Points the cache to an empty folder, except for the tests on real data."""
  folder = tmp_path / 'cache'
  if 'real_data_dir' not in request.fixturenames:
    monkeypatch.setenv('FPS_JAX_CACHE_DIR', str(folder))
  return folder


@pytest.fixture
def data_dir(tmp_path: pathlib.Path) -> pathlib.Path:
  folder = tmp_path / 'tfds'
  prepare(folder)
  return folder


def assert_is_prepared_set(dataset: Dataset) -> None:
  assert dataset.num_classes == 10
  np.testing.assert_array_equal(dataset.train_inputs, IMAGES['train'])
  np.testing.assert_array_equal(dataset.test_inputs, IMAGES['test'])
  np.testing.assert_array_equal(dataset.train_targets, np.arange(12) % 10)
  np.testing.assert_array_equal(dataset.test_targets, np.arange(5))


def test_loads_a_prepared_set_in_stored_order(data_dir: pathlib.Path):
  dataset = load_tfds('mnist', data_dir)
  assert dataset.name == 'mnist'
  assert_is_prepared_set(dataset)


@pytest.mark.parametrize(
  ('feature', 'whose', 'numbers'),
  [
    (tfds.features.Scalar(np.int64), lambda i: 7 * (i % 3) - 3, [-3, 4, 11]),
    (tfds.features.Text(), lambda i: ['Zug', 'Bern', 'Chur'][i % 3], [2, 0, 1]),
  ],
)
def test_feature_may_say_whose_each_example_is(
  tmp_path: pathlib.Path, feature: Any, whose: Any, numbers: list[int]
):
  examples = {
    split: [{**each, 'writer': whose(i)} for i, each in enumerate(of_split)]
    for split, of_split in EXAMPLES.items()
  }
  prepare(tmp_path, examples, name='phones', writer=feature)
  # Decoded, from the cache, and without being asked for.
  for _ in range(2):
    dataset = load_tfds('phones', tmp_path, client_feature='writer')
    assert dataset.train_clients is not None
    assert dataset.train_clients.tolist() == 4 * numbers
    assert dataset.test_clients is not None
    assert dataset.test_clients.tolist() == (2 * numbers)[:5]
  assert load_tfds('phones', tmp_path).train_clients is None
  with pytest.raises(ValueError, match="without client_feature='author'"):
    load_tfds('phones', tmp_path, client_feature='author')
  with pytest.raises(ValueError, match=r"'image' of uint8 .*whole numbers or"):
    load_tfds('phones', tmp_path, client_feature='image')


def test_name_may_pin_the_version(data_dir: pathlib.Path):
  assert_is_prepared_set(load_tfds(f'mnist:{VERSION}', data_dir))


def test_load_takes_a_name_not_in_sources_as_tfds_name(data_dir: pathlib.Path):
  assert_is_prepared_set(load('mnist', data_dir=data_dir))


def test_no_data_dir_means_tfds_data_dir(
  data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  monkeypatch.setenv('TFDS_DATA_DIR', str(data_dir))
  assert_is_prepared_set(load_tfds('mnist'))


def test_no_data_dir_and_no_tfds_data_dir_means_default_of_tfds(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  monkeypatch.delenv('TFDS_DATA_DIR', raising=False)
  monkeypatch.setenv('HOME', str(tmp_path))
  prepare(tmp_path / 'tensorflow_datasets')
  assert_is_prepared_set(load_tfds('mnist'))


def test_second_load_reads_the_cache(
  data_dir: pathlib.Path,
  cache: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
):
  load_tfds('mnist', data_dir)
  assert [path.name for path in cache.glob(f'mnist-{VERSION}-*.npz')] == [
    path.name for path in cache.iterdir()
  ]
  monkeypatch.delattr('fps_jax.data.tfds_source._open')
  assert_is_prepared_set(load_tfds('mnist', data_dir))


def test_moved_set_reads_the_cache(
  data_dir: pathlib.Path,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
):
  load_tfds('mnist', data_dir)
  monkeypatch.delattr('fps_jax.data.tfds_source._open')
  moved = data_dir.rename(tmp_path / 'moved')
  assert_is_prepared_set(load_tfds('mnist', moved))


def test_data_dir_never_yields_the_data_of_another(
  data_dir: pathlib.Path, tmp_path: pathlib.Path
):
  flipped = {
    split: [example | {'label': 9 - example['label']} for example in examples]
    for split, examples in EXAMPLES.items()
  }
  prepare(tmp_path / 'other', flipped)
  assert_is_prepared_set(load_tfds('mnist', data_dir))
  other = load_tfds('mnist', tmp_path / 'other')
  np.testing.assert_array_equal(other.test_targets, 9 - np.arange(5))
  assert_is_prepared_set(load_tfds('mnist', data_dir))


def test_cached_set_still_needs_its_data_dir(
  data_dir: pathlib.Path, tmp_path: pathlib.Path
):
  load_tfds('mnist', data_dir)
  with pytest.raises(FileNotFoundError, match='is not prepared in'):
    load_tfds('mnist', tmp_path / 'absent')


def test_damaged_cache_file_raises_and_names_the_cure(
  data_dir: pathlib.Path, cache: pathlib.Path
):
  load_tfds('mnist', data_dir)
  (path,) = cache.iterdir()
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(ValueError, match='delete it, and load again') as info:
    load_tfds('mnist', data_dir)
  assert str(path) in str(info.value)
  path.unlink()
  assert_is_prepared_set(load_tfds('mnist', data_dir))


@pytest.mark.parametrize('length', [1, 300])
def test_set_loads_without_a_cache_folder_and_says_so_in_one_line(
  data_dir: pathlib.Path,
  cache: pathlib.Path,
  caplog: pytest.LogCaptureFixture,
  monkeypatch: pytest.MonkeyPatch,
  length: int,
):
  cache.write_text('a file where the folder should be')
  monkeypatch.setenv('FPS_JAX_CACHE_DIR', str(cache / (length * 'a')))
  assert_is_prepared_set(load_tfds('mnist', data_dir))
  (message,) = caplog.messages
  assert message.startswith('decoded images are not kept (')
  assert 'set FPS_JAX_CACHE_DIR to a folder' in message
  assert '\n' not in message


def test_log_has_no_advice_to_install_what_is_not_needed(
  data_dir: pathlib.Path, caplog: pytest.LogCaptureFixture
):
  # It is given once in a process.
  counts: Any = tfds.core.features.image_feature.logging
  counts._log_counter_per_token.clear()
  load_tfds('mnist', data_dir)
  assert not caplog.messages


@pytest.mark.parametrize('variable', [False, True])
def test_address_of_a_bucket_is_refused(
  monkeypatch: pytest.MonkeyPatch, variable: bool
):
  address = 'gs://mine/tfds'
  if variable:
    monkeypatch.setenv('TFDS_DATA_DIR', address)
  message = (
    rf'(--tfds_data_dir|TFDS_DATA_DIR)={address} is not a folder of this'
  )
  with pytest.raises(ValueError, match=message):
    load_tfds('mnist', None if variable else address)


def test_folder_that_cannot_be_read_is_named_with_the_cure(
  tmp_path: pathlib.Path,
):
  with pytest.raises(OSError, match=r'\(File name too long\): give a shorter'):
    load_tfds('mnist', tmp_path / (300 * 'a'))


def test_cache_directory_follows_the_environment(
  monkeypatch: pytest.MonkeyPatch,
):
  monkeypatch.setenv('HOME', '/home/someone')
  monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
  monkeypatch.setenv('FPS_JAX_CACHE_DIR', '~/own')
  assert cache_directory() == pathlib.Path('/home/someone/own')
  monkeypatch.delenv('FPS_JAX_CACHE_DIR')
  assert cache_directory() == pathlib.Path('/xdg/fps_jax')
  monkeypatch.delenv('XDG_CACHE_HOME')
  assert cache_directory() == pathlib.Path('/home/someone/.cache/fps_jax')


def test_missing_set_raises_one_line_with_the_cure(tmp_path: pathlib.Path):
  with pytest.raises(FileNotFoundError) as info:
    load_tfds('cifar10', tmp_path)
  message = str(info.value)
  assert '\n' not in message
  expected = [
    'cifar10',
    str(tmp_path),
    'TFDS_DATA_DIR',
    '--tfds_data_dir',
    'BUILD.md',
    'mnist_sample',
  ]
  for part in expected:
    assert part in message


@pytest.mark.parametrize(
  'name', ['', 'mnsit', 'two words', 'mnist/none', 'mnist:9.9.9', 'a:b']
)
def test_unknown_name_raises_one_line_with_the_bundled_sources(
  name: str, tmp_path: pathlib.Path
):
  with pytest.raises(ValueError, match='is unknown to TFDS') as info:
    load(name, data_dir=tmp_path)
  message = str(info.value)
  assert '\n' not in message
  assert repr(name) in message
  for source in SOURCES:
    assert source in message


def test_bundled_sources_are_the_keys_of_sources():
  assert tuple(SOURCES) == BUNDLED_SOURCES


def test_set_unknown_to_tfds_loads_if_prepared(tmp_path: pathlib.Path):
  prepare(tmp_path, name='own')
  assert_is_prepared_set(load_tfds('own', tmp_path))


def test_set_without_images_raises(tmp_path: pathlib.Path):
  examples = {'train': [{'image': 1, 'label': 0}]}
  prepare(tmp_path, examples, image=tfds.features.Scalar(np.int64), name='own')
  message = r"without a feature 'image' of .* Image"
  with pytest.raises(ValueError, match=message):
    load_tfds('own', tmp_path)


def test_set_without_class_labels_raises(tmp_path: pathlib.Path):
  prepare(tmp_path, label=tfds.features.Scalar(np.int64), name='own')
  message = r"without a feature 'label' of .* ClassLabel"
  with pytest.raises(ValueError, match=message):
    load_tfds('own', tmp_path)


def test_set_of_16_bit_images_raises(tmp_path: pathlib.Path):
  image = tfds.features.Image(
    shape=(28, 28, 1), dtype=np.uint16, encoding_format='png'
  )
  prepare(tmp_path, image=image, name='own')
  with pytest.raises(ValueError, match='has uint16 images, not uint8'):
    load_tfds('own', tmp_path)


def test_set_of_unequal_image_shapes_raises(tmp_path: pathlib.Path):
  images = [np.zeros((size, 28, 1), np.uint8) for size in (28, 20, 28)]
  examples = EXAMPLES | {
    'train': [{'image': image, 'label': 0} for image in images]
  }
  image = tfds.features.Image(shape=(None, None, 1))
  prepare(tmp_path, examples, image=image, name='own')
  message = r'train images of unequal shapes, from \(20, 28, 1\) to \(28,'
  with pytest.raises(ValueError, match=message):
    load_tfds('own', tmp_path)


def test_set_of_unlabelled_test_inputs_raises(tmp_path: pathlib.Path):
  unlabelled = [example | {'label': -1} for example in EXAMPLES['test']]
  prepare(tmp_path, EXAMPLES | {'test': unlabelled})
  with pytest.raises(ValueError, match=r'test_targets span \[-1, -1\]'):
    load_tfds('mnist', tmp_path)


def test_set_without_test_split_raises(tmp_path: pathlib.Path):
  prepare(tmp_path, {'train': EXAMPLES['train']})
  message = r"splits \['train'\] without \['test'\]"
  with pytest.raises(ValueError, match=message):
    load_tfds('mnist', tmp_path)


def test_set_in_a_format_that_needs_tensorflow_raises(tmp_path: pathlib.Path):
  info_file = prepare(tmp_path) / 'dataset_info.json'
  text = info_file.read_text()
  info_file.write_text(text.replace('array_record', 'tfrecord'))
  with pytest.raises(ValueError, match='--file_format=array_record'):
    load_tfds('mnist', tmp_path)


@pytest.mark.parametrize('damage', ['missing', 'cut', 'flipped byte'])
def test_damaged_prepared_file_raises(tmp_path: pathlib.Path, damage: str):
  (shard,) = prepare(tmp_path).glob('*-test.array_record-*')
  content = shard.read_bytes()
  if damage == 'missing':
    shard.unlink()
  elif damage == 'cut':
    shard.write_bytes(content[: len(content) // 2])
  else:
    flipped = bytes([content[200] ^ 255])
    shard.write_bytes(content[:200] + flipped + content[201:])
  with pytest.raises(ValueError, match='test split that cannot be read'):
    load_tfds('mnist', tmp_path)


@pytest.mark.parametrize('num_processes', [2, 4])
def test_process_decodes_the_images_of_its_own_clients_alone(
  data_dir: pathlib.Path,
  cache: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  num_processes: int,
):
  decoded: list[np.ndarray] = []
  decode = tfds.features.Image.decode_example_np

  def counting(self: Any, example: bytes) -> np.ndarray:
    decoded.append(decode(self, example))
    return decoded[-1]

  monkeypatch.setattr(tfds.features.Image, 'decode_example_np', counting)
  counts = []

  def load_one() -> Dataset:
    counts.append(len(decoded))
    return load('mnist', data_dir, on_demand=True)

  shares = read_by_each(load_one, num_processes, num_clients=5)
  counts.append(len(decoded))
  # Labels, which all need to deal examples to clients, decode none.
  assert np.diff(counts).tolist() == [len(share.rows) for share in shares]
  assert len(decoded) == len(IMAGES['train'])
  for share in shares:
    assert_is_prepared_set(share.dataset)
    np.testing.assert_array_equal(
      share.held[: len(share.rows)], IMAGES['train'][share.rows]
    )
  assert not cache.exists()


def test_set_on_demand_is_that_of_the_cache(data_dir: pathlib.Path):
  decoded = load('mnist', data_dir, on_demand=True)
  load('mnist', data_dir)
  cached = load('mnist', data_dir, on_demand=True)
  assert_is_prepared_set(cached)
  # Processes of which one has a cache agree on their data.
  assert agreement.digest_of_data(cached) == agreement.digest_of_data(decoded)


@pytest.fixture
def real_data_dir() -> str:
  if not os.environ.get('TFDS_DATA_DIR'):
    pytest.skip('needs real data in TFDS_DATA_DIR')
  return os.environ['TFDS_DATA_DIR']


def test_real_mnist(real_data_dir: str):
  dataset = load_tfds('mnist', real_data_dir)
  assert dataset.image_shape == (28, 28, 1)
  np.testing.assert_array_equal(
    np.bincount(dataset.train_targets),
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  )
  np.testing.assert_array_equal(
    np.bincount(dataset.test_targets),
    [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
  )
  np.testing.assert_allclose(
    dataset.train_inputs.mean() / 255, 0.1307, atol=1e-4
  )


def test_real_cifar10(real_data_dir: str):
  dataset = load_tfds('cifar10', real_data_dir)
  assert dataset.image_shape == (32, 32, 3)
  np.testing.assert_array_equal(np.bincount(dataset.train_targets), [5000] * 10)
  np.testing.assert_array_equal(np.bincount(dataset.test_targets), [1000] * 10)
  np.testing.assert_allclose(
    dataset.train_inputs.mean(axis=(0, 1, 2)) / 255,
    [0.4914, 0.4822, 0.4465],
    atol=1e-4,
  )
