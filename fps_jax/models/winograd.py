"""Winograd's minimal filtering: a convolution with fewer multiplications.

A 1-D correlation of r taps that gives m outputs from n = m + r - 1 inputs is

  y = A^T ((G g) * (B^T d)),

one multiplication per input instead of m * r in all: it evaluates two
polynomials at n points, one of them infinity, and multiplies values. Nested, it
serves images. Channels are summed by plain matrix products, so it stays fast in
loops and under `vmap` on a CPU; products of reduced precision, which
accelerators use for float32, would spoil it.

A^T and B^T are applied to images as sums of slices, each one loop over memory:
no axes are exchanged, and the last one stays the channel, whose numbers lie
side by side. The gradient is written out because that of a slice is padding,
which is slow; so is the gradient's own. As for any function with a gradient of
its own, JAX has no forward mode (`jax.jvp`) for it.

Reference: A. Lavin and S. Gray, Fast algorithms for convolutional neural
networks, CVPR 2016, sections 3 and 4.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import polynomial

from fps_jax.core.types import Array
from fps_jax.models.separately import separately

# Outputs of a tile along each axis. Four halve and quarter the work of 3 and 5
# taps and more; with six, float32 loses digits.
TILE = 4
SIZES = (3, 5)

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


@jax.custom_vjp
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
  return _convolve(x, kernel)[0]


def _convolve(x: Array, kernel: Array) -> tuple[Array, Array]:
  """Returns the convolution, and the values of x at all points."""
  size = kernel.shape[1]
  if kernel.shape[0] != size or size not in SIZES:
    raise ValueError(
      f'a kernel of {kernel.shape[:2]} is not square with a side in {SIZES}'
    )
  output, _, data = map(jnp.asarray, transforms(size))
  height, width = x.shape[1:3]
  values = _evaluate(_pad(x, size // 2, size - 1), data)
  y = _multiply(values, _evaluate_kernel(kernel))
  y = _sum(y, output, axis=4)
  y = _sum(y, output, axis=2)
  y = _join(_join(y, 1), 2)
  return y[:, :height, :width], values


@jax.custom_vjp
def _pull_back(
  x: Array, kernel: Array, values: Array, gradient: Array
) -> tuple[Array, Array]:
  """Transposes the steps of `_convolve` from their end.

  Args:
    x: what was convolved; the gradients of these gradients need it.
    kernel: what it was convolved with.
    values: those of x, as `_convolve` returns them.
    gradient: that of the convolution.

  Returns:
    The gradients of x and of the kernel.
  """
  size, (height, width) = len(kernel), gradient.shape[1:3]
  output, filters, data = map(jnp.asarray, transforms(size))
  gradients = _evaluate(_pad(gradient, 0, 0), output.T)
  kernels = jnp.einsum('pnc,pnf->pcf', _by_point(values), _by_point(gradients))
  kernels = kernels.reshape(*values.shape[:2], *kernels.shape[1:])
  kernels = jnp.einsum('ai,bj,bacf->ijcf', filters, filters, kernels)
  x = _multiply(gradients, _evaluate_kernel(kernel).swapaxes(1, 2))
  x = _add_tiles(x, data.T, axis=3)
  x = _join(x, 3)[:, :, :, size // 2 : size // 2 + width]
  x = _add_tiles(x, data.T, axis=1)
  x = _join(x, 1)[:, size // 2 : size // 2 + height]
  return x, kernels


def _keep(x: Array, kernel: Array) -> tuple[Array, tuple[Array, ...]]:
  y, values = _convolve(x, kernel)
  return y, (x, kernel, values)


convolve.defvjp(_keep, lambda kept, gradient: _pull_back(*kept, gradient))


def _pull_back_twice(
  kept: tuple[Array, ...], gradients: tuple[Array, Array]
) -> tuple[Array, Array, None, Array]:
  """Returns the gradients of what `_pull_back` was given, by convolutions.

  A convolution is linear in x and in the kernel, so that its gradients are
  convolutions, and theirs, too.
  """
  x, kernel, gradient = kept
  of_x, of_kernel = jax.vjp(convolve, *gradients)[1](gradient)
  of_gradient = convolve(gradients[0], kernel) + convolve(x, gradients[1])
  # What values change is counted with x, of which they are computed.
  return of_x, of_kernel, None, of_gradient


_pull_back.defvjp(
  lambda x, kernel, values, gradient: (
    _pull_back(x, kernel, values, gradient),
    (x, kernel, gradient),
  ),
  _pull_back_twice,
)


def _pad(x: Array, before: int, excess: int) -> Array:
  """Pads height and width with zeros to a multiple of TILE and some more.

  Args:
    x: [B, height, width, C].
    before: how many of the zeros come first.
    excess: the length beyond a multiple of TILE.
  """
  pads = [(before, -length % TILE + excess - before) for length in x.shape[1:3]]
  return jnp.pad(x, ((0, 0), *pads, (0, 0)))


def _evaluate(x: Array, matrix: Array) -> Array:
  """Returns the values of all tiles at every pair of points.

  Args:
    x: [B, height, width, C], as `_pad` returns it.
    matrix: [points, length of a tile], B^T or A.

  Returns:
    [points, points, B, tiles of a column, tiles of a row, C], with the points
    of a row first.
  """
  return _sum_slices(_sum_slices(x, matrix, axis=1), matrix, axis=3)


def _evaluate_kernel(kernel: Array) -> Array:
  """Returns [r, r, C, F] at every pair of points: [points^2, C, F]."""
  filters = transforms(len(kernel))[1]
  kernel = jnp.einsum('ai,bj,ijcf->bacf', filters, filters, kernel)
  return kernel.reshape(-1, *kernel.shape[2:])


def _by_point(values: Array) -> Array:
  """Returns what `_evaluate` returns as [points^2, tiles, C]."""
  shape = values.shape
  return values.reshape(shape[0] ** 2, math.prod(shape[2:-1]), shape[-1])


def _multiply(values: Array, kernel: Array) -> Array:
  """Multiplies the channels of tiles by [points^2, C, F]."""
  y = _by_point(values) @ kernel
  return y.reshape(*values.shape[:-1], y.shape[-1])


@functools.partial(separately, static_argnames=('axis',))
def _sum_slices(x: Array, matrix: Array, axis: int) -> Array:
  """Evaluates tiles along one axis; points lead."""
  length = matrix.shape[1]
  end = x.shape[axis] - length + 1
  return _weigh(
    [jax.lax.slice_in_dim(x, i, end + i, TILE, axis) for i in range(length)],
    matrix,
    0,
  )


@functools.partial(separately, static_argnames=('axis',))
def _sum(parts: Array, matrix: Array, axis: int) -> Array:
  """Sums what leads, weighted by each row of a matrix, which becomes `axis`."""
  return _weigh(list(parts), matrix, axis)


@functools.partial(separately, static_argnames=('axis',))
def _add_tiles(parts: Array, matrix: Array, axis: int) -> Array:
  """Sums as `_sum` does, into tiles of which each reaches into the next block.

  Args:
    parts: [parts, ...].
    matrix: [length of a tile, parts].
    axis: that of tiles, without the one that leads.

  Returns:
    One block of TILE more than there are tiles, and what is in a block on an
    axis behind.
  """
  num_tiles = parts.shape[axis + 1]
  own = matrix[:TILE]
  following = jnp.pad(matrix[TILE:], ((0, 2 * TILE - len(matrix)), (0, 0)))

  def blocks(matrix: Array, start: int, end: int) -> Array:
    tiles = jax.lax.slice_in_dim(parts, start, end, axis=axis + 1)
    return _weigh(list(tiles), matrix, axis + 1)

  first, last = blocks(own, 0, 1), blocks(following, num_tiles - 1, num_tiles)
  between = blocks(own, 1, num_tiles) + blocks(following, 0, num_tiles - 1)
  return jnp.concatenate([first, between, last], axis)


def _weigh(parts: Sequence[Array], matrix: Array, axis: int) -> Array:
  """Returns sums of parts, weighted by each row of a matrix.

  Args:
    parts: arrays of one shape.
    matrix: [sums, parts].
    axis: where the result has its axis of sums.
  """
  shape = [1] * (parts[0].ndim + 1)
  shape[axis] = len(matrix)
  return sum(
    (
      weights.reshape(shape) * jnp.expand_dims(part, axis)
      for part, weights in zip(parts, matrix.T, strict=True)
    ),
    jnp.float32(0),
  )


def _join(blocks: Array, axis: int) -> Array:
  """Makes one axis of blocks and of what is in them, the axis behind."""
  shape = blocks.shape
  length = shape[axis] * shape[axis + 1]
  return blocks.reshape(*shape[:axis], length, *shape[axis + 2 :])


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
