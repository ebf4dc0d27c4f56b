"""How like an original a reconstruction is, and which one it belongs to."""

from typing import NamedTuple

import numpy as np

# Along one axis: Gaussian with standard deviation 1.5, sum 1.
_WINDOW = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_C1, _C2 = 0.01**2, 0.03**2


class Match(NamedTuple):
  """The reconstructions that are scored, one an original.

  Attributes:
    rows: int [n], which reconstruction is nearest to each original.
    psnr: float [n], its PSNR in dB.
    ssim: float [n], its SSIM.
  """

  rows: np.ndarray
  psnr: np.ndarray
  ssim: np.ndarray


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the peak signal-to-noise ratio in dB: -10 log10 of the mean square.

  Args:
    a: [..., height, width] in [0, 1].
    b: of a shape that broadcasts against it.

  Returns:
    float64 [...]; infinite for equal images.
  """
  error = np.mean((a.astype(float) - b) ** 2, axis=(-2, -1))
  with np.errstate(divide='ignore'):
    return -10 * np.log10(error)


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the mean structural similarity.

  Over the windows of 11 x 11 pixels, Gaussian with standard deviation 1.5, that
  lie inside the image.

  Reference: Z. Wang et al., Image quality assessment: from error visibility to
  structural similarity, IEEE Transactions on Image Processing 13(4), 2004.

  Args:
    a: [..., height, width] in [0, 1], both sides at least 11.
    b: of the same shape.

  Returns:
    float64 [...] in [-1, 1]; 1 for equal images.

  Raises:
    ValueError: if a side is below 11.
  """
  size = len(_WINDOW)
  if min(a.shape[-2:]) < size:
    raise ValueError(
      f'images of {a.shape[-2:]} pixels hold no window of {size} x {size}: '
      'give larger ones'
    )
  a, b = a.astype(float), b.astype(float)
  mean_a, mean_b, square_a, square_b, product = map(
    _blur, (a, b, a * a, b * b, a * b)
  )
  luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
  variances = square_a - mean_a**2 + (square_b - mean_b**2)
  covariance = product - mean_a * mean_b
  structure = (2 * covariance + _C2) / (variances + _C2)
  return np.mean(luminance * structure, axis=(-2, -1))


def match(originals: np.ndarray, found: np.ndarray) -> Match:
  """Scores for each original the reconstruction that is nearest to it.

  One may be nearest to several, so the more there are, the better even chance
  does: compare with as many unrelated images.

  Args:
    originals: [n, height, width] in [0, 1].
    found: [m, height, width] in [0, 1], in any order.
  """
  psnr_of_pairs = psnr(originals[:, None], found[None])
  rows = psnr_of_pairs.argmax(axis=1)
  return Match(rows, psnr_of_pairs.max(axis=1), ssim(originals, found[rows]))


def _blur(images: np.ndarray) -> np.ndarray:
  """Returns the weighted mean of every window inside an image."""
  for axis in (-2, -1):
    images = (
      np.lib.stride_tricks.sliding_window_view(images, len(_WINDOW), axis)
      @ _WINDOW
    )
  return images
