"""Tests of `fps_jax.sharing.randomness`."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import randomness
from fps_jax.sharing.field import PrimeField

# Draws that are repeated: none of p = 2, a quarter of the last, of which even
# 32 bits modulo p would be biased.
PRIMES = pytest.mark.parametrize('p', [2, 3, 11, 1610612741])
SIZE = 2**17


@functools.cache
def draw(p: int) -> np.ndarray:
  field = PrimeField(p)
  sampler = jax.jit(lambda key: randomness.uniform(key, (SIZE,), field))
  return np.asarray(sampler(jax.random.key(1)))


def draw_bits(p: int) -> np.ndarray:
  bits = PrimeField(p).bits
  return np.random.default_rng(1).integers(2**bits, size=SIZE, dtype=np.uint32)


def is_plausible(counts: np.ndarray, probabilities: np.ndarray) -> bool:
  """Tests counts; rejects true probabilities with probability e^-20.

  The bound is Laurent and Massart's (2000, lemma 1) on a chi-square of `df`
  degrees: P(X >= df + 2 sqrt(df t) + 2 t) <= e^-t.
  """
  expected = counts.sum() * probabilities
  assert expected.min() > 100  # Else the statistic is not a chi-square.
  statistic = ((counts - expected) ** 2 / expected).sum()
  df, t = len(counts) - 1, 20
  return statistic < df + 2 * math.sqrt(df * t) + 2 * t


def is_uniform(words: np.ndarray, p: int) -> bool:
  cells = min(p, 13)
  counts = np.bincount(words.astype(np.uint64) * cells // p, minlength=cells)
  # Cell c holds the words w with w * cells // p == c, counted exactly.
  starts = [-(-c * p // cells) for c in range(cells + 1)]
  return is_plausible(counts, np.diff(starts) / p)


def neighbours_are_independent(words: np.ndarray, p: int) -> bool:
  left, right = words.reshape(-1, 2).T
  counts = np.bincount(left * p + right, minlength=p * p)
  return is_plausible(counts, np.full(p * p, p**-2.0))


@PRIMES
def test_every_element_is_as_likely_as_any_other(p: int) -> None:
  assert is_uniform(draw(p), p)


@pytest.mark.parametrize('p', [3, 5, 11, 1610612741])
def test_that_test_rejects_bits_modulo_p(p: int) -> None:
  assert not is_uniform(draw_bits(p) % p, p)


@pytest.mark.parametrize('p', [2, 3, 11])
def test_neighbouring_elements_are_independent(p: int) -> None:
  assert neighbours_are_independent(draw(p), p)


@pytest.mark.parametrize('p', [3, 11])
def test_that_test_rejects_words_redrawn_in_pairs(p: int) -> None:
  bits = draw_bits(p)
  redrawn = np.repeat(draw(p)[: SIZE // 2], 2)
  words = np.where(bits < p, bits, redrawn)
  assert is_uniform(words, p)
  assert not neighbours_are_independent(words, p)


@PRIMES
def test_elements_are_uint32_below_p(p: int) -> None:
  assert draw(p).dtype == np.uint32
  assert draw(p).max() < p


def test_key_fixes_the_words_and_another_key_changes_them() -> None:
  # With p = 5, three draws of eight are repeated: every key must stop alone.
  field = PrimeField(5)
  keys = jax.random.split(jax.random.key(0), 6)

  @jax.jit
  def draw_row(key):
    return randomness.uniform(key, (3, 40), field)

  rows = np.stack([draw_row(key) for key in keys])
  assert rows.shape == (6, 3, 40)
  assert len(np.unique(rows.reshape(6, -1), axis=0)) == 6
  np.testing.assert_array_equal(draw_row(keys[0]), rows[0])
  np.testing.assert_array_equal(jax.vmap(draw_row)(keys), rows)


def test_empty_shape_draws_nothing() -> None:
  words = randomness.uniform(jax.random.key(0), (0, 4), PrimeField(7))
  assert words.dtype == jnp.uint32
  assert words.shape == (0, 4)
