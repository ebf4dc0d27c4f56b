"""Winograd's minimal filtering: a convolution with fewer multiplications.

A 1-D correlation of r taps that gives m outputs from n = m + r - 1 inputs is

  y = A^T ((G g) * (B^T d)),

one multiplication per input instead of m * r in all: it evaluates two
polynomials at n points, one of them infinity, and multiplies values. Nested, it
serves images. Every step is a plain matrix product over whole tensors, so it
stays fast in loops and under `vmap` on a CPU; products of reduced precision,
which accelerators use for float32, would spoil it.

Reference: A. Lavin and S. Gray, Fast algorithms for convolutional neural
networks, CVPR 2016, sections 3 and 4.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import polynomial

from fps_jax.core.types import Array

# Outputs of a tile along each axis. Four halve and quarter the work of 3 and 5
# taps and more; with six, float32 loses digits.
TILE = 4
SIZES = (3, 5)

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


def convolve(x: Array, kernel: Array) -> Array:
  """Returns the convolution with 'SAME' padding and stride 1.

  Guarantee: values and gradients are those of `lax.conv`, up to rounding.

  Args:
    x: float32 [B, height, width, channels].
    kernel: float32 [r, r, channels, features], r in `SIZES`.

  Returns:
    float32 [B, height, width, features].

  Raises:
    ValueError: if the kernel has another size.
  """
  size, channels, features = kernel.shape[1:]
  if kernel.shape[0] != size or size not in SIZES:
    raise ValueError(
      f'a kernel of {kernel.shape[:2]} is not square with a side in {SIZES}'
    )
  output, filters, data = (jnp.asarray(t) for t in transforms(size))
  num_points, before = TILE + size - 1, size // 2
  batch, height, width, _ = x.shape
  rows, columns = -(-height // TILE), -(-width // TILE)
  # One block of TILE more than there are tiles: a tile reads into the next.
  after = ((rows + 1) * TILE - height, (columns + 1) * TILE - width)
  x = jnp.pad(
    x,
    (
      (0, 0),
      (before, after[0] - before),
      (before, after[1] - before),
      (0, 0),
    ),
  )
  # The kernel at every pair of points, column's first: [points^2, C, F].
  kernel = jnp.einsum('ai,bj,ijcf->bacf', filters, filters, kernel)
  kernel = kernel.reshape(num_points**2, channels, features)
  # The image likewise; transformed axes lead, so that all are plain products.
  x = data @ _tiles(x, 1, num_points).reshape(num_points, -1)
  x = x.reshape(num_points, batch, rows, (columns + 1) * TILE, channels)
  x = data @ _tiles(x, 3, num_points).reshape(num_points, -1)
  x = x.reshape(num_points**2, batch * rows * columns, channels)
  y = output @ (x @ kernel).reshape(num_points, -1)
  y = output @ y.reshape(TILE, num_points, -1)
  y = y.reshape(TILE, TILE, batch, rows, columns, features)
  y = y.transpose(2, 3, 1, 4, 0, 5)
  y = y.reshape(batch, rows * TILE, columns * TILE, features)
  return y[:, :height, :width]


def _tiles(x: Array, axis: int, length: int) -> Array:
  """Returns overlapping tiles of an axis, the position in a tile leading.

  The axis holds n + 1 blocks of TILE; tile i is block i and the beginning of
  the next one: [length, ..., n, ...].
  """
  shape = x.shape
  num_tiles = shape[axis] // TILE - 1
  x = x.reshape(*shape[:axis], num_tiles + 1, TILE, *shape[axis + 1 :])
  blocks = jax.lax.slice_in_dim(x, 0, num_tiles, axis=axis)
  following = jax.lax.slice_in_dim(x, 1, num_tiles + 1, axis=axis)
  following = jax.lax.slice_in_dim(following, 0, length - TILE, axis=axis + 1)
  tiles = jnp.concatenate([blocks, following], axis + 1)
  return jnp.moveaxis(tiles, axis + 1, 0)


@functools.cache
def transforms(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns A^T [m, n], G [n, r] and B^T [n, n] of F(m, r) as float32.

  Computed in float64, and rounded only at the end.

  Args:
    size: r, the taps of the filter.
  """
  points = np.array(_POINTS[: TILE + size - 2])
  others = [np.delete(points, i) for i in range(len(points))]
  # All that is exact in float64 but for Lagrange's quotients, which go with the
  # filter: it is transformed once. The last point is infinity.
  denominators = [
    np.prod(point - rest) for point, rest in zip(points, others, strict=True)
  ]
  output = np.vander(points, TILE, increasing=True)
  filters = np.vander(points, size, increasing=True)
  filters = filters / np.array(denominators)[:, None]
  data = [np.append(polynomial.polyfromroots(rest), 0.0) for rest in others]
  return (
    _round([*output, np.eye(TILE)[-1]]).T,
    _round([*filters, np.eye(size)[-1]]),
    _round([*data, polynomial.polyfromroots(points)]),
  )


def _round(rows: Sequence[np.ndarray]) -> np.ndarray:
  """Returns rows as a float32 matrix, without negative zeros."""
  return np.stack(rows).astype(np.float32) + np.float32(0)
