"""Layers that stay fast when every client has weights of its own.

`lax.conv` under `vmap` over kernels becomes a grouped convolution, which is
slow everywhere, and inside a loop on a CPU it takes a path that is an order of
magnitude slower than outside. A convolution written as patches times a matrix
becomes a batched matrix product instead; on a CPU Winograd's algorithm takes a
quarter to two thirds of its time. Where there are few channels, patches would
be moved number by number; whole images are shifted instead, one for each place
in a patch. The gradient of `reduce_window` max-pooling scatters; that of a
reshape and a maximum compares. Sums over the axes between the first and the
last are fast on a CPU, those of a part of the last one slow.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from fps_jax.core.types import Array
from fps_jax.models import winograd

he_normal = nn.initializers.he_normal()
# Fewer input channels make inner loops too short, and transforms too dear.
_MIN_CHANNELS = 8
# That of Flax.
_EPSILON = 1e-6


def check_groups(num_groups: int, channels: Sequence[int]) -> None:
  """Checks that every number of channels makes whole groups.

  Raises:
    ValueError: if one does not.
  """
  for features in channels:
    if features % num_groups:
      raise ValueError(
        f'{features} channels (or width) must be a multiple of num_groups='
        f'{num_groups}, which are normalised together: change one of them'
      )


class Conv(nn.Module):
  """A convolution with 'SAME' padding, as matrix products.

  Attributes:
    features: output channels.
    kernel_size: side of the square kernel, in pixels.
    stride: pixels between output positions.
    use_bias: whether to add a bias.
  """

  features: int
  kernel_size: int
  stride: int = 1
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [B, height, width, c] to [B, ceil(h / s), ceil(w / s), features]."""
    size, channels = self.kernel_size, x.shape[-1]
    kernel = self.param(
      'kernel', he_normal, (size, size, channels, self.features)
    )
    y = convolve(x, kernel, self.stride)
    if self.use_bias:
      y = y + self.param('bias', nn.initializers.zeros, (self.features,))
    return y


class GroupNorm(nn.Module):
  """Normalises groups of channels of one example, then scales and shifts them.

  Guarantee: values and gradients are those of `flax.linen.GroupNorm`, up to
  rounding.

  Reference: Y. Wu and K. He, Group normalization, ECCV 2018.

  Attributes:
    num_groups: divides the channels.
  """

  num_groups: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [B, height, width, c] to as much."""
    channels = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean_BxC = self._mean(x)
    variance_BxC = jnp.maximum(self._mean(x * x) - mean_BxC**2, 0)
    factor_BxC = scale * jax.lax.rsqrt(variance_BxC + _EPSILON)
    return (x - mean_BxC[:, None, None]) * factor_BxC[:, None, None] + bias

  def _mean(self, x: Array) -> Array:
    """Returns the mean of every channel's group, [B, c]."""
    batch, _, _, channels = x.shape
    mean_BxC = x.mean((1, 2))
    groups = mean_BxC.reshape(batch, self.num_groups, -1).mean(-1)
    return jnp.repeat(groups, channels // self.num_groups, axis=1)


def convolve(x: Array, kernel: Array, stride: int) -> Array:
  """Returns a convolution with 'SAME' padding, the fastest way there is.

  Args:
    x: float32 [B, height, width, c].
    kernel: float32 [size, size, c, features].
    stride: pixels between output positions.

  Returns:
    float32 [B, ceil(height / stride), ceil(width / stride), features].
  """
  size, channels = kernel.shape[1:3]

  def with_patches(x: Array, kernel: Array) -> Array:
    kernel = kernel.reshape(size**2 * channels, kernel.shape[-1])
    if channels < _MIN_CHANNELS:
      return _convolve_images(x, kernel, size, stride)
    return extract_patches(x, size, stride) @ kernel

  # The platform is known only where the program is compiled.
  if stride == 1 and size in winograd.SIZES and channels >= _MIN_CHANNELS:
    return jax.lax.platform_dependent(
      x, kernel, cpu=winograd.convolve, default=with_patches
    )
  return with_patches(x, kernel)


def extract_patches(x: Array, size: int, stride: int) -> Array:
  """Returns the square patch around each output position, 'SAME' padding.

  Args:
    x: [B, height, width, channels].
    size: side of a patch, in pixels.
    stride: pixels between output positions.

  Returns:
    [B, ceil(height / stride), ceil(width / stride), size * size * channels],
    with the row within the patch slowest and the channel fastest.
  """
  return jnp.concatenate(_shift(x, size, stride), axis=-1)


def _convolve_images(x: Array, kernel: Array, size: int, stride: int) -> Array:
  """Convolves with patches whose entries are whole images of one channel.

  Args:
    x: [B, height, width, channels].
    kernel: [size * size * channels, features].
    size: side of a patch, in pixels.
    stride: pixels between output positions.
  """
  batch, height, width, channels = x.shape
  images = jnp.moveaxis(x, 3, 0).reshape(channels * batch, height, width, 1)
  patches = jnp.stack(_shift(images, size, stride))
  rows, columns = patches.shape[2:4]
  patches = patches.reshape(len(kernel), batch * rows * columns)
  y = _multiply_transposed(patches, kernel)
  return y.reshape(batch, rows, columns, kernel.shape[1])


@jax.custom_vjp
def _multiply_transposed(x: Array, y: Array) -> Array:
  """Returns x^T @ y.

  JAX would compute the gradient of y as the transpose of a product, for which
  XLA turns round what is large, number by number.
  """
  return x.T @ y


_multiply_transposed.defvjp(
  lambda x, y: (_multiply_transposed(x, y), (x, y)),
  lambda xy, gradient: (xy[1] @ gradient.T, xy[0] @ gradient),
)


def _shift(x: Array, size: int, stride: int) -> list[Array]:
  """Returns every entry of the patches around output positions.

  Returns:
    size * size arrays [B, ceil(height / stride), ceil(width / stride),
    channels], the row within a patch slowest.
  """
  height, width = x.shape[1:3]
  rows, columns = -(-height // stride), -(-width // stride)
  padding = jax.lax.padtype_to_pads(
    (height, width), (size, size), (stride, stride), 'SAME'
  )
  padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  return [
    padded[
      :,
      i : i + (rows - 1) * stride + 1 : stride,
      j : j + (columns - 1) * stride + 1 : stride,
    ]
    for i in range(size)
    for j in range(size)
  ]


@jax.custom_vjp
def max_pool(x: Array) -> Array:
  """Returns the maximum of each 2 x 2 window; an odd last row is dropped.

  Every entry that attains the maximum of its window gets the whole gradient.

  Args:
    x: [B, height, width, channels].

  Returns:
    [B, height // 2, width // 2, channels].
  """
  return _windows(x).max(axis=(2, 4))


def _windows(x: Array) -> Array:
  """Returns [B, height // 2, 2, width // 2, 2, channels]."""
  batch, height, width, channels = x.shape
  x = x[:, : height // 2 * 2, : width // 2 * 2]
  return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def _max_pool_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
  y = max_pool(x)
  return y, (x, y)


def _max_pool_backward(
  residuals: tuple[Array, Array], gradient: Array
) -> tuple[Array]:
  x, y = residuals
  batch, height, width, channels = x.shape

  def spread(array: Array) -> Array:
    return array[:, :, None, :, None]

  is_largest = _windows(x) == spread(y)
  gradients = jnp.where(is_largest, spread(gradient), 0.0)
  gradients = gradients.reshape(
    batch, height // 2 * 2, width // 2 * 2, channels
  )
  odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
  return (jnp.pad(gradients, odd),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
