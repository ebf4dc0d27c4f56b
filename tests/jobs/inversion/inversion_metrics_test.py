"""Tests of `fps_jax.jobs.inversion.metrics`."""

import numpy as np
import pytest

from fps_jax.jobs.inversion import metrics
from tests.helpers.references import inversion as reference


def test_psnr_of_a_constant_error():
  a = np.full((2, 3, 4), 0.25)
  assert metrics.psnr(a, a + 0.1) == pytest.approx([20.0, 20.0])
  assert metrics.psnr(a, a).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize('shape', [(11, 11), (13, 17)])
def test_ssim_is_that_of_the_reference(shape):
  rng = np.random.default_rng(0)
  a, b = rng.random((2, 3, *shape))
  b[1] = a[1] + 0.05 * b[1]
  expected = [reference.ssim(x, y) for x, y in zip(a, b, strict=True)]
  assert metrics.ssim(a, b) == pytest.approx(expected)


def test_ssim_is_1_for_equal_images_alone():
  image = np.random.default_rng(0).random((12, 12))
  assert metrics.ssim(image, image) == pytest.approx(1.0)
  assert metrics.ssim(image, 1 - image) < 0


def test_ssim_of_images_below_a_window_is_refused():
  with pytest.raises(ValueError, match=r'hold no window of 11 x 11'):
    metrics.ssim(np.zeros((10, 28)), np.zeros((10, 28)))


def test_match_finds_the_nearest_reconstruction_of_each():
  originals = np.random.default_rng(0).random((3, 12, 12))
  found = np.stack([0.9 * originals[2], 0.8 * originals[1]])
  match = metrics.match(originals, found)
  assert match.rows[1:].tolist() == [1, 0]
  for original, row, psnr, ssim in zip(originals, *match, strict=True):
    each = [metrics.psnr(original, image) for image in found]
    assert psnr == max(each) == each[row]
    assert ssim == pytest.approx(reference.ssim(original, found[row]))
