"""Tests of `fps_jax.privacy.rotation`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from fps_jax.privacy import rotation

KEY = np.arange(8, dtype=np.uint32)
# Compiled for one shape.
SHAPE = (2, 2048)
ROTATE = jax.jit(rotation.rotate)


def some_values() -> np.ndarray:
  return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def test_rotation_is_the_hadamard_matrix_of_random_signs() -> None:
  values = some_values()
  ones = np.zeros(SHAPE, np.float32)
  signs = []
  for place in range(32):
    ones[:] = 0
    ones[:, [place, 1024 + place]] = 32.0
    signs.append(np.asarray(ROTATE(ones, KEY, 2048))[0, [0, 1024]])
  signs_32x2 = np.array(signs)
  assert set(signs_32x2.ravel().tolist()) == {-1, 1}
  assert np.any(signs_32x2[:, 0] != signs_32x2[:, 1])
  values[:, 32:1024] = values[:, 1056:] = 0
  blocks = values.reshape(2, 2, 1024).copy()
  blocks[:, :, :32] *= signs_32x2.T
  expected = blocks @ (linalg.hadamard(1024) / 32)
  rotated = ROTATE(values, KEY, 2048)
  np.testing.assert_allclose(rotated, expected.reshape(SHAPE), atol=1e-5)


def test_rotating_back_undoes_it_and_norms_stay() -> None:
  values = some_values()
  rotated = np.asarray(ROTATE(values, KEY, 1024))
  for before, after in zip(values, rotated, strict=True):
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before))
  back = jax.jit(rotation.rotate_back)(rotated, KEY, 1024)
  np.testing.assert_allclose(back, values, atol=1e-5)


def test_part_of_a_vector_is_rotated_as_within_it() -> None:
  values = some_values()
  whole = ROTATE(values, KEY, 0)
  shifted = np.roll(values, -1024, axis=1)
  part = ROTATE(shifted, KEY, 1024)
  np.testing.assert_array_equal(part[:, :1024], whole[:, 1024:])


def test_parts_of_blocks_are_refused() -> None:
  with pytest.raises(ValueError, match='must be a multiple of 1024'):
    rotation.rotate(jnp.zeros(1000), KEY, 0)
