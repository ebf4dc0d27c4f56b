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
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array

_MAX_UINT64 = 2**64 - 1
# Products in an unrolled `matmul`.
_MAX_UNROLLED = 256
# Terms of `signed_sums`, of 11 bits: their sums are exact in float32.
_MAX_SIGNED = 2**13


# Every variant of a study asks for the same few.
@functools.lru_cache(maxsize=64)
def is_prime(number: int) -> bool:
  """Returns whether `number`, below 2^32, is prime."""
  if number < 2:
    return False
  return all(number % d for d in range(2, int(number**0.5) + 1))


def largest_prime(bits: int) -> int:
  """Returns the largest prime that has at most so many bits, 2 to 31.

  Raises:
    ValueError: if `bits` is not an integer in [2, 31].

  Example:
    >>> largest_prime(16)
    65521
  """
  arrays.check_integer('bits', bits, 2, 31)
  return next(p for p in range(2**bits - 1, 1, -1) if is_prime(p))


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
    arrays.check_integer('modulus', self.modulus)
    if not 2 <= self.modulus < 2**31 or not is_prime(self.modulus):
      raise ValueError(
        f'modulus={self.modulus} is not a prime in [2, 2**31): use one such '
        'as 2**31 - 1 (2147483647) or 2**22 - 3 (4194301)'
      )

  @property
  def bits(self) -> int:
    """Bits that hold one element: ceil(log2 p)."""
    return (self.modulus - 1).bit_length()

  def check(
    self,
    name: str,
    array: Array | np.ndarray,
    shape: arrays.Shape = (...,),
  ) -> None:
    """Checks that an array holds elements, as far as its values are known.

    Args:
      name: of the argument.
      array: what must be uint32 elements.
      shape: what its shape must be, as of `arrays.check`.

    Raises:
      ValueError: if it is of another type or shape, or a value is not below p.
    """
    arrays.check(name, array, np.uint32, shape)
    cure = f'reduce it modulo the prime {self.modulus}'
    arrays.check_range(name, array, 0, self.modulus - 1, cure)

  def check_rows(
    self,
    name: str,
    rows_SxM: Array | Sequence[Array],
    matrix_RxS: Array | np.ndarray,
  ) -> None:
    """Checks rows that a matrix is to be applied to.

    What it multiplies by 0 may hold anything.

    Args:
      name: of the argument.
      rows_SxM: as of `matmul`.
      matrix_RxS: as of `matmul`.

    Raises:
      ValueError: as of `check`.
    """
    if isinstance(rows_SxM, Sequence):
      for row in rows_SxM:
        arrays.check(name, row, np.uint32, (np.size(rows_SxM[0]),))
    else:
      arrays.check(name, rows_SxM, np.uint32, (matrix_RxS.shape[1], 'M'))
    values_RxS = arrays.known(matrix_RxS)
    if values_RxS is None or isinstance(rows_SxM, jax.core.Tracer):
      return
    for s in np.flatnonzero(values_RxS.any(axis=0)):
      self.check(name, rows_SxM[int(s)])

  def add(self, a: Array, b: Array) -> Array:
    """Returns a + b mod p; uint32 elements of shapes that broadcast."""
    self._check_pair(a, b)
    # Both are below 2^31, so the sum fits 32 bits.
    return self._subtract_once(a + b)

  def negate(self, a: Array) -> Array:
    """Returns -a mod p of uint32 elements."""
    self.check('a', a)
    return jnp.where(a == 0, a, self.modulus - a)

  def multiply(self, a: Array, b: Array) -> Array:
    """Returns a * b mod p; uint32 elements of shapes that broadcast."""
    self._check_pair(a, b)
    with jax.enable_x64(True):
      product = a.astype(jnp.uint64) * b.astype(jnp.uint64)
      return self._reduce(product, (self.modulus - 1) ** 2)

  def sum(self, a: Array) -> Array:
    """Returns the sum mod p of uint32 elements along the first axis."""
    self.check('a', a, ('R', ...))
    largest = a.shape[0] * (self.modulus - 1)
    if not largest:
      return jnp.zeros(a.shape[1:], jnp.uint32)
    with jax.enable_x64(True):

      def add_row(i: Array, total: Array) -> Array:
        return total + a[i].astype(jnp.uint64)

      def in_rows() -> Array:
        zeros = jnp.zeros(a.shape[1:], jnp.uint64)
        return jax.lax.fori_loop(0, a.shape[0], add_row, zeros)

      # XLA reduces a first axis on a CPU without vector instructions.
      total = jax.lax.platform_dependent(
        cpu=in_rows, default=lambda: jnp.sum(a.astype(jnp.uint64), axis=0)
      )
      return self._reduce(total, largest)

  def signed_sums(self, a: Array, signs_WxS: Array) -> Array:
    """Returns sums of elements that are each added, subtracted or left out.

    Args:
      a: uint32 elements [..., W], W at most 2^13.
      signs_WxS: float32 [W, S], each 1, -1 or 0.

    Returns:
      uint32 elements [..., S].

    Raises:
      ValueError: if there are too many terms, or arguments do not fit.
    """
    self.check('a', a, (..., 'W'))
    arrays.check('signs_WxS', signs_WxS, np.float32, (a.shape[-1], 'S'))
    arrays.check_range('signs_WxS', signs_WxS, -1, 1, 'give signs')
    num_terms = a.shape[-1]
    if num_terms > _MAX_SIGNED:
      raise ValueError(
        f'{num_terms} terms are too many for exact sums: pass at most '
        f'{_MAX_SIGNED}'
      )
    shifts = (0, 11, 22)
    sums = [
      jnp.matmul(
        ((a >> shift) & 0x7FF).astype(jnp.float32),
        signs_WxS,
        precision='highest',
      ).astype(jnp.int32)
      for shift in shifts
    ]
    with jax.enable_x64(True):
      # A multiple of p that makes every sum positive.
      total = jnp.int64(num_terms * self.modulus)
      for shift, part in zip(shifts, sums, strict=True):
        total = total + part.astype(jnp.int64) * 2**shift
      return self._reduce(
        total.astype(jnp.uint64), 2 * num_terms * self.modulus
      )

  def sum_devices(self, a: Array, axis_names: tuple[str, ...]) -> Array:
    """Returns the sum mod p of uint32 elements over axes of a device mesh.

    The halves of the words are added in 32 bits, which every interconnect can
    do, so there may be up to 65,536 devices.

    Args:
      a: elements, of one shape on every device, inside of `jax.shard_map`.
      axis_names: of the mesh.
    """
    self.check('a', a)
    low, high = jax.lax.psum((a & 0xFFFF, a >> 16), axis_names)
    num_devices = jax.lax.axis_size(axis_names)
    with jax.enable_x64(True):
      total = (high.astype(jnp.uint64) << 16) + low.astype(jnp.uint64)
      return self._reduce(total, num_devices * (self.modulus - 1))

  def matmul(
    self, matrix_RxS: Array | np.ndarray, rows_SxM: Array | Sequence[Array]
  ) -> Array:
    """Returns `matrix @ rows` mod p, for a small matrix and long rows.

    Args:
      matrix_RxS: uint32 [R, S] elements, about as many as there are servers. A
        NumPy matrix becomes constants; it may be traced.
      rows_SxM: uint32 [S, M] elements, or S arrays [M].

    Returns:
      uint32 [R, M] elements.

    Raises:
      ValueError: if the inner dimensions differ, or arguments do not fit.
    """
    self.check('matrix_RxS', matrix_RxS, ('R', 'S'))
    num_rows, num_columns = matrix_RxS.shape
    if num_columns != len(rows_SxM):
      raise ValueError(
        f'a matrix of {num_columns} columns cannot be applied to '
        f'{len(rows_SxM)} rows: give rows_SxM as many'
      )
    self.check_rows('rows_SxM', rows_SxM, matrix_RxS)
    if not num_rows:
      return jnp.zeros((0, *rows_SxM[0].shape), jnp.uint32)
    if num_rows * num_columns > _MAX_UNROLLED:
      return self._matmul_in_loop(
        jnp.asarray(matrix_RxS), jnp.stack([*rows_SxM])
      )
    with jax.enable_x64(True):
      wide_S = [row.astype(jnp.uint64) for row in rows_SxM]
      # A row of the result at a time: each is then one pass over the inputs.
      products = [self._combine(matrix_RxS[r], wide_S) for r in range(num_rows)]
      return jnp.stack(products)

  def dot(self, a_QxM: Array, b_RxM: Array) -> Array:
    """Returns all inner products mod p, uint32 [Q, R], of uint32 elements."""
    self.check('a_QxM', a_QxM, ('Q', 'M'))
    self.check('b_RxM', b_RxM, ('R', a_QxM.shape[1]))
    with jax.enable_x64(True):
      products = self.multiply(a_QxM[:, None], b_RxM[None]).astype(jnp.uint64)
      total = jnp.sum(products, axis=-1)
      return self._reduce(total, a_QxM.shape[1] * (self.modulus - 1))

  def _check_pair(self, a: Array, b: Array) -> None:
    self.check('a', a)
    self.check('b', b)
    arrays.check_broadcast(a=a, b=b)

  def _combine(
    self, coefficients_S: Array | np.ndarray, wide_S: Sequence[Array]
  ) -> Array:
    """Returns sum_s coefficients[s] * wide[s] mod p, of uint64 [M] arrays."""
    total, bound = jnp.zeros((), jnp.uint64), 0
    for s, row in enumerate(wide_S):
      coefficient = coefficients_S[s].astype(np.uint64)
      largest = (self.modulus - 1) ** 2
      if isinstance(coefficients_S, np.ndarray):
        largest = int(coefficients_S[s]) * (self.modulus - 1)
      while bound + largest > _MAX_UINT64:
        total, bound = self._fold(total, bound)
      total, bound = total + coefficient * row, bound + largest
    return self._reduce(total, bound)

  def _matmul_in_loop(self, matrix_RxS: Array, rows_SxM: Array) -> Array:
    """`matmul` for matrices so large that unrolling compiles for minutes."""
    matrix_SxR = matrix_RxS.T

    def add_product(s: Array, total: Array) -> Array:
      product = self.multiply(matrix_SxR[s][:, None], rows_SxM[s][None])
      return self.add(total, product)

    shape = (matrix_RxS.shape[0], rows_SxM.shape[1])
    zeros = jnp.zeros(shape, jnp.uint32)
    return jax.lax.fori_loop(0, rows_SxM.shape[0], add_product, zeros)

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
    for name, points in (('known', known), ('wanted', wanted)):
      for x in points:
        arrays.check_integer(name, x)
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
    arrays.check('a', a, np.int32)
    largest = self.modulus - 1
    arrays.check_range('a', a, -largest, largest, 'use a larger prime')
    return jnp.where(a < 0, a + self.modulus, a).astype(jnp.uint32)

  def to_signed(self, a: Array) -> Array:
    """Returns elements, p odd, as int32 values in [-(p-1)/2, (p-1)/2]."""
    self.check('a', a)
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
    # Folding ends below 2^32.
    x = x.astype(jnp.uint32)
    while bound >= self.modulus:
      x = self._subtract_once(x)
      bound = max(bound - self.modulus, self.modulus - 1)
    return x

  def _subtract_once(self, x: Array) -> Array:
    """Returns uint32 `x` minus p where that is not negative."""
    # Below zero it wraps to more than any x.
    return jnp.minimum(x, x - jnp.uint32(self.modulus))
