"""A dense layer whose weights a processor updates in one pass over memory.

The gradient of the weights is a sum of one outer product an example. As a
matrix product it is written to memory, and read again for the update. As a sum
of a few arrays XLA computes it where it is used, in the loop that updates the
weights. This is for clients in sequence on a CPU: under `vmap`, on other
devices and in larger batches it is a matrix product. As for any function with a
gradient of its own, JAX has no forward mode (`jax.jvp`) for it.
"""

from typing import Any

import jax
from flax import linen as nn
from flax.typing import Initializer

from fps_jax.core.types import Array
from fps_jax.models.layers import he_normal
from fps_jax.models.separately import separately

# With more examples the product is faster, as it keeps more in registers.
MAX_EXAMPLES = 16
# Every row of weights needs the gradients of all outputs: a level-1 cache of
# 32 KiB has room for so many.
MAX_GRADIENTS = 8192
# Of fewer outputs there is little to update. Those beyond whole vectors would
# be rounded otherwise where a mask is between gradient and update.
MIN_OUTPUTS, VECTOR = 32, 8


@jax.custom_vjp
def multiply(x: Array, kernel: Array) -> Array:
  """Returns x @ kernel.

  Guarantee: values and gradients are those of the matrix product, bit for bit
  on a CPU that has a fused multiply-add.

  Args:
    x: float32 [B, inputs].
    kernel: float32 [inputs, outputs].
  """
  return _contract(x, kernel, 1, 0)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
  return multiply(x, kernel), (x, kernel)


def _backward(
  residuals: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
  x, kernel = residuals
  return _contract(gradient, kernel, 1, 1), sum_outer_products(x, gradient)


multiply.defvjp(_forward, _backward)


@jax.custom_vjp
def sum_outer_products(x: Array, y: Array) -> Array:
  """Returns x^T @ y, which on a CPU is fused into what it is used for.

  Args:
    x: float32 [B, rows].
    y: float32 [B, columns].

  Returns:
    float32 [rows, columns].
  """
  return _sum_unless_batched(x, y)


# A rule of `vmap` has no gradient: it is within a function that has its own.
sum_outer_products.defvjp(
  lambda x, y: (sum_outer_products(x, y), (x, y)),
  lambda xy, g: (_contract(xy[1], g, 1, 1), _contract(xy[0], g, 1, 0)),
)


@jax.custom_batching.custom_vmap
def _sum_unless_batched(x: Array, y: Array) -> Array:
  if not is_fused(*y.shape):
    return _product(x, y)
  return jax.lax.platform_dependent(x, y, cpu=_sum, default=_product)


@_sum_unless_batched.def_vmap
def _product_of_batch(
  axis_size: int, is_batched: tuple[bool, bool], x: Array, y: Array
) -> tuple[Array, bool]:
  axes = tuple(0 if has_axis else None for has_axis in is_batched)
  return jax.vmap(_product, axes, axis_size=axis_size)(x, y), True


def is_fused(num_examples: int, num_outputs: int) -> bool:
  """Returns whether a sum of outer products is the faster way, on a CPU."""
  return (
    1 < num_examples <= MAX_EXAMPLES
    and num_examples * num_outputs <= MAX_GRADIENTS
    and num_outputs >= MIN_OUTPUTS
    and num_outputs % VECTOR == 0
  )


def _dot_general(
  x: Array, kernel: Array, dimensions: Any, precision: Any = None
) -> Array:
  if x.ndim == 2 and precision is None:
    return multiply(x, kernel)
  return jax.lax.dot_general(x, kernel, dimensions, precision=precision)


class Dense(nn.Dense):
  """A dense layer for small batches, He-normal by default."""

  kernel_init: Initializer = he_normal
  dot_general: Any = _dot_general


def _sum(x: Array, y: Array) -> Array:
  x, y = _materialised(x, y)
  # A product is added to what was summed before, and rounded with it: in the
  # order of a matrix product, the second one to the first.
  total = _outer(x[1], y[1]) + _outer(x[0], y[0])
  for i in range(2, len(x)):
    total = total + _outer(x[i], y[i])
  return total


@separately
def _materialised(x: Array, y: Array) -> tuple[Array, Array]:
  """Returns the same arrays, in memory, and not fused into every weight."""
  return x, y


def _outer(x: Array, y: Array) -> Array:
  return x[:, None] * y[None, :]


def _product(x: Array, y: Array) -> Array:
  return _contract(x, y, 0, 0)


def _contract(x: Array, y: Array, axis: int, axis_of_y: int) -> Array:
  return jax.lax.dot_general(x, y, (((axis,), (axis_of_y,)), ((), ())))
