"""Rounding that keeps a norm: what noise is calibrated to.

P. Kairouz, Z. Liu and T. Steinke, The distributed discrete Gaussian mechanism
for federated learning with secure aggregation, ICML 2021, section 4: a vector
is clipped, divided by the step, and rounded at random to one of the two
integers next to each value, anew until its norm holds a bound that nearly all
roundings do. `levels` is the clip in steps.

Guarantee: what the bound is checked on are integers, and the check is exact.
Floating point may make a redraw likelier; it cannot weaken the bound.

Sums over a vector are integers, so that neither tiles nor chunks of clients
change a bit. They have 64 bits, in pairs of uint32: (high, low).
"""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array

# Beyond it float32 has too few bits for what is left to round.
MAX_LEVELS = 2**18
MAX_DIMENSION = 2**23
# So many fail with a probability below exp(-2)^64 < 2^-184.
MAX_ATTEMPTS = 64


def squared_norm_bound(levels: int, dimension: int) -> int:
  """Returns what the squared norm of a rounded vector is at most.

  That is floor(min((l + sqrt(d))^2, l^2 + d/4 + 2 l + sqrt(d))), the paper's
  bound for beta = exp(-2): a rounding is above the second one with a
  probability of at most beta, and never above the first. A larger beta would
  lower noise by next to nothing, as l is some hundreds, and make many
  roundings be drawn again.

  Args:
    levels: l, the clip in steps.
    dimension: d, how many values are rounded.

  Raises:
    ValueError: if an argument is out of range.
  """
  arrays.check_integer('levels', levels, 1, MAX_LEVELS)
  arrays.check_integer('dimension', dimension, 1, MAX_DIMENSION)
  always = levels**2 + dimension + math.isqrt(4 * levels**2 * dimension)
  # sqrt(2 log(1 / beta)) is 2.
  mostly = (
    levels**2 + 2 * levels + (dimension + math.isqrt(16 * dimension)) // 4
  )
  return min(always, mostly)


def squares_of_integers(integers_CxW: Array) -> Array:
  """Returns the sum of squares of each row, int32 [C, W] to uint32 [C, 2].

  Magnitudes are at most 2^18, and a row is of at most 2^23.
  """
  arrays.check('integers_CxW', integers_CxW, np.int32, ('C', 'W'))
  with jax.enable_x64(True):
    wide = integers_CxW.astype(jnp.int64)
    return _pair(jnp.sum(wide * wide, axis=1).astype(jnp.uint64))


def add_pairs(a: Array, b: Array) -> Array:
  """Returns sums of integers of 64 bits, uint32 [..., 2] each."""
  low = a[..., 1] + b[..., 1]
  carry = (low < a[..., 1]).astype(jnp.uint32)
  return jnp.stack([a[..., 0] + b[..., 0] + carry, low], axis=-1)


def is_within(squares_Cx2: Array, bound: int) -> Array:
  """Returns whether integers of 64 bits are at most a bound, bool [C]."""
  arrays.check('squares_Cx2', squares_Cx2, np.uint32, ('C', 2))
  arrays.check_integer('bound', bound, 0, 2**63)
  high, low = divmod(bound, 2**32)
  high_C, low_C = squares_Cx2[:, 0], squares_Cx2[:, 1]
  return (high_C < high) | ((high_C == high) & (low_C <= np.uint32(low)))


def least_multiple(
  fraction: fractions.Fraction, parts: int
) -> fractions.Fraction:
  """Returns the least multiple of 1 / parts that is at least a fraction."""
  arrays.check_integer('parts', parts, 1)
  return fractions.Fraction(math.ceil(fraction * parts), parts)


def _pair(total: Array) -> Array:
  """Returns uint64 [...] as uint32 [..., 2]."""
  return jnp.stack([total >> 32, total & 0xFFFFFFFF], axis=-1).astype(
    jnp.uint32
  )
