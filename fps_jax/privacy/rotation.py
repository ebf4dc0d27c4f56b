"""A random rotation of blocks of values, which spreads what is large.

Each block of 1,024 values is multiplied by random signs, and by the Hadamard
matrix divided by 32, which is orthogonal: no norm changes, and no value of a
vector is far above what a random one of its norm would have (P. Kairouz, Z. Liu
and T. Steinke, The distributed discrete Gaussian mechanism for federated
learning with secure aggregation, ICML 2021, section 4). So sums need fewer
bits. The signs are public, the same for all clients, and drawn for each round:
what is rotated may not depend on them.

Values are only added and subtracted, pair by pair, so that no other value of
the array and no size of it changes a bit.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import chacha

BLOCK = 1024
# The square root of a block, a power of 2: dividing by it is exact.
_ROOT = 32


def rotate(
  values: Array, key_8: Array | np.ndarray, first: Array | int
) -> Array:
  """Returns values, rotated.

  Args:
    values: float32 [..., W], whole blocks of a vector.
    key_8: uint32 [8], public, of the round.
    first: place of the first value in that vector, a multiple of 1,024; may be
      traced.

  Raises:
    ValueError: if arguments do not fit.
  """
  _check(values)
  return _transform(values * _signs(key_8, first, values.shape[-1]))


def rotate_back(
  values: Array, key_8: Array | np.ndarray, first: Array | int
) -> Array:
  """Returns what `rotate` was given, up to rounding; the same arguments."""
  _check(values)
  return _transform(values) * _signs(key_8, first, values.shape[-1])


def _check(values: Array) -> None:
  arrays.check('values', values, np.float32)
  if values.ndim < 1 or values.shape[-1] % BLOCK:
    raise ValueError(
      f'values is of shape {list(values.shape)}, whose last axis must be a '
      f'multiple of {BLOCK}: fill the last block with zeros'
    )


def _signs(key_8: Array | np.ndarray, first: Array | int, size: int) -> Array:
  """Returns 1 or -1, float32 [size], by words of ChaCha20's keystream."""
  arrays.check('key_8', key_8, np.uint32, (chacha.KEY_WORDS,))
  arrays.check_integer('first', first, 0)
  words = chacha.keystream(
    jnp.asarray(key_8),
    jnp.zeros(chacha.NONCE_WORDS, jnp.uint32),
    first // chacha.BLOCK_WORDS,
    size // chacha.BLOCK_WORDS,
  )
  return jnp.where(words >> 31, jnp.float32(-1), jnp.float32(1))


def _transform(values: Array) -> Array:
  """Returns each block times the Hadamard matrix / 32: its own inverse."""
  shape, half = values.shape, 1
  while half < BLOCK:
    pairs = values.reshape(-1, 2, half)
    sums = pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]
    # A step at a time: fused, each value would be computed from all others.
    values = jax.lax.optimization_barrier(jnp.stack(sums, axis=1))
    half *= 2
  return values.reshape(shape) / _ROOT
