"""Tests of `fps_jax.sharing.sketches.projection`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from fps_jax.sharing.sketches.projection import Projection, fewest_sums

FIELD = PrimeField(2**22 - 3)


@pytest.mark.slow
@pytest.mark.parametrize('num_sums', [1, 3, 16])
@pytest.mark.parametrize(
  ('num_servers', 'threshold', 'num_secrets'), [(3, 2, 1), (5, 4, 2), (7, 6, 3)]
)
def test_sums_of_shares_open_to_the_exact_inner_product(
  num_servers: int, threshold: int, num_secrets: int, num_sums: int
):
  """In two pieces, of which the last server's shares are not used."""
  scheme = Shamir(FIELD, num_servers, threshold, num_secrets)
  rng = np.random.default_rng(num_sums)
  projection = Projection.fit(num_sums, 2, 16, 127, FIELD)
  values_WxL = rng.integers(-127, 128, (32, num_secrets))
  multiples_WxL = rng.integers(
    -projection.limit, projection.limit + 1, (32, num_secrets)
  )
  random_ZxW = jnp.uint32(
    rng.integers(0, FIELD.modulus, (scheme.num_random, 32))
  )
  words_LxW = FIELD.from_signed(jnp.int32(values_WxL.T))
  shares_NxW = scheme.share_with(words_LxW, random_ZxW)
  sums_NxV = FIELD.add(
    *(
      projection.apply(shares_NxW[:, piece], jnp.int32(multiples_WxL[piece].T))
      for piece in (slice(0, 16), slice(16, 32))
    )
  )
  opening = scheme.opening(tuple(range(1, threshold + 1)))
  opened_LxV = scheme.open_shares(sums_NxV, opening)
  opened_V = FIELD.to_signed(opened_LxV).T.reshape(1, -1)
  total = projection.total(opened_V.astype(jnp.float32))
  assert total.tolist() == [float(np.sum(values_WxL * multiples_WxL))]


@pytest.mark.slow
@pytest.mark.parametrize('num_pieces', [1, 3])
@pytest.mark.parametrize('columns', [16, 17])
@pytest.mark.parametrize('num_sums', [1, 2, 5])
def test_no_sum_of_honest_values_wraps_around(
  num_sums: int, columns: int, num_pieces: int
):
  field, largest = PrimeField(100_003), 7
  projection = Projection.fit(num_sums, num_pieces, columns, largest, field)
  for sign in (-1, 1):
    words_W = field.from_signed(jnp.full(columns, sign * largest))
    greatest = jnp.full((1, columns), projection.limit)
    piece_V = projection.apply(words_W, greatest)
    opened_V = field.to_signed(field.sum(jnp.stack(num_pieces * [piece_V])))
    total = int(jnp.sum(opened_V))
    assert total == sign * num_pieces * columns * largest * projection.limit


def test_multiples_are_as_fine_as_the_field_allows():
  assert Projection.fit(1, 1, 16, 127, PrimeField(2**31 - 1)).limit == 127
  # 4 columns a sum: 4 x 127 x 98 is below half of p, 4 x 127 x 99 is not.
  assert Projection.fit(4, 1, 16, 127, PrimeField(100_003)).limit == 98


@pytest.mark.parametrize(('num_columns', 'largest'), [(64, 7), (200, 1)])
def test_fewest_sums_have_the_finest_multiples(num_columns: int, largest: int):
  field = PrimeField(100_003)
  num_sums = fewest_sums(num_columns, largest, field)
  assert num_sums > 0
  assert Projection.fit(num_sums, 1, num_columns, largest, field).limit == 127
  if num_sums > 1:
    fewer = Projection.fit(num_sums - 1, 1, num_columns, largest, field)
    assert fewer.limit < 127


def test_there_is_a_most_of_sums():
  assert fewest_sums(10**6, 8191, PrimeField(2**22 - 3)) == 256


def test_values_that_would_wrap_are_refused_with_the_cure():
  with pytest.raises(ValueError, match=r'100 honest.*up to 8191.*raise the pr'):
    Projection.fit(2, 1, 200, 8191, PrimeField(100_003))


@pytest.mark.parametrize('limit', [1, 5, 127])
def test_multiples_have_their_bounds_and_their_mean(limit: int):
  projection = Projection(1, limit, FIELD)
  vector_M = jnp.float32([0.0, -3.0, 1e-3, 0.4, -2.9, 3.0, 0.0])
  keys = jax.random.split(jax.random.key(0), 4000)
  rounded = np.asarray(
    jax.vmap(lambda key: projection.multiples(vector_M, key))(keys)
  )
  step = float(projection.step(vector_M))
  assert step == pytest.approx(3 / limit)
  assert np.abs(rounded).max() == limit
  np.testing.assert_array_equal(rounded[:, [0, 6]], 0)
  errors = rounded * step - np.asarray(vector_M)
  assert np.abs(errors).max() < step * (1 + 1e-5)
  # Five standard errors of what is either of two neighbours.
  assert np.abs(errors.mean(axis=0)).max() < 5 * step / 2 / np.sqrt(len(keys))


def test_multiples_of_nothing_are_nothing():
  projection = Projection(1, 5, FIELD)
  multiples_M = projection.multiples(jnp.zeros(3), jax.random.key(0))
  assert multiples_M.tolist() == [0, 0, 0]
  assert projection.step(jnp.zeros(3)) > 0
