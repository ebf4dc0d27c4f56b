"""Tests of `fps_jax.core.host_memory`: arrays that CPU devices share."""

import jax
import numpy as np
import pytest

from fps_jax.core.host_memory import aligned_empty, is_aligned

DTYPES = [np.uint8, np.bool_, np.float32, np.int64, '<u4']
SHAPES = [(), (1,), (3,), (5, 7), (2, 3, 4), (1000, 100)]
EMPTY_SHAPES = [(0,), (0, 3), (3, 0), (2, 0, 4)]

dtypes = pytest.mark.parametrize('dtype', DTYPES)


def is_shared(array: np.ndarray) -> bool:
  """Returns whether a device reads the array where it is."""
  return jax.device_put(array).unsafe_buffer_pointer() == array.ctypes.data


@dtypes
def test_array_begins_at_a_multiple_of_64_bytes(dtype):
  # All alive at once, so that no two begin at the same address.
  arrays = [aligned_empty(shape, dtype) for shape in SHAPES for _ in range(8)]
  assert [array.ctypes.data % 64 for array in arrays] == [0] * len(arrays)


@dtypes
@pytest.mark.parametrize('shape', SHAPES + EMPTY_SHAPES)
def test_array_has_the_shape_and_the_type(shape: tuple[int, ...], dtype):
  array = aligned_empty(shape, dtype)
  assert array.shape == shape
  assert array.dtype == np.dtype(dtype)
  assert array.flags.c_contiguous


@pytest.mark.parametrize('shape', SHAPES)
def test_array_keeps_what_is_written(shape: tuple[int, ...]):
  expected = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
  array, other = aligned_empty(shape, np.float32), aligned_empty(shape, 'f4')
  array[...] = expected
  other[...] = -1
  np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize('shape', SHAPES)
def test_cpu_device_shares_the_array(shape: tuple[int, ...]):
  array = aligned_empty(shape, np.float32)
  array[...] = 1
  assert is_shared(array)


def test_cpu_device_copies_an_array_that_begins_elsewhere():
  array = aligned_empty((17,), np.float32)[1:]
  array[...] = 1
  assert not is_shared(array)


def test_only_whole_arrays_at_a_boundary_are_aligned():
  array = aligned_empty((4, 64), np.uint8)
  assert is_aligned(array)
  assert is_aligned(array[1:])
  assert not is_aligned(array[:, 1:])
  assert not is_aligned(array.reshape(-1)[1:])
  assert not is_aligned(array.T)
