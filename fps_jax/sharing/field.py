"""Arithmetic in a prime field: the only file with modular arithmetic on arrays.

An element is a uint32 in [0, p). Products and sums are formed in 64 bits and
reduced by folding: with p = 2^b - c, 2^b is congruent to c, so the part above
bit b is multiplied by c and added to the part below. No division is needed and
the number of folds is known when the function is traced, because every
intermediate carries its largest possible value as a Python int.

64-bit integers are switched on inside these functions alone; callers, and the
rest of the program, stay in 32 bits.

Example:
  >>> import jax.numpy as jnp
  >>> field = PrimeField(11)
  >>> field.add(jnp.uint32([7, 10]), jnp.uint32([5, 10])).tolist()
  [1, 9]
  >>> field.matmul(jnp.uint32([[2, 3]]), jnp.uint32([[4], [5]])).tolist()
  [[1]]
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.types import Array

_MAX_UINT64 = 2**64 - 1


def is_prime(number: int) -> bool:
  """Returns whether `number`, below 2^32, is prime."""
  if number < 2:
    return False
  return all(number % d for d in range(2, int(number**0.5) + 1))


@dataclasses.dataclass(frozen=True)
class PrimeField:
  """The integers modulo a prime below 2^31.

  Attributes:
    modulus: the prime p, 2 <= p <= 2^31 - 1.

  Raises:
    ValueError: if `modulus` is out of range or not prime.
  """

  modulus: int

  def __post_init__(self):
    if not 2 <= self.modulus < 2**31 or not is_prime(self.modulus):
      raise ValueError(
        f'modulus={self.modulus} is not a prime in [2, 2**31): use one such '
        'as 2**31 - 1 (2147483647) or 2**22 - 3 (4194301)'
      )

  @property
  def bits(self) -> int:
    """Bits that hold one element: ceil(log2 p)."""
    return (self.modulus - 1).bit_length()

  def add(self, a: Array, b: Array) -> Array:
    """Returns a + b mod p; uint32 elements of shapes that broadcast."""
    # Both are below 2^31, so the sum fits 32 bits.
    total = a + b
    return jnp.where(total >= self.modulus, total - self.modulus, total)

  def sum(self, a: Array, axis: int = 0) -> Array:
    """Returns the sum mod p of uint32 elements along one axis."""
    with jax.enable_x64(True):
      total = jnp.sum(a.astype(jnp.uint64), axis=axis)
      return self._reduce(total, a.shape[axis] * (self.modulus - 1))

  def matmul(self, matrix_RxS: Array | np.ndarray, x_SxM: Array) -> Array:
    """Returns `matrix @ x` mod p, for a small matrix and long rows.

    Args:
      matrix_RxS: uint32 [R, S] elements; R and S are unrolled or broadcast,
        so they should be small (servers, not parameters).
      x_SxM: uint32 [S, M] elements.

    Returns:
      uint32 [R, M] elements.

    Raises:
      ValueError: if the inner dimensions differ.
    """
    if matrix_RxS.shape[1] != x_SxM.shape[0]:
      raise ValueError(
        f'a matrix of {matrix_RxS.shape[1]} columns cannot be applied to '
        f'{x_SxM.shape[0]} rows'
      )
    largest = (self.modulus - 1) ** 2
    with jax.enable_x64(True):
      matrix_RxS = jnp.asarray(matrix_RxS).astype(jnp.uint64)
      x_SxM = x_SxM.astype(jnp.uint64)
      total, bound = jnp.zeros((), jnp.uint64), 0
      for s in range(x_SxM.shape[0]):
        while bound + largest > _MAX_UINT64:
          total, bound = self._fold(total, bound)
        total = total + matrix_RxS[:, s, None] * x_SxM[s][None, :]
        bound += largest
      return self._reduce(total, bound)

  def lagrange_matrix(
    self, known: Sequence[int], wanted: Sequence[int]
  ) -> np.ndarray:
    """Returns the matrix from a polynomial's values to other values of it.

    With `len(known)` values known, the polynomial has degree below
    `len(known)`. Row w holds the Lagrange basis of the known points at wanted
    point w: prod_{j != i} (w - x_j) / (x_i - x_j). Exact, in Python ints.

    Args:
      known: distinct points in [0, p).
      wanted: points in [0, p), which may be among the known ones.

    Returns:
      uint32 [len(wanted), len(known)] elements.

    Raises:
      ValueError: if two known points are equal or a point is not in [0, p).
    """
    p = self.modulus
    known, wanted = [int(x) for x in known], [int(x) for x in wanted]
    if len(set(known)) != len(known):
      raise ValueError(f'points {tuple(known)} repeat: each must be distinct')
    for point in (*known, *wanted):
      if not 0 <= point < p:
        raise ValueError(
          f'point {point} is not in [0, {p}): use a larger prime'
        )

    def basis(i: int, w: int) -> int:
      numerator = denominator = 1
      for j, x_j in enumerate(known):
        if j != i:
          numerator = numerator * (w - x_j) % p
          denominator = denominator * (known[i] - x_j) % p
      return numerator * pow(denominator, -1, p) % p

    rows = [[basis(i, w) for i in range(len(known))] for w in wanted]
    return np.array(rows, np.uint32).reshape(len(wanted), len(known))

  def from_signed(self, a: Array) -> Array:
    """Returns int32 values in (-p, p) as elements."""
    return jnp.where(a < 0, a + self.modulus, a).astype(jnp.uint32)

  def to_signed(self, a: Array) -> Array:
    """Returns elements, p odd, as int32 values in [-(p-1)/2, (p-1)/2]."""
    signed = a.astype(jnp.int32)
    return jnp.where(signed > self.modulus // 2, signed - self.modulus, signed)

  def _fold(self, x: Array, bound: int) -> tuple[Array, int]:
    """Folds uint64 `x` <= `bound` once; returns it with its new bound."""
    bits = self.bits
    complement, low_bits = 2**bits - self.modulus, 2**bits - 1
    folded = (x >> np.uint64(bits)) * np.uint64(complement)
    folded = folded + (x & np.uint64(low_bits))
    return folded, (bound >> bits) * complement + low_bits

  def _reduce(self, x: Array, bound: int) -> Array:
    """Returns uint64 `x` <= `bound` as an element: uint32 in [0, p)."""
    while (bound >> self.bits) * (2**self.bits - self.modulus) + (
      2**self.bits - 1
    ) < bound:
      x, bound = self._fold(x, bound)
    while bound >= self.modulus:
      x = jnp.where(x >= self.modulus, x - np.uint64(self.modulus), x)
      bound = max(bound - self.modulus, self.modulus - 1)
    return x.astype(jnp.uint32)
