"""A check that nobody shares words which cancel out in a sketch.

A word near half of the prime is its own negative, or nearly: two of them in one
bucket of a sketch leave nothing, whatever their signs. Whoever shares such
words in pairs would seem to have a small update, and sums would wrap around. So
servers form further sums of the shares, which leave every column out with a
chance of a half, and those are opened, too.
"""

import dataclasses

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.floats import Floats

# An honest sum is beyond with a chance of 2 exp(-36), if the norm is exact.
_NORMS = 6.0


@dataclasses.dataclass(frozen=True)
class RangeCheck:
  """Sums of columns that are each added, subtracted or left out.

  Guarantees, for words that are fixed before the key is drawn:
    - of honest values with the norm that `is_within` is given, each sum is
      beyond its bound with a chance of at most 2 exp(-36);
    - words of which one, taken as a signed number, is beyond 12 times that norm
      pass with a chance of at most 2^-num_sums, while 12 norms are below p / 2.

  Attributes:
    field: of the words; None for floats, as an attacker computes with.
    num_sums: opened of each secret of the columns, at least 1.

  Raises:
    ValueError: if there is no sum; methods, if their arguments do not fit.
  """

  field: PrimeField | None
  num_sums: int = 32

  def __post_init__(self):
    arrays.check_integer('num_sums', self.num_sums, 1)

  def apply(self, columns: Array, key: Key, number: Array | int) -> Array:
    """Sums a piece of a vector; the sums of all are the sums of pieces'.

    Args:
      columns: uint32 elements [..., W], W at most 2^13, or float32 [..., W];
        the same draws for all leading axes.
      key: of the check, the same for every piece of every vector.
      number: the piece's number. May be traced.

    Returns:
      [..., num_sums], of the same type.

    Raises:
      ValueError: if the columns are of another type, or `number` is negative.
    """
    words = self.field or Floats()
    words.check('columns', columns, (..., 'W'))
    arrays.check_integer('number', number, 0)
    # Two bits are enough for each draw: the cipher is what takes time.
    words_WxJ = jax.random.bits(
      jax.random.fold_in(key, number),
      (columns.shape[-1], -(-self.num_sums // 16)),
      jnp.uint32,
    )
    pairs = words_WxJ[..., None] >> jnp.arange(0, 32, 2, dtype=jnp.uint32)
    pairs_WxS = pairs.reshape(columns.shape[-1], -1)[:, : self.num_sums] & 3
    is_added_WxS = (pairs_WxS & 1).astype(jnp.float32)
    signs_WxS = is_added_WxS * (1 - (pairs_WxS & 2).astype(jnp.float32))
    return words.signed_sums(columns, signs_WxS)

  def is_within(self, sums_CxV: Array, norms_C: Array) -> Array:
    """Returns whether all sums are as small as honest values make them.

    Args:
      sums_CxV: float32 [C, V], as they were opened.
      norms_C: float32 [C], of the vectors.

    Returns:
      bool [C].
    """
    arrays.check('sums_CxV', sums_CxV, jnp.float32, ('C', 'V'))
    shape = (sums_CxV.shape[0],)
    arrays.check('norms_C', norms_C, jnp.float32, shape)
    return jnp.max(jnp.abs(sums_CxV), axis=1) <= _NORMS * norms_C
