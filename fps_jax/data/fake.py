"""Tiny made-up images that a small model learns at once, for tests."""

import numpy as np

from fps_jax.data.dataset import Dataset


def make_fake(
  num_train: int = 512,
  num_test: int = 128,
  image_shape: tuple[int, int, int] = (8, 8, 1),
  num_classes: int = 10,
  seed: int = 0,
) -> Dataset:
  """Makes images that are each the mean of a class prototype and noise.

  Prototype and noise pixels are uniform on 0..255. With the default shape a
  linear model separates the classes; with very few pixels they overlap.

  >>> dataset = make_fake(num_train=20, num_test=10)
  >>> dataset.train_inputs.shape
  (20, 8, 8, 1)

  Args:
    num_train: number of train images, >= 1.
    num_test: number of test images, >= 1.
    image_shape: (height, width, channels), each >= 1.
    num_classes: number of classes, >= 1. Class sizes differ by at most 1 in
      each split.
    seed: of `np.random.default_rng`, >= 0; equal arguments give equal data.

  Returns:
    A data set named 'fake', in random order.

  Raises:
    ValueError: if a number is below its bound.
  """
  sizes = {
    'num_train': num_train,
    'num_test': num_test,
    'num_classes': num_classes,
    'smallest image_shape entry': min(image_shape),
  }
  for what, size in sizes.items():
    if size < 1:
      raise ValueError(f'{what}={size} is below 1: raise it')
  rng = np.random.default_rng(seed)
  prototypes = rng.integers(256, size=(num_classes, *image_shape))
  train_targets = _balanced_labels(num_train, num_classes, rng)
  test_targets = _balanced_labels(num_test, num_classes, rng)
  return Dataset(
    name='fake',
    train_inputs=_noisy(prototypes[train_targets], rng),
    train_targets=train_targets,
    test_inputs=_noisy(prototypes[test_targets], rng),
    test_targets=test_targets,
    num_classes=num_classes,
  )


def _balanced_labels(
  count: int, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns int32 [count] shuffled labels, class sizes within 1."""
  return rng.permutation(np.arange(count, dtype=np.int32) % num_classes)


def _noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns the mean of images in 0..255 and uniform noise, as uint8."""
  noise = rng.integers(256, size=images.shape)
  return ((images + noise) // 2).astype(np.uint8)
