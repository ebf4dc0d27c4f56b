"""Tests of `fps_jax.data.fake`."""

import time

import numpy as np
import pytest

from fps_jax.data import make_fake


def split_arrays(seed: int) -> list[np.ndarray]:
  dataset = make_fake(seed=seed)
  return [
    dataset.train_inputs,
    dataset.train_targets,
    dataset.test_inputs,
    dataset.test_targets,
  ]


@pytest.mark.parametrize('image_shape', [(1, 1, 1), (8, 8, 1), (5, 7, 3)])
@pytest.mark.parametrize(
  ('num_train', 'num_test', 'num_classes'),
  [(1, 1, 1), (10, 3, 10), (101, 33, 7), (3, 2, 5)],
)
def test_class_sizes_differ_by_at_most_one(
  image_shape: tuple[int, int, int],
  num_train: int,
  num_test: int,
  num_classes: int,
):
  dataset = make_fake(num_train, num_test, image_shape, num_classes)
  assert dataset.train_inputs.shape == (num_train, *image_shape)
  assert dataset.test_inputs.shape == (num_test, *image_shape)
  assert dataset.num_classes == num_classes
  for labels in (dataset.train_targets, dataset.test_targets):
    assert np.ptp(np.bincount(labels, minlength=num_classes)) <= 1


@pytest.mark.parametrize('seed', range(3))
def test_equal_arguments_give_equal_data(seed: int):
  for first, second in zip(split_arrays(seed), split_arrays(seed), strict=True):
    np.testing.assert_array_equal(first, second)


def test_seeds_give_different_data():
  for first, second in zip(split_arrays(0), split_arrays(1), strict=True):
    assert not np.array_equal(first, second)


def test_order_is_random():
  labels = make_fake().train_targets
  assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.15


@pytest.mark.parametrize('seed', range(3))
def test_linear_model_separates_the_classes(seed: int):
  dataset = make_fake(seed=seed)

  def inputs(images: np.ndarray) -> np.ndarray:
    pixels = images.reshape(len(images), -1) / 255
    return np.hstack([pixels, np.ones((len(pixels), 1))])

  targets = np.eye(dataset.num_classes)[dataset.train_targets]
  weights = np.linalg.lstsq(inputs(dataset.train_inputs), targets)[0]
  predictions = (inputs(dataset.test_inputs) @ weights).argmax(axis=1)
  assert np.mean(predictions == dataset.test_targets) > 0.95


def test_generates_in_milliseconds():
  make_fake()
  start = time.perf_counter()
  make_fake()
  assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'num_train': 0}, 'num_train=0 is below 1'),
    ({'num_test': -1}, 'num_test=-1 is below 1'),
    ({'num_classes': 0}, 'num_classes=0 is below 1'),
    ({'image_shape': (8, 0, 1)}, 'image_shape entry=0 is below 1'),
  ],
)
def test_number_below_its_bound_raises(arguments: dict, message: str):
  with pytest.raises(ValueError, match=message):
    make_fake(**arguments)
