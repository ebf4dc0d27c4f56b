"""Tests of `fps_jax.sharing.field` against Python's own integers."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import field as field_module
from fps_jax.sharing import reference
from fps_jax.sharing.field import PrimeField, is_prime, largest_prime

# Tiny ones; primes just above a power of two (17, 2^30 + 3), which need many
# folds; and just below one (2^22 - 3 and the Mersenne primes).
PRIMES = (
  2, 5, 17, 251, 2**17 - 1, 2**19 - 1, 2**22 - 3, 2**30 + 3, 2**31 - 1
)  # fmt: skip
MODULI = pytest.mark.parametrize('p', PRIMES)
# Compiling takes seconds, so that not every prime is compiled.
MODULI_AND_JIT = pytest.mark.parametrize(
  ('p', 'apply'),
  [
    *(pytest.param(p, lambda f: f, id=f'{p}') for p in PRIMES),
    *(pytest.param(p, jax.jit, id=f'{p}-jit') for p in (2**22 - 3, 2**31 - 1)),
  ],
)
Apply = Callable[[Callable], Callable]


def edges(p: int) -> list[int]:
  """Returns all elements of a small field, else those where code breaks."""
  if p <= 17:
    return list(range(p))
  return [0, 1, 2, p // 2 - 1, p // 2, p // 2 + 1, p - 2, p - 1]


def draw(p: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  """Returns random elements, about half of them 0, 1, p // 2 or p - 1."""
  rng = np.random.default_rng(seed)
  random = rng.integers(p, size=shape, dtype=np.uint32)
  edge = rng.choice(np.uint32([0, 1 % p, p // 2, p - 1]), shape)
  return np.where(rng.integers(2, size=shape) == 1, random, edge)


def ints(words: np.ndarray) -> np.ndarray:
  """Returns the words as Python ints, which never overflow."""
  return np.asarray(words).astype(object)


def assert_equals(words: jax.Array, expected: np.ndarray, p: int) -> None:
  """Holds words against Python ints, reduced; so the words are in [0, p)."""
  assert words.dtype == jnp.uint32
  assert words.tolist() == (expected % p).tolist()


def draw_to_edges(
  p: int, rows: int, inner: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns factors; the first row of their product is 0, 1 and p - 1 in turn.

  So the sums end at the ends of the field, where a reduction is one off.
  """
  matrix, x = draw(p, (rows, inner)), draw(p, (inner, columns), seed=1)
  matrix[0, -1] = 1
  wanted = np.resize(ints([0, 1, p - 1]), columns)
  x[-1] = (wanted - ints(matrix)[0, :-1] @ ints(x)[:-1]) % p
  return matrix, x


@MODULI_AND_JIT
def test_operations_on_all_pairs_of_elements_are_exact(
  p: int, apply: Apply
) -> None:
  field = PrimeField(p)
  # Of one shape for all primes, so that each operation is compiled once.
  elements = np.uint32((edges(p) + draw(p, (40,)).tolist())[:40])
  a, b = elements[:, None], elements[None]

  @apply
  def tables(a, b):
    sums, products = field.add(a, b), field.multiply(a, b)
    return sums, products, field.dot(a, b.T), field.negate(a)

  found, (a, b) = tables(a, b), (ints(a), ints(b))
  for words, expected in zip(found, (a + b, a * b, a * b, -a), strict=True):
    assert_equals(words, expected, p)


@pytest.mark.slow
@MODULI_AND_JIT
def test_matmul_of_largest_elements_does_not_overflow(
  p: int, apply: Apply
) -> None:
  field, terms = PrimeField(p), (4, 5, 40)

  @apply
  def products(matrix, x_SxM):
    constant = np.full((1, len(x_SxM)), p - 1, np.uint32)
    return [
      jnp.stack([field.matmul(m[:, :s], x_SxM[:s]) for m in (constant, matrix)])
      for s in terms
    ]

  largest = jnp.full((40, 3), np.uint32(p - 1))
  for s, found in zip(terms, products(largest[:, :1].T, largest), strict=True):
    assert_equals(found, np.full((2, 1, 3), s * (p - 1) ** 2, object), p)


@MODULI_AND_JIT
def test_matmul_equals_python_ints(p: int, apply: Apply) -> None:
  field, (matrix, x) = PrimeField(p), draw_to_edges(p, 3, 6, 120)

  @apply
  def products(traced, x_SxM):
    return [
      field.matmul(matrix, x_SxM),
      field.matmul(matrix, tuple(x_SxM)),
      field.matmul(traced, x_SxM),
      field.matmul(traced, list(x_SxM)),
    ]

  expected = ints(matrix) @ ints(x)
  for found in products(jnp.asarray(matrix), jnp.asarray(x)):
    assert_equals(found, expected, p)


@MODULI
def test_matmul_of_a_large_matrix_equals_python_ints(p: int) -> None:
  field, (matrix, x) = PrimeField(p), draw_to_edges(p, 8, 40, 9)
  matrix[1], x[:, 3] = p - 1, p - 1
  assert matrix.size > field_module._MAX_UNROLLED

  rows = tuple(jnp.asarray(x))
  found = jax.jit(field.matmul)(matrix, rows)
  assert_equals(found, ints(matrix) @ ints(x), p)
  if p == 2**31 - 1:
    np.testing.assert_array_equal(field.matmul(matrix, rows), found)


def test_matmul_without_rows_is_empty() -> None:
  for x in (jnp.ones((3, 4), jnp.uint32), 3 * (jnp.ones(4, jnp.uint32),)):
    product = PrimeField(7).matmul(np.zeros((0, 3), np.uint32), x)
    assert product.shape == (0, 4)
    assert product.dtype == jnp.uint32


def test_matmul_of_other_inner_dimensions_raises() -> None:
  with pytest.raises(ValueError, match='3 columns cannot be applied to 2 rows'):
    PrimeField(7).matmul(np.ones((2, 3), np.uint32), jnp.ones((2, 5)))


@MODULI
def test_dot_equals_python_ints(p: int) -> None:
  a, x = draw_to_edges(p, 3, 5003, 6)
  a[1], x[:, 3] = p - 1, p - 1
  found = jax.jit(PrimeField(p).dot)(a, x.T)
  assert_equals(found, ints(a) @ ints(x), p)


@MODULI
def test_sum_is_exact_and_does_not_overflow(p: int) -> None:
  field, many = PrimeField(p), 20_011
  words = draw(p, (41, 60))
  words[:, 3] = p - 1
  # The first sums are at the ends of the field, where a reduction is one off.
  words[-1, :3] = (ints([0, 1, p - 1]) - ints(words)[:-1, :3].sum(0)) % p

  @jax.jit
  def sums(words):
    largest = jnp.full((many,), np.uint32(p - 1))
    return field.sum(words.reshape(41, 3, 20)), field.sum(largest)

  found, of_largest = sums(words)
  assert_equals(found, ints(words).sum(0).reshape(3, 20), p)
  assert of_largest.item() == many * (p - 1) % p


def test_sum_of_nothing_is_zero() -> None:
  total = PrimeField(7).sum(jnp.zeros((0, 2), jnp.uint32))
  assert total.dtype == jnp.uint32
  assert total.tolist() == [0, 0]


@pytest.mark.slow
def test_results_are_the_same_with_jit_vmap_and_in_x64() -> None:
  p = 2**31 - 1
  field = PrimeField(p)
  matrix, large = draw(p, (3, 5)), draw(p, (52, 5))
  batch = jnp.asarray(draw(p, (2, 5, 6), seed=1))

  def everything(x_SxM):
    return {
      'add': field.add(x_SxM, x_SxM[::-1]),
      'multiply': field.multiply(x_SxM, x_SxM[::-1]),
      'sum': field.sum(x_SxM),
      'dot': field.dot(x_SxM, x_SxM[::-1]),
      'matmul': field.matmul(matrix, x_SxM),
      'traced': field.matmul(x_SxM[:, :5].T, x_SxM),
      'large': field.matmul(large, x_SxM),
      'to_signed': field.to_signed(x_SxM),
      'from_signed': field.from_signed(field.to_signed(x_SxM)),
    }

  def as_numpy(results):
    return jax.tree.map(np.asarray, results)

  first = as_numpy(jax.jit(everything)(batch[0]))
  together = jax.jit(jax.vmap(everything))
  others = [as_numpy(together(batch))]
  with jax.enable_x64(True):
    others.append(as_numpy(together(batch)))
  for other in others:
    for name, words in first.items():
      assert words.dtype == (np.int32 if name == 'to_signed' else np.uint32)
      assert other[name].dtype == words.dtype
      np.testing.assert_array_equal(other[name][0], words)
      np.testing.assert_array_equal(other[name][1], others[0][name][1])


@pytest.mark.slow
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
    total = field.sum(x_SxM), field.dot(x_SxM, x_SxM)
    check()
    return product, total, jnp.arange(3)

  with jax.enable_x64(enabled):
    field.sum(words)
    check()
    field.matmul(words, words)
    check()
    field.multiply(words, words)
    check()
    field.dot(words, words)
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


def test_largest_prime_is_the_last_one_of_its_bits() -> None:
  for bits in range(2, 13):
    primes = [n for n in range(2**bits) if is_prime(n)]
    assert largest_prime(bits) == primes[-1]
    assert PrimeField(largest_prime(bits)).bits == bits
  assert largest_prime(31) == 2**31 - 1


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


@pytest.mark.parametrize('modulus', [3, 2**22 - 3, 2**31 - 1])
@pytest.mark.parametrize('num_terms', [1, 7, 2**13])
def test_signed_sums_are_those_of_python(modulus: int, num_terms: int):
  """Of random elements and of the largest, all added or all subtracted."""
  rng = np.random.default_rng(num_terms)
  elements = rng.integers(0, modulus, (3, num_terms))
  elements[0] = modulus - 1
  signs = rng.integers(-1, 2, (num_terms, 4))
  signs[:, 0], signs[:, 1] = 1, -1
  sums = PrimeField(modulus).signed_sums(
    jnp.uint32(elements), jnp.float32(signs)
  )
  np.testing.assert_array_equal(sums, elements @ signs % modulus)


def test_too_many_terms_of_signed_sums_are_refused():
  field = PrimeField(11)
  with pytest.raises(ValueError, match=r'8193 terms .* at most 8192'):
    field.signed_sums(jnp.zeros(8193, jnp.uint32), jnp.zeros((8193, 1)))
