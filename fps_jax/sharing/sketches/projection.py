"""Inner products of what is shared with a vector that every server knows.

Servers multiply the shares that they hold by whole numbers and add them up.
What opens are the same sums of the secrets, exact where those of a sketch are
estimates; where one sum could wrap around, columns are dealt out to several in
turn. A column of l packed secrets takes one multiple for all of them; each sum
is therefore formed l times, with the multiples that belong to one secret of
every column, and of what opens that secret's alone is of use.

Example: the products of one piece of 4 columns, in 2 sums.
  >>> projection = Projection(2, 10, PrimeField(1009))
  >>> columns = jnp.uint32([[5, 6, 7, 8]])
  >>> projection.apply(columns, jnp.int32([[1, 2, 3, -4]])).tolist()
  [[26, 989]]
"""

import dataclasses
import math
from typing import Self

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key
from fps_jax.sharing.field import PrimeField

# Finer multiples make no difference that the norms' estimates would show.
_FINEST = 127
_MOST_SUMS = 256


@dataclasses.dataclass(frozen=True)
class Projection:
  """Sums of products of columns and of whole numbers that are public.

  Attributes:
    num_sums: sums that the columns are dealt out to, at least 1.
    limit: largest magnitude of a multiple, at least 1 and below p / 2.
    field: of the words.

  Raises:
    ValueError: if an attribute is out of range; methods, if their arguments do
      not fit.
  """

  num_sums: int
  limit: int
  field: PrimeField

  def __post_init__(self):
    arrays.check_integer('num_sums', self.num_sums, 1)
    arrays.check_integer('limit', self.limit, 1, self.field.modulus // 2)

  @classmethod
  def fit(
    cls,
    num_sums: int,
    num_pieces: int,
    piece_columns: int,
    largest: int,
    field: PrimeField,
  ) -> Self:
    """Returns the projection with the finest multiples that cannot wrap.

    Args:
      num_sums: sums that the columns are dealt out to, at least 1.
      num_pieces: of a vector, at most; at least 1.
      piece_columns: columns of a piece, at least 1.
      largest: magnitude of a secret, at most; at least 1.
      field: of the words.

    Raises:
      ValueError: if a sum of secrets alone, with multiples of 1, could wrap, or
        an argument is out of range.
    """
    for name, value in (
      ('num_sums', num_sums),
      ('num_pieces', num_pieces),
      ('piece_columns', piece_columns),
      ('largest', largest),
    ):
      arrays.check_integer(name, value, 1)
    columns = num_pieces * -(-piece_columns // num_sums)
    limit = min(_FINEST, field.modulus // 2 // (columns * largest))
    if limit < 1:
      raise ValueError(
        f'a sum of {columns} honest values of up to {largest} can go beyond '
        f'(p - 1) / 2 of sharing.prime={field.modulus}, and would wrap: raise '
        'the prime or pruning.sparsity, or lower sharing.value_bits'
      )
    return cls(num_sums, limit, field)

  def step(self, vector_M: Array) -> Array:
    """Returns what a multiple of 1 stands for: float32 [], above 0.

    Args:
      vector_M: float32 [M], finite.

    Raises:
      ValueError: if the vector is of another type, or known not to be finite.
    """
    arrays.check('vector_M', vector_M, jnp.float32, ('M',))
    largest = float(jnp.finfo(jnp.float32).max)
    cure = 'leave out updates that are not finite'
    arrays.check_range('vector_M', vector_M, -largest, largest, cure)
    greatest = jnp.max(jnp.abs(vector_M))
    return jnp.where(greatest > 0, greatest, 1.0) / self.limit

  def multiples(self, vector_M: Array, key: Key) -> Array:
    """Returns whole numbers in proportion to a vector.

    Guarantees:
      - their magnitude is at most `limit`, and 0 stays 0;
      - multiplied by the step each has its entry of the vector as mean, and is
        less than a step away from it, to float32.

    Args:
      vector_M: float32 [M], finite.
      key: of the rounding; to be drawn once what is multiplied is fixed, or the
        rounding's error could be shared on purpose.

    Returns:
      int32 [M].

    Raises:
      ValueError: as of `step`.
    """
    step = self.step(vector_M)
    draws_M = jax.random.uniform(key, vector_M.shape)
    rounded_M = jnp.floor(vector_M / step + draws_M)
    # The quotient of the greatest may be rounded to above the limit.
    return jnp.clip(rounded_M.astype(jnp.int32), -self.limit, self.limit)

  def apply(self, columns: Array, multiples_LxW: Array) -> Array:
    """Multiplies and sums a piece; the sums of all are the sums of pieces'.

    Args:
      columns: uint32 elements [..., W].
      multiples_LxW: int32 [L, W], those of each secret of the columns.

    Returns:
      uint32 elements [..., L * num_sums], a secret's sums side by side.
    """
    self.field.check('columns', columns, (..., 'W'))
    shape = ('L', columns.shape[-1])
    arrays.check('multiples_LxW', multiples_LxW, jnp.int32, shape)
    cure = 'take them from `multiples`'
    limits = -self.limit, self.limit
    arrays.check_range('multiples_LxW', multiples_LxW, *limits, cure)
    words_LxW = self.field.from_signed(multiples_LxW)
    products = self.field.multiply(columns[..., None, :], words_LxW)
    missing = -products.shape[-1] % self.num_sums
    padding = [(0, 0)] * (products.ndim - 1) + [(0, missing)]
    dealt = jnp.pad(products, padding).reshape(
      *products.shape[:-1], -1, self.num_sums
    )
    sums = self.field.sum(jnp.moveaxis(dealt, -2, 0))
    return sums.reshape(*columns.shape[:-1], -1)

  def total(self, opened_CxV: Array) -> Array:
    """Returns the inner products that sums opened to.

    Args:
      opened_CxV: float32 [C, L * num_sums * L], the secrets of each sum side by
        side.

    Returns:
      float32 [C].

    Raises:
      ValueError: if the sums are of another type or number.
    """
    arrays.check('opened_CxV', opened_CxV, jnp.float32, ('C', 'V'))
    num_secrets = math.isqrt(opened_CxV.shape[1] // self.num_sums)
    if num_secrets**2 * self.num_sums != opened_CxV.shape[1]:
      raise ValueError(
        f'opened_CxV has {opened_CxV.shape[1]} values a client, must have '
        f'num_sums={self.num_sums} times the square of packed secrets: give '
        'all that were opened'
      )
    sums_CxLxSxL = opened_CxV.reshape(
      -1, num_secrets, self.num_sums, num_secrets
    )
    own_CxSxL = jnp.diagonal(sums_CxLxSxL, axis1=1, axis2=3)
    return jnp.sum(own_CxSxL, axis=(1, 2))


def fewest_sums(num_columns: int, largest: int, field: PrimeField) -> int:
  """Returns how few sums have the finest multiples, or the most there are.

  Args:
    num_columns: of a vector, at most; at least 1.
    largest: magnitude of a secret, at most; at least 1.
    field: of the words.

  Raises:
    ValueError: if an argument is out of range.
  """
  arrays.check_integer('num_columns', num_columns, 1)
  arrays.check_integer('largest', largest, 1)
  needed = -(-num_columns * largest * _FINEST // (field.modulus // 2))
  return min(needed, _MOST_SUMS)
