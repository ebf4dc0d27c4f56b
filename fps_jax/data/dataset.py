"""The one in-memory form of an image classification data set.

Every source (`mnist_sample`, `tfds_source`, `fake`) returns a `Dataset` and
everything downstream reads one, so that only this file says what valid data
is.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """Images and labels of a train and a test split, checked when built.

  >>> dataset = Dataset(
  ...     name='two_pixels',
  ...     train_images=np.zeros((3, 1, 2, 1), np.uint8),
  ...     train_labels=np.array([0, 1, 0], np.int32),
  ...     test_images=np.zeros((1, 1, 2, 1), np.uint8),
  ...     test_labels=np.array([1], np.int32),
  ...     num_classes=2,
  ... )
  >>> dataset.image_shape
  (1, 2, 1)

  Attributes:
    name: what the data is called in logs and errors.
    train_images: uint8 [num_train, height, width, channels], num_train >= 1.
    train_labels: int32 [num_train], each in [0, num_classes).
    test_images: uint8 [num_test, height, width, channels], num_test >= 1.
    test_labels: int32 [num_test], each in [0, num_classes).
    num_classes: number of classes, >= 1; a class may have no example.

  Raises:
    ValueError: if a field breaks one of the rules above, or if train and test
      images differ in shape.
  """

  name: str
  train_images: np.ndarray
  train_labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  num_classes: int

  def __post_init__(self) -> None:
    """Checks every field; see the class docstring."""
    if self.num_classes < 1:
      raise ValueError(
        f'{self.name}: num_classes={self.num_classes} is below 1: count the '
        'classes of the labels'
      )
    splits = {
      'train': (self.train_images, self.train_labels),
      'test': (self.test_images, self.test_labels),
    }
    for split, (images, labels) in splits.items():
      _check_images(f'{self.name}: {split}_images', images)
      _check_labels(
        f'{self.name}: {split}_labels', labels, len(images), self.num_classes
      )
    if self.train_images.shape[1:] != self.test_images.shape[1:]:
      raise ValueError(
        f'{self.name}: train images have shape {self.train_images.shape[1:]} '
        f'and test images {self.test_images.shape[1:]}: resize one to match'
      )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Shape of one image: (height, width, channels)."""
    height, width, channels = self.train_images.shape[1:]
    return height, width, channels


def _check_images(what: str, images: np.ndarray) -> None:
  """Raises ValueError unless images are non-empty uint8 [n, h, w, c]."""
  if images.dtype != np.uint8:
    raise ValueError(
      f'{what} have dtype {images.dtype}, not uint8: scale pixels to '
      '0..255 and cast them'
    )
  if images.ndim != 4:
    raise ValueError(
      f'{what} have shape {images.shape}, not [n, height, width, channels]: '
      'reshape them, with channels=1 for grey images'
    )
  if images.size == 0:
    raise ValueError(
      f'{what} have shape {images.shape}, which holds no pixel: give at '
      'least one image of at least one pixel'
    )


def _check_labels(
  what: str, labels: np.ndarray, num_images: int, num_classes: int
) -> None:
  """Raises ValueError unless labels are int32 [num_images] in range."""
  if labels.dtype != np.int32:
    raise ValueError(f'{what} have dtype {labels.dtype}, not int32: cast them')
  if labels.shape != (num_images,):
    raise ValueError(
      f'{what} have shape {labels.shape}, not ({num_images},): give one '
      'label per image'
    )
  if labels.min() < 0 or labels.max() >= num_classes:
    raise ValueError(
      f'{what} span [{labels.min()}, {labels.max()}], outside '
      f'[0, {num_classes}): correct the labels or num_classes'
    )
