"""NumPy arrays that JAX's CPU devices take over as they are."""

import math

import numpy as np
from numpy.typing import DTypeLike

# Bytes. An array that begins elsewhere is copied, once for every device.
_ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
  """Returns an array that all CPU devices can share, not initialised."""
  dtype = np.dtype(dtype)
  size = math.prod(shape) * dtype.itemsize
  buffer = np.empty(size + _ALIGNMENT, np.uint8)
  start = -buffer.ctypes.data % _ALIGNMENT
  return buffer[start : start + size].view(dtype).reshape(shape)


def is_aligned(array: np.ndarray) -> bool:
  """Returns whether CPU devices can share an array as it is."""
  return array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0
