"""The bound on contributions holds exactly, in rational arithmetic."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.privacy import clipping


def exact_squared_norm(row):
  return sum((Fraction(float(value)) ** 2 for value in row), Fraction(0))


def make_rows(num_values=1300):
  """Returns rows whose lengths lie around 1, and some far from it."""
  generator = np.random.default_rng(0)
  rows = generator.normal(size=(20, num_values)).astype(np.float32)
  rows /= np.linalg.norm(rows, axis=1, keepdims=True)
  rows[:8] *= (
    np.float32(1) + np.arange(-4, 4)[:, None].astype(np.float32) * 2e-7
  )
  rows[8] *= 1e18
  rows[9] *= 1e-30
  rows[10, 1:] = 0
  rows[11] = 0
  rows[12] = 3e38
  rows[13:16] *= 0.9
  return rows


@jax.jit
def clip_rows(rows, clip):
  scales_C, is_within_C = clipping.scales(rows, clip)
  return scales_C, is_within_C, rows * scales_C[:, None]


def test_no_clipped_row_is_longer_than_the_bound_by_exact_arithmetic():
  rows = make_rows()
  for clip in (1.0, 0.1, 1e-6, 3.0):
    scales, _, clipped = map(np.asarray, clip_rows(rows, np.float32(clip)))
    assert np.all((scales >= 0) & (scales <= 1))
    bound = Fraction(float(np.float32(clip))) ** 2
    for row in clipped:
      assert exact_squared_norm(row) <= bound


def test_clipping_gives_up_little_and_leaves_short_rows_alone():
  rows = make_rows()
  scales, is_within, _ = map(np.asarray, clip_rows(rows, np.float32(1)))
  norms = np.linalg.norm(rows.astype(np.float64), axis=1)
  shorter = norms < 1 - 2**-10
  np.testing.assert_array_equal(scales[shorter], 1)
  assert shorter.sum() > 3 and is_within[shorter].all()
  assert not is_within[norms > 1 + 2**-10].any()
  longer = (norms > 1) & (norms < 1e19)
  assert longer.sum() > 3
  assert np.all(scales[longer] * norms[longer] > 1 - 2**-10)


def test_row_that_is_not_finite_has_a_scale_of_zero():
  rows = np.zeros((5, 600), np.float32)
  rows[0, 3], rows[1, 599], rows[2, 0] = np.nan, np.inf, -np.inf
  rows[3, 5] = np.uint32(0x7FFFFFFF).view(np.float32)
  scales, is_within = clipping.scales(jnp.asarray(rows), 1.0)
  np.testing.assert_array_equal(scales, [0, 0, 0, 0, 1])
  np.testing.assert_array_equal(is_within, [False] * 4 + [True])
