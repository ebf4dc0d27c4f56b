"""Tests of `fps_jax.privacy.discrete_gaussian`."""

import functools
import itertools
import math
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy import stats

from fps_jax.privacy import reference
from fps_jax.privacy.discrete_gaussian import (
  LARGEST_VARIANCE,
  DiscreteGaussian,
  log2_distance,
  make_table,
)
from fps_jax.sharing import chacha, on_host

KEY = np.arange(8, dtype=np.uint32)
SMALL = [Fraction(1, 3), Fraction(9, 4)]


def exp_of_minus(x: Fraction) -> int:
  """Returns 2^400 / exp(x) for x >= 0, by a sum of Taylor's in fractions."""
  numerator = denominator = 1
  for n in range(3 * math.ceil(x) + 150, 0, -1):
    denominator *= x.denominator * n
    numerator = denominator + x.numerator * numerator
  return (denominator << 400) // numerator


@functools.lru_cache
def exact(variance: Fraction) -> list[Fraction]:
  """Returns the probabilities of the magnitudes, from the definition."""
  last = DiscreteGaussian(variance).largest + 5
  weights = [exp_of_minus(m * m / (2 * variance)) for m in range(last + 1)]
  doubled = [weights[0], *(2 * weight for weight in weights[1:])]
  total = sum(doubled)
  return [Fraction(weight, total) for weight in doubled]


def looked_up(variance: Fraction) -> list[Fraction]:
  """Returns the probabilities of the magnitudes that a table gives."""
  thresholds, others = make_table(variance)
  masses = [0] * len(thresholds)
  for column, threshold in enumerate(thresholds):
    masses[column] += threshold
    masses[others[column]] += 2**192 - threshold
  return [Fraction(mass, len(masses) * 2**192) for mass in masses]


def p_value(draws: np.ndarray, variance: Fraction) -> float:
  """Returns that of a chi-square test of integers; rare ones are one class."""
  signed = {0: float(exact(variance)[0])}
  for m, probability in enumerate(exact(variance)[1:], 1):
    signed[m] = signed[-m] = float(probability) / 2
  common = [x for x, p in signed.items() if p * len(draws) > 10]
  observed = [int(np.sum(draws == x)) for x in common]
  expected = [signed[x] * len(draws) for x in common]
  observed.append(len(draws) - sum(observed))
  expected.append(len(draws) - sum(expected))
  return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.parametrize('variance', SMALL)
def test_table_has_the_exact_probabilities_within_the_stated_distance(
  variance: Fraction,
) -> None:
  pairs = itertools.zip_longest(
    exact(variance), looked_up(variance), fillvalue=Fraction(0)
  )
  distance = sum(abs(a - b) for a, b in pairs) / 2
  assert 0 < distance < Fraction(2) ** math.ceil(log2_distance(1))
  # Not any nearer than it is said to be: the bound is of this size.
  assert log2_distance(2**70) < -119


def test_table_of_the_largest_variance_is_a_distribution() -> None:
  variance = Fraction(LARGEST_VARIANCE)
  masses = looked_up(variance)
  assert sum(masses) == 1
  second = sum(m * m * float(mass) for m, mass in enumerate(masses))
  assert second == pytest.approx(LARGEST_VARIANCE, rel=1e-9)


@pytest.mark.parametrize('variance', [Fraction(1, 3), Fraction(2001, 2)])
def test_vectorised_draws_are_those_of_plain_integers_word_by_word(
  variance: Fraction,
) -> None:
  sampler = DiscreteGaussian(variance)
  thresholds = sampler.table.thresholds
  rng = np.random.default_rng(0)
  words_7xW = rng.integers(2**32, size=(7, 700), dtype=np.uint32)
  for place in range(0, 700, 2):
    # So many limbs are the threshold's own; of some, the next is off by one.
    column = int(words_7xW[0, place]) % len(thresholds)
    raw = thresholds[column].to_bytes(24, 'big')
    num_equal = place // 2 % 7
    words_7xW[1:, place][:num_equal] = np.frombuffer(raw, '>u4')[:num_equal]
  draws = jax.jit(lambda words: sampler.choose(lambda i: words[i]))(words_7xW)
  expected = [sampler.choose_plainly(words.tolist()) for words in words_7xW.T]
  np.testing.assert_array_equal(draws, expected)


def test_draws_are_of_the_keystream_of_their_places() -> None:
  """By OpenSSL's words, and whatever is drawn beside them."""
  sampler = DiscreteGaussian(Fraction(9, 4))
  state = np.zeros((7, chacha.STATE_WORDS), np.uint32)
  state[:, :8], state[:, 8], state[:, 9] = KEY, 3, np.arange(7)
  words_7x32 = on_host.keystream(state, 32)
  draw = jax.jit(lambda first: sampler.draw(KEY, first, 20))
  draws = draw(48)
  expected = [
    sampler.choose_plainly(words.tolist()) for words in words_7x32[:, :20].T
  ]
  assert draws.tolist() == expected
  assert draw(64)[:4].tolist() == draws[16:].tolist()


@pytest.mark.parametrize('variance', SMALL)
def test_draws_pass_a_test_that_a_rounded_gaussian_fails(
  variance: Fraction,
) -> None:
  size = 2**18
  sampler = DiscreteGaussian(variance)
  draws = np.asarray(jax.jit(lambda: sampler.draw(KEY, 0, size))())
  assert p_value(draws, variance) > 1e-3
  normal = np.random.default_rng(0).normal(0, float(variance) ** 0.5, size)
  assert p_value(np.round(normal).astype(int), variance) < 1e-9


def test_sampler_of_the_paper_passes_the_same_test() -> None:
  variance = Fraction(9, 4)
  rng = np.random.default_rng(0)

  def below(n: int) -> int:
    return int(rng.integers(n))

  draws = [reference.discrete_gaussian(variance, below) for _ in range(4000)]
  assert p_value(np.array(draws), variance) > 1e-3


def test_no_draw_is_beyond_the_largest() -> None:
  sampler = DiscreteGaussian(Fraction(1, 3))
  for first, limb in itertools.product(range(16), (0, 2**32 - 1)):
    assert 0 <= sampler.choose_plainly([first, *[limb] * 6]) <= sampler.largest


@pytest.mark.parametrize(
  ('variance', 'expected'),
  [
    (Fraction(0), 'variance=0 must be above 0'),
    (Fraction(LARGEST_VARIANCE + 1), 'at most 16000000: lower the levels'),
    (2.25, r'variance=2\.25 must be a fractions\.Fraction'),
  ],
)
def test_variance_out_of_range_is_refused(variance, expected: str) -> None:
  with pytest.raises(ValueError, match=expected):
    DiscreteGaussian(variance)


def test_first_that_is_no_block_is_refused() -> None:
  with pytest.raises(ValueError, match='first=8 must be a multiple of 16'):
    DiscreteGaussian(Fraction(1)).draw(KEY, 8, 20)
