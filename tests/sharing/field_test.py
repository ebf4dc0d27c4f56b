"""Tests of `fps_jax.sharing.field` against Python's own integers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import reference
from fps_jax.sharing.field import PrimeField, is_prime

# Tiny ones; primes just above a power of two (2^16 + 1, 2^30 + 3), which need
# the most folds; and just below one (2^22 - 3 and the Mersenne primes).
PRIMES = (
  2, 3, 7, 11, 17, 65537, 1073741827, 2**19 - 1, 2**22 - 3, 2**31 - 1,
)  # fmt: skip
MODULI = pytest.mark.parametrize('p', PRIMES)


def edges(p: int) -> list[int]:
  """Returns all elements of a small field, else those where code breaks."""
  if p <= 17:
    return list(range(p))
  return [0, 1, 2, p // 2 - 1, p // 2, p // 2 + 1, p - 2, p - 1]


def draw(p: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).integers(p, size=shape, dtype=np.uint32)


def matmul_in_ints(a: np.ndarray, b: np.ndarray, p: int) -> list[list[int]]:
  columns = b.T.tolist()
  return [
    [sum(x * y for x, y in zip(row, column, strict=True)) % p
     for column in columns]
    for row in a.tolist()
  ]  # fmt: skip


@MODULI
def test_sum_and_product_of_two_elements_are_exact(p: int) -> None:
  field, elements = PrimeField(p), edges(p) + draw(p, (20,)).tolist()

  @jax.jit
  def tables(words):
    column, row = words[:, None], words[None, :]
    return field.add(column, row), field.matmul(column, row)

  sums, products = tables(jnp.uint32(elements))
  assert sums.tolist() == [[(a + b) % p for b in elements] for a in elements]
  assert products.tolist() == [[a * b % p for b in elements] for a in elements]


@pytest.mark.parametrize('p', [3, 2**22 - 3, 1073741827, 2**31 - 1])
def test_matmul_of_largest_elements_does_not_overflow(p: int) -> None:
  field, largest, terms = PrimeField(p), np.uint32(p - 1), (4, 5, 9, 15)

  @jax.jit
  def products(x_SxM):
    matrix = np.full((2, len(x_SxM)), largest)
    return [field.matmul(matrix[:, :s], x_SxM[:s]) for s in terms]

  found = products(jnp.full((15, 3), largest))
  # (p - 1)^2 is 1 modulo p.
  assert [x.tolist() for x in found] == [2 * [3 * [s % p]] for s in terms]


@MODULI
def test_matmul_equals_python_ints(p: int) -> None:
  matrix, x = draw(p, (3, 6)), draw(p, (6, 120), seed=1)
  # The last terms complete the sums of the first row to 0, 1 or p - 1 modulo
  # p, the ends of the field.
  matrix[0, -1] = 1
  wanted = 40 * [0, 1, p - 1]
  partial = matmul_in_ints(matrix[:1, :-1], x[:-1], p)[0]
  x[-1] = [(w - s) % p for w, s in zip(wanted, partial, strict=True)]
  expected = matmul_in_ints(matrix, x, p)
  assert expected[0] == wanted
  assert jax.jit(PrimeField(p).matmul)(matrix, x).tolist() == expected


@MODULI
def test_sum_is_exact_and_does_not_overflow(p: int) -> None:
  field, many = PrimeField(p), 100_003
  words = draw(p, (301, 70))
  # The first sums of columns are 0, 1 and p - 1, the ends of the field.
  partial = words[:-1].sum(0, dtype=np.uint64).tolist()
  words[-1, :3] = [
    (w - s) % p for w, s in zip((0, 1, p - 1), partial[:3], strict=True)
  ]

  @jax.jit
  def sums(words):
    largest = jnp.full((many,), np.uint32(p - 1))
    return [field.sum(words, axis) for axis in (0, 1, -1)], field.sum(largest)

  found, of_largest = sums(words)
  for axis, total in zip((0, 1, -1), found, strict=True):
    assert total.tolist() == (words.sum(axis, dtype=np.uint64) % p).tolist()
  assert found[0][:3].tolist() == [0, 1, p - 1]
  assert of_largest.item() == many * (p - 1) % p


def test_sum_of_nothing_is_zero() -> None:
  assert PrimeField(7).sum(jnp.zeros((0, 2), jnp.uint32)).tolist() == [0, 0]


@pytest.mark.parametrize('p', [11, 2**31 - 1])
def test_results_are_the_same_eager_jit_vmap_and_in_x64(p: int) -> None:
  field = PrimeField(p)
  matrix = draw(p, (3, 5))
  batch = jnp.asarray(draw(p, (4, 5, 6), seed=1))

  def everything(x_SxM):
    return {
      'add': field.add(x_SxM, x_SxM[::-1]),
      'sum': field.sum(x_SxM, axis=1),
      'matmul': field.matmul(matrix, x_SxM),
      'to_signed': field.to_signed(x_SxM),
      'from_signed': field.from_signed(field.to_signed(x_SxM)),
    }

  def as_numpy(results):
    return jax.tree.map(np.asarray, results)

  eager = [as_numpy(everything(x)) for x in batch]
  expected = jax.tree.map(lambda *xs: np.stack(xs), *eager)
  together = jax.jit(jax.vmap(everything))
  others = [as_numpy(together(batch))]
  with jax.enable_x64(True):
    others.append(as_numpy(together(batch)))
  for other in others:
    for name, words in expected.items():
      assert words.dtype == (np.int32 if name == 'to_signed' else np.uint32)
      assert other[name].dtype == words.dtype
      np.testing.assert_array_equal(other[name], words)


@pytest.mark.parametrize('enabled', [False, True])
def test_callers_keep_their_x64_setting(enabled: bool) -> None:
  field, words = PrimeField(7), jnp.ones((2, 2), jnp.uint32)
  integer = jnp.int64 if enabled else jnp.int32

  def check():
    assert jax.config.jax_enable_x64 is enabled
    assert jnp.arange(3).dtype == integer

  @jax.jit
  def traced(x_SxM):
    product = field.matmul(x_SxM, x_SxM)
    check()
    total = field.sum(x_SxM)
    check()
    return product, total, jnp.arange(3)

  with jax.enable_x64(enabled):
    field.sum(words)
    check()
    field.matmul(words, words)
    check()
    assert traced(words)[2].dtype == integer
    check()


@pytest.mark.parametrize('p', [2, 3, 7, 11])
def test_lagrange_matrix_extends_every_polynomial(p: int) -> None:
  field = PrimeField(p)
  points = range(p)
  for size in range(1, min(p, 3) + 1):
    for known in itertools.permutations(points, size):
      matrix = field.lagrange_matrix(known, points)
      assert matrix.dtype == np.uint32
      assert matrix.shape == (p, size)
      # Unit vectors span all values that a polynomial can have at `known`.
      for i in range(size):
        unit = {x: int(j == i) for j, x in enumerate(known)}
        expected = [reference.interpolate(unit, w, p) for w in points]
        assert matrix[:, i].tolist() == expected


@MODULI
def test_lagrange_matrix_agrees_with_coefficients(p: int) -> None:
  size = min(p, 8)
  known = [p - 1 - i for i in range(size - 1)] + [0]
  wanted = edges(p)
  coefficients = draw(p, (size,)).tolist()
  values, expected = (
    [reference.evaluate(coefficients, x, p) for x in points]
    for points in (known, wanted)
  )
  matrix = PrimeField(p).lagrange_matrix(known, wanted).tolist()
  for row, value in zip(matrix, expected, strict=True):
    assert sum(a * b for a, b in zip(row, values, strict=True)) % p == value


@MODULI
def test_lagrange_matrix_of_known_points_is_the_identity(p: int) -> None:
  points = edges(p)
  matrix = PrimeField(p).lagrange_matrix(points, points)
  np.testing.assert_array_equal(matrix, np.eye(len(points), dtype=np.uint32))


@pytest.mark.parametrize(
  ('known', 'wanted', 'message'),
  [
    ((1, 2, 1), (0,), r'points \(1, 2, 1\) repeat: each must be distinct'),
    ((1, 7), (0,), r'point 7 is not in \[0, 7\): use a larger prime'),
    ((1, -1), (0,), r'point -1 is not in \[0, 7\)'),
    ((1, 2), (0, 8), r'point 8 is not in \[0, 7\)'),
    ((1, 2), (-2,), r'point -2 is not in \[0, 7\)'),
  ],
)
def test_points_that_repeat_or_leave_the_field_raise(
  known: tuple[int, ...], wanted: tuple[int, ...], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    PrimeField(7).lagrange_matrix(known, wanted)


@pytest.mark.parametrize(
  'modulus',
  [
    -7, 0, 1, 4, 9, 561, 2**16 - 1, 2**22 - 1, 2**31 - 3,
    46337**2,  # The largest square of a prime in range.
    46327 * 46337,
    2**31,
    2**31 + 11,  # A prime, but out of range.
    2**61 - 1,
  ],
)  # fmt: skip
def test_modulus_that_is_no_prime_below_2_31_raises(modulus: int) -> None:
  message = rf'modulus={modulus} is not a prime in \[2, 2\*\*31\): use one'
  with pytest.raises(ValueError, match=message):
    PrimeField(modulus)


def test_is_prime_equals_the_sieve() -> None:
  limit = 5000
  sieve = [False, False] + (limit - 2) * [True]
  for n in range(2, limit):
    for multiple in range(2 * n, limit, n):
      sieve[multiple] = False
  assert [is_prime(n) for n in range(limit)] == sieve
  assert is_prime(2**32 - 5)
  assert not is_prime(65521 * 65521)


@MODULI
def test_bits_hold_every_element_and_no_fewer_would(p: int) -> None:
  bits = PrimeField(p).bits
  assert 2 ** (bits - 1) < p <= 2**bits


@pytest.mark.parametrize('p', [3, 7, 11, 17, 65537])
def test_signs_round_trip_over_the_whole_field(p: int) -> None:
  field, half = PrimeField(p), (p - 1) // 2
  signed = np.arange(-half, half + 1, dtype=np.int32)
  elements = field.from_signed(jnp.asarray(signed))
  assert elements.dtype == jnp.uint32
  np.testing.assert_array_equal(elements, signed % p)
  assert field.to_signed(elements).dtype == jnp.int32
  np.testing.assert_array_equal(field.to_signed(elements), signed)


@MODULI
def test_signs_are_exact_at_the_ends_of_the_field(p: int) -> None:
  field = PrimeField(p)
  # All of (-p, p), not only what `to_signed` returns.
  values = [x for e in edges(p) for x in (e, e - p) if x > -p]
  elements = field.from_signed(jnp.int32(values))
  assert elements.tolist() == [x % p for x in values]
  nearest_to_zero = [min(x % p, x % p - p, key=abs) for x in values]
  assert field.to_signed(elements).tolist() == nearest_to_zero
