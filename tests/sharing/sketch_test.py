"""Tests of `fps_jax.sharing.sketches.sketch`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from fps_jax.sharing.sketches.sketch import Sketch

pytestmark = pytest.mark.slow

FIELD = PrimeField(2**22 - 3)
KEY = jax.random.key(3)


def matrix_of(num_buckets: int, width: int, number: int = 0) -> np.ndarray:
  """Returns what a sketch multiplies by: [width, num_buckets]."""
  apply = jax.jit(Sketch(num_buckets).apply)
  return np.asarray(apply(np.eye(width, dtype=np.float32), KEY, number))


@pytest.mark.parametrize(
  ('num_buckets', 'width'),
  list(itertools.product((1, 2, 5, 8, 20), (1, 4, 5, 16))),
)
def test_every_column_has_a_sign_and_a_bucket(num_buckets: int, width: int):
  matrix = matrix_of(num_buckets, width)
  assert matrix.shape == (width, num_buckets)
  np.testing.assert_array_equal(np.abs(matrix).sum(axis=1), 1)
  assert set(np.unique(matrix)) <= {-1.0, 0.0, 1.0}
  for start in range(0, width, num_buckets):
    block = np.abs(matrix[start : start + num_buckets])
    assert block.sum(axis=0).max() <= 1  # No two columns of a block meet.


def test_pieces_and_keys_have_draws_of_their_own():
  assert np.any(matrix_of(8, 64) != matrix_of(8, 64, number=1))
  other = Sketch(8).apply(jnp.eye(64), jax.random.key(4), 0)
  assert np.any(matrix_of(8, 64) != other)


@pytest.mark.parametrize('num_buckets', [1, 3, 8])
def test_words_are_sketched_as_the_integers_they_stand_for(num_buckets: int):
  integers = np.random.default_rng(0).integers(-99, 99, size=(2, 3, 21))
  words = FIELD.from_signed(jnp.int32(integers))
  sketched = Sketch(num_buckets, FIELD).apply(words, KEY, 5)
  expected = Sketch(num_buckets).apply(jnp.float32(integers), KEY, 5)
  np.testing.assert_array_equal(FIELD.to_signed(sketched), expected)


@pytest.mark.parametrize(
  ('num_servers', 'threshold', 'secrets'), [(3, 2, 1), (5, 4, 2)]
)
def test_sketches_of_shares_open_to_that_of_the_secret(
  num_servers: int, threshold: int, secrets: int
):
  scheme = Shamir(FIELD, num_servers, threshold, secrets)
  rng = np.random.default_rng(1)
  secrets_LxW = jnp.uint32(rng.integers(0, FIELD.modulus, (secrets, 40)))
  random_ZxW = jnp.uint32(
    rng.integers(0, FIELD.modulus, (threshold - secrets, 40))
  )
  sketch = Sketch(16, FIELD)
  shares = sketch.apply(scheme.share_with(secrets_LxW, random_ZxW), KEY, 0)
  present = range(num_servers - threshold + 1, num_servers + 1)
  opened = scheme.open_shares(shares, scheme.opening(tuple(present)))
  np.testing.assert_array_equal(opened, sketch.apply(secrets_LxW, KEY, 0))


def test_sketches_are_linear():
  sketch = Sketch(4, FIELD)
  rows = jnp.uint32(
    np.random.default_rng(2).integers(0, FIELD.modulus, (2, 30))
  )
  sketched = sketch.apply(rows, KEY, 0)
  np.testing.assert_array_equal(
    sketch.apply(FIELD.add(rows[0], rows[1]), KEY, 0),
    sketch.add(sketched[0], sketched[1]),
  )


def test_inner_products_have_their_mean_and_variance():
  rng = np.random.default_rng(4)
  x, y = rng.normal(size=(2, 50)).astype(np.float32)
  x[7] = 9.0  # Not all entries are alike.
  y[7] = -5.0
  num_keys, num_buckets = 4000, 8
  rows = jnp.stack([x, y])
  keys = jax.random.split(jax.random.key(0), num_keys)
  sketched = jax.jit(
    jax.vmap(lambda key: Sketch(num_buckets).apply(rows, key, 0))
  )(keys)
  sketched = np.asarray(sketched, np.float64)
  products = np.sum(sketched[:, 0] * sketched[:, 1], axis=1)
  bound = 2 * np.sum(x**2) * np.sum(y**2) / num_buckets
  assert products.var() < bound
  # Five standard errors.
  error = 5 * np.sqrt(bound / num_keys)
  assert abs(products.mean() - np.dot(x, y)) < error


@pytest.mark.parametrize('is_alike', [True, False])
@pytest.mark.parametrize('num_rows', [1, 2, 4])
def test_squared_norms_of_packed_rows_are_off_by_their_bound(
  num_rows: int, is_alike: bool
):
  size, num_keys = 32, 2000
  rng = np.random.default_rng(5)
  rows = rng.normal(size=(num_rows, 400)).astype(np.float32)
  if is_alike:
    rows[:] = rows[0]
  keys = jax.random.split(jax.random.key(1), num_keys)
  sketch = Sketch(size // num_rows)
  sketched = jax.jit(jax.vmap(lambda key: sketch.apply(rows, key, 0)))(keys)
  squares = np.sum(np.asarray(sketched, np.float64) ** 2, axis=(1, 2))
  errors = squares / np.sum(np.float64(rows) ** 2) - 1
  bound = np.sqrt(2 * num_rows / size)
  assert errors.std() < 1.05 * bound
  # Rows that are alike come close to it; others cancel one another.
  expected = bound if is_alike else bound / np.sqrt(num_rows)
  assert abs(errors.std() / expected - 1) < 0.1
  assert abs(errors.mean()) < 5 * bound / np.sqrt(num_keys)


def test_no_bucket_is_refused():
  with pytest.raises(ValueError, match='num_buckets=0 must be at least 1'):
    Sketch(0)
