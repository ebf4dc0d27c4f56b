"""Likeness of images, a window and a pixel at a time."""

import math

import numpy as np


def ssim(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the SSIM of two images [height, width], a window at a time."""
  size, height, width = 11, *a.shape
  weights = np.array(
    [
      [math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(size)]
      for i in range(size)
    ]
  )
  weights /= weights.sum()
  values = []
  for top in range(height - size + 1):
    for left in range(width - size + 1):
      x = a[top : top + size, left : left + size]
      y = b[top : top + size, left : left + size]
      mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
      variance_x = (weights * (x - mean_x) ** 2).sum()
      variance_y = (weights * (y - mean_y) ** 2).sum()
      covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
      values.append(
        (2 * mean_x * mean_y + 1e-4)
        * (2 * covariance + 9e-4)
        / (mean_x**2 + mean_y**2 + 1e-4)
        / (variance_x + variance_y + 9e-4)
      )
  return float(np.mean(values))


def total_variation(images: np.ndarray) -> float:
  """Returns the mean absolute difference of neighbours, rows plus columns.

  Args:
    images: [n, height, width].
  """
  _, height, width = images.shape
  down = [
    abs(image[y + 1, x] - image[y, x])
    for image in images
    for y in range(height - 1)
    for x in range(width)
  ]
  right = [
    abs(image[y, x + 1] - image[y, x])
    for image in images
    for y in range(height)
    for x in range(width - 1)
  ]
  return float(np.mean(down) + np.mean(right))
