"""A balanced part of MNIST that ships with the package, for runs offline.

10,000 train images (1,000 of each digit) and 2,000 test images (200 of each
digit), uint8 [n, 28, 28, 1], in an order that is random with respect to the
digit. The train images are drawn from MNIST's train split and the test images
from its test split: in each split and for each digit, the sample holds the
images with the smallest SHA-256 of (`SEED`, pixels), in the order of these
hashes. The draw thus depends neither on the order in which MNIST is stored
nor on a random generator's version. `ARRAY_SHA256` pins the result.

Source: the MNIST database of handwritten digits by Yann LeCun, Corinna Cortes
and Christopher J. C. Burges, as version 3.0.1 of 'mnist' in TensorFlow
Datasets. Licence: Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA 3.0).
`make_mnist_sample.py` makes the file again from MNIST.

Accuracies on this sample are not MNIST accuracies: quote them as
'mnist_sample'.
"""

import hashlib
import importlib.resources

import numpy as np

from fps_jax.data.dataset import Dataset
from fps_jax.data.npz_file import read_npz

FILE_NAME = 'mnist_sample.npz'
SEED = 0
TRAIN_PER_CLASS = 1000
TEST_PER_CLASS = 200

# SHA-256 of the bytes of each array in C order, labels as little-endian int32.
ARRAY_SHA256 = {
  'train_inputs': (
    '136934344820b2489a4e633bab638394b93b5d37c8a3462676fe433b287dc2da'
  ),
  'train_targets': (
    '63dc2d1dac11ee045a4c210beb7002289d4266061b3f859731791ae24d98023c'
  ),
  'test_inputs': (
    '9df822453bfa3d1e38abe60a29143ad1154f6f5d21d0c4553d75c063174fd8e0'
  ),
  'test_targets': (
    '9e936c00e14be16a3aeea73f0d540094e0a594c9350a305d6a2e90f1f98435d2'
  ),
}


def load_mnist_sample() -> Dataset:
  """Loads the bundled sample; needs neither network nor TFDS.

  >>> dataset = load_mnist_sample()
  >>> dataset.train_inputs.shape, dataset.test_inputs.shape
  ((10000, 28, 28, 1), (2000, 28, 28, 1))

  Returns:
    A data set named 'mnist_sample' of 10 classes.

  Raises:
    FileNotFoundError: if the package was installed without its .npz file.
    ValueError: if the file is damaged.
  """
  resource = importlib.resources.files('fps_jax.data').joinpath(FILE_NAME)
  with importlib.resources.as_file(resource) as path:
    return read_npz(path, 'mnist_sample', cure='install fps_jax again')


def draw_mnist_sample(mnist: Dataset) -> Dataset:
  """Draws the sample from the whole of MNIST, as the module docstring says.

  Args:
    mnist: MNIST, in any order.

  Returns:
    The data set 'mnist_sample'.

  Raises:
    ValueError: if a class has too few images.
  """
  return Dataset(
    'mnist_sample',
    *_draw(mnist.train_inputs, mnist.train_targets, TRAIN_PER_CLASS),
    *_draw(mnist.test_inputs, mnist.test_targets, TEST_PER_CLASS),
    num_classes=mnist.num_classes,
  )


def array_sha256(array: np.ndarray) -> str:
  """Returns the SHA-256 of an array's bytes in C order, in hexadecimal."""
  little_endian = array.astype(array.dtype.newbyteorder('<'))
  return hashlib.sha256(little_endian.tobytes()).hexdigest()


def _draw(
  images: np.ndarray, labels: np.ndarray, per_class: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns those with the per_class smallest hashes of each class."""
  salt = str(SEED).encode()
  hashes = [hashlib.sha256(salt + image.tobytes()).digest() for image in images]
  order = np.array(sorted(range(len(images)), key=hashes.__getitem__))
  ordered_labels = labels[order]
  keep = np.zeros(len(order), bool)
  for label in np.unique(labels):
    ranks = np.flatnonzero(ordered_labels == label)
    if len(ranks) < per_class:
      raise ValueError(
        f'class {label} has {len(ranks)} images, below the {per_class} of '
        'the sample: give the whole of MNIST'
      )
    keep[ranks[:per_class]] = True
  return images[order[keep]], labels[order[keep]]
