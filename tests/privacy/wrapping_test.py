"""Tests of `fps_jax.privacy.wrapping`: sums at the bound of the field."""

import itertools
import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.privacy.discrete_gaussian import DiscreteGaussian
from fps_jax.privacy.wrapping import Words, log2_wrap_probability
from fps_jax.sharing.field import PrimeField


def of_noise(variance: Fraction, num_clients: int) -> dict[int, float]:
  """Returns the probabilities of a sum of draws, from the definition."""
  last = DiscreteGaussian(variance).largest
  weights = {
    x: math.exp(-x * x / (2 * float(variance))) for x in range(-last, last + 1)
  }
  total = sum(weights.values())
  sums = {0: 1.0}
  for _ in range(num_clients):
    new: dict[int, float] = {}
    for a, b in itertools.product(sums, weights):
      new[a + b] = new.get(a + b, 0.0) + sums[a] * weights[b] / total
    sums = new
  return sums


@pytest.mark.parametrize('prime', [7, 11, 13])
def test_every_sum_in_a_tiny_field_is_opened_as_itself_or_wraps(
  prime: int,
) -> None:
  """All of two clients' roundings and noise, and of what becomes of them."""
  field, variance, levels = PrimeField(prime), Fraction(1, 3), 1
  words = Words(2, levels, dimension=1, rounds=1, prime=prime)
  bound = 2 ** log2_wrap_probability(words, variance)
  noise = of_noise(variance, 2)
  largest = prime // 2
  probabilities = {}
  for first, second in itertools.product(range(-levels, levels + 1), repeat=2):
    exact = [first + second + x for x in noise]
    elements = jnp.uint32([x % prime for x in exact])
    is_wrapped = np.asarray(field.to_signed(elements)) != exact
    np.testing.assert_array_equal(is_wrapped, np.abs(exact) > largest)
    probabilities[first, second] = sum(
      probability
      for probability, wraps in zip(noise.values(), is_wrapped, strict=True)
      if wraps
    )
  most = max(probabilities.values())
  assert 0 < most <= bound
  # A bound of tails alone, and yet of their size.
  assert prime == 7 or bound < most ** (1 / 3)


def test_bound_counts_words_of_all_rounds() -> None:
  words = Words(3, 5, dimension=64, rounds=2, prime=251)
  one = log2_wrap_probability(
    words._replace(dimension=1, rounds=1), Fraction(9)
  )
  assert one < -30
  assert log2_wrap_probability(words, Fraction(9)) == pytest.approx(one + 7)


def test_bound_is_none_where_sums_wrap_without_noise() -> None:
  words = Words(3, 5, dimension=1, rounds=1, prime=31)
  # 3 x 5 = 15 = (p - 1) / 2 does not, and noise of 1 does.
  assert log2_wrap_probability(words, Fraction(1, 10**6)) < -1000
  assert log2_wrap_probability(words._replace(prime=29), Fraction(1)) == 0


def test_rotated_sums_stay_within_the_bound() -> None:
  """By the exact distribution of a rotated coordinate of a flat vector."""
  block, levels = 1024, 4096
  # Each of 1,024 values is levels / 32, and adds +- levels / 1024 = +-4.
  for prime, most in (
    (2**10 - 3, 1.0),
    (2**11 - 9, 2**-6),
    (2**12 - 3, 2**-40),
  ):
    words = Words(1, levels, 1, 1, prime, block)
    room = prime // 2
    wraps = sum(
      math.comb(block, k) / 2**block
      for k in range(block + 1)
      if abs(4 * (2 * k - block)) > room
    )
    bound = 2 ** log2_wrap_probability(words, Fraction(1))
    assert wraps <= bound <= most


@pytest.mark.parametrize('name', Words._fields)
def test_numbers_out_of_range_are_refused_by_name(name: str) -> None:
  words = Words(2, 1, 1, 1, 31)._replace(**{name: -1})
  with pytest.raises(ValueError, match=f'{name}=-1 must be at least'):
    log2_wrap_probability(words, Fraction(1))
