"""The bound on what one client adds to a sum: its L2 norm."""

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array

# Columns that are added up one after another.
_WIDTH = 512
# Of float32: an operation is off by at most half of it, as a fraction.
_PLACE = 2.0**-23
# Roundings besides those of sums: root, quotient, product.
_OTHERS = 8
_DROPPED = 2**12 - 1
_INFINITY = 0x7F800000


def scales(rows_CxM: Array, clip: Array | float) -> tuple[Array, Array]:
  """Returns what rows are multiplied by so that none is longer than a bound.

  Guarantees:
    - a finite row times its scale, in float32, has an exact L2 norm of at most
      `clip`: norms are rounded up, by a part of 2^-11 at most, and what
      rounding could add is taken off before, some 2^-13 of a million values;
    - a row that is shorter than `clip` by more than that has a scale of 1;
    - the scale of a row that is not finite is 0;
    - the same rows have the same scales, bit for bit, in all programs.

  Args:
    rows_CxM: float32 [C, M].
    clip: float32 [], from 1e-12; may be traced.

  Returns:
    float32 [C] in [0, 1], and bool [C], which rows were no longer than `clip`.

  Raises:
    ValueError: if the rows are of another type or shape.
  """
  arrays.check('rows_CxM', rows_CxM, np.float32, ('C', 'M'))
  num_roundings = rows_CxM.shape[1] // _WIDTH + _WIDTH.bit_length() + _OTHERS
  norms_C = jnp.sqrt(_squared_norms(rows_CxM))
  is_finite_C = jnp.isfinite(norms_C)
  most_C = jnp.float32(clip) * (1 - num_roundings * _PLACE)
  scales_C = most_C / jnp.where(is_finite_C & (norms_C > 0), norms_C, 1.0)
  scales_C = jnp.where(norms_C > most_C, scales_C, 1.0)
  return jnp.where(is_finite_C, scales_C, 0.0), norms_C <= clip


def _squared_norms(rows_CxM: Array) -> Array:
  """Returns squared norms, rounded up but for what sums round: float32 [C].

  Squares of 12 bits are exact, so that it makes no difference whether they are
  rounded before they are added; and additions have an order.
  """

  def add(number: Array | int, sums_CxW: Array) -> Array:
    part = jax.lax.dynamic_slice_in_dim(rows_CxM, number * _WIDTH, _WIDTH, 1)
    return sums_CxW + jnp.square(_round_up(part))

  num_whole = rows_CxM.shape[1] // _WIDTH
  rest_CxW = jnp.square(_round_up(rows_CxM[:, num_whole * _WIDTH :]))
  missing = _WIDTH - rest_CxW.shape[1]
  sums_CxW = jnp.pad(rest_CxW, ((0, 0), (0, missing)))
  if num_whole:
    sums_CxW = jax.lax.fori_loop(0, num_whole, add, sums_CxW)
  while sums_CxW.shape[1] > 1:
    left, right = jnp.split(sums_CxW, 2, axis=1)
    sums_CxW = left + right
  return sums_CxW[:, 0]


def _round_up(values: Array) -> Array:
  """Returns magnitudes with 12 bits of their own; infinity for NaN."""
  bits = jax.lax.bitcast_convert_type(jnp.abs(values), jnp.uint32)
  # The largest NaN with as much added is no float any more, but not yet 0.
  bits = jnp.minimum((bits + _DROPPED) & ~jnp.uint32(_DROPPED), _INFINITY)
  return jax.lax.bitcast_convert_type(bits, jnp.float32)
