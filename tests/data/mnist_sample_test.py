"""Tests of the bundled MNIST sample and of the script that makes it."""

import dataclasses
import importlib.resources
import os
import pathlib
import tempfile

import numpy as np
import pytest

from fps_jax.data import Dataset, load, make_fake
from fps_jax.data.make_mnist_sample import main
from fps_jax.data.mnist_sample import (
  ARRAY_SHA256,
  FILE_NAME,
  array_sha256,
  draw_mnist_sample,
)

BUNDLED = importlib.resources.files('fps_jax.data') / FILE_NAME


@pytest.fixture(scope='module')
def sample() -> Dataset:
  return load('mnist_sample')


def test_shapes(sample: Dataset):
  assert sample.name == 'mnist_sample'
  assert sample.num_classes == 10
  assert sample.train_inputs.shape == (10_000, 28, 28, 1)
  assert sample.test_inputs.shape == (2_000, 28, 28, 1)


def test_classes_are_balanced(sample: Dataset):
  np.testing.assert_array_equal(np.bincount(sample.train_targets), [1000] * 10)
  np.testing.assert_array_equal(np.bincount(sample.test_targets), [200] * 10)


def test_array_hashes(sample: Dataset):
  assert len(ARRAY_SHA256) == 4
  for field, expected in ARRAY_SHA256.items():
    assert array_sha256(getattr(sample, field)) == expected


def test_order_is_random_with_respect_to_the_class(sample: Dataset):
  for labels in (sample.train_targets, sample.test_targets):
    assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.15


def test_file_is_below_4_megabytes():
  assert len(BUNDLED.read_bytes()) < 4_000_000


def test_draw_does_not_depend_on_the_stored_order():
  mnist = make_fake(num_train=11_000, num_test=2_200, image_shape=(3, 3, 1))
  train = np.random.default_rng(0).permutation(11_000)
  test = np.random.default_rng(1).permutation(2_200)
  shuffled = dataclasses.replace(
    mnist,
    train_inputs=mnist.train_inputs[train],
    train_targets=mnist.train_targets[train],
    test_inputs=mnist.test_inputs[test],
    test_targets=mnist.test_targets[test],
  )
  first, second = draw_mnist_sample(mnist), draw_mnist_sample(shuffled)
  assert len(first.train_targets) == 10_000
  for field in ARRAY_SHA256:
    np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


def test_draw_from_too_few_images_raises():
  with pytest.raises(ValueError, match='class 0 has 999 images, below'):
    draw_mnist_sample(make_fake(num_train=9_990, num_test=2_000))


def test_script_on_other_data_raises_and_writes_nothing(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  monkeypatch.setattr(
    'fps_jax.data.make_mnist_sample.load_tfds',
    lambda name, data_dir: make_fake(num_train=10_000, num_test=2_000),
  )
  output = tmp_path / 'sample.npz'
  with pytest.raises(ValueError, match='train_inputs has SHA-256'):
    main([f'--output={output}'])
  assert not output.exists()


@pytest.mark.skipif(
  not os.environ.get('TFDS_DATA_DIR'), reason='needs MNIST in TFDS_DATA_DIR'
)
def test_script_makes_the_bundled_arrays_again():
  with tempfile.TemporaryDirectory() as folder:
    output = pathlib.Path(folder) / 'sample.npz'
    main([f'--output={output}'])
    with np.load(output) as made:
      for field, expected in ARRAY_SHA256.items():
        assert array_sha256(made[field]) == expected
