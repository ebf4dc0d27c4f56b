"""Tests of `fps_jax.sharing.randomness`: uniform words, keys never reused."""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import numpy as np
import pytest

from fps_jax.sharing import on_host, randomness, reference
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.randomness import Purpose

# Of p = 2 no draw is repeated, of 2^31 - 1 hardly any, of those just above a
# power of two (5, 17, 257, 2^16 + 1, 2^30 + 3) up to half.
PRIMES = (2, 5, 17, 257, 65537, 1073741827, 2**22 - 3, 2**31 - 1)
# Of the last, a quarter is repeated; even 32 bits modulo it would be biased.
SAMPLED = pytest.mark.parametrize('p', [2, 3, 11, 1610612741])
DRAWERS = pytest.mark.parametrize('name', ['xla', 'host'])
SIZE = 2**17
# Of most tests, so that each drawer is compiled once: keys, words.
SHAPE = (3, 37)


def make_keys(num_keys: int) -> np.ndarray:
  rng = np.random.default_rng(num_keys)
  return rng.integers(2**32, size=(num_keys, 8), dtype=np.uint32)


@functools.cache
def drawer(name: str, p: int) -> Callable:
  """Returns (keys, first word, number of words) -> words."""
  field = PrimeField(p)
  if name == 'host':
    return functools.partial(on_host.uniform, field=field)
  uniform = functools.partial(randomness.uniform, field=field)
  return jax.jit(uniform, static_argnums=2)


def as_bytes(key_8: np.ndarray) -> bytes:
  return key_8.astype('<u4').tobytes()


@functools.cache
def sample(p: int) -> np.ndarray:
  return np.asarray(drawer('host', p)(make_keys(1), 0, SIZE))[0]


def draw_bits(num_bits: int) -> np.ndarray:
  rng = np.random.default_rng(1)
  return rng.integers(2**num_bits, size=SIZE, dtype=np.uint32)


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


@pytest.mark.parametrize(
  ('p', 'name'),
  [
    *itertools.product(PRIMES, ['host']),
    # A second each to compile.
    *itertools.product([5, 1073741827, 2**31 - 1], ['xla']),
  ],
)
def test_words_are_those_of_the_reference(p: int, name: str) -> None:
  keys, first_word = make_keys(3), 48
  words = drawer(name, p)(keys, first_word, 37)
  assert words.dtype == np.uint32
  assert words.shape == SHAPE
  for key, row in zip(keys, words, strict=True):
    expected = reference.uniform(as_bytes(key), first_word, 37, p)
    assert row.tolist() == expected


# With p = 5, three draws of eight are repeated.
@pytest.mark.parametrize('name', ['xla', 'host'])
def test_words_depend_neither_on_number_nor_on_first_word(name: str) -> None:
  draw, keys = drawer(name, 5), make_keys(3)
  words = np.asarray(draw(keys, 0, 200))
  for first_word in (0, 16, 48, 160):
    expected = words[:, first_word : first_word + 37]
    np.testing.assert_array_equal(draw(keys, first_word, 37), expected)


@DRAWERS
def test_words_depend_on_their_key_alone(name: str) -> None:
  draw, keys, others = drawer(name, 5), make_keys(3), make_keys(6)[3:]
  rows = np.asarray(draw(keys, 0, 37))
  assert len({row.tobytes() for row in rows}) == 3
  for i in range(3):
    beside_others = others.copy()
    beside_others[2 - i] = keys[i]
    drawn = np.asarray(draw(beside_others, 0, 37))
    np.testing.assert_array_equal(drawn[2 - i], rows[i])
    assert len({row.tobytes() for row in drawn}) == 3


def test_vmapped_rows_stop_redrawing_each_on_its_own() -> None:
  field, keys, firsts = PrimeField(5), make_keys(6), np.uint32([0, 2**31])

  def draw(keys, first_word):
    return randomness.uniform(keys, first_word, 37, field)

  every = jax.jit(jax.vmap(draw))(keys.reshape(2, 3, 8), firsts)
  for rows, three, first in zip(every, np.split(keys, 2), firsts, strict=True):
    expected = drawer('host', 5)(three, int(first), 37)
    np.testing.assert_array_equal(rows, expected)


def test_words_need_no_jit() -> None:
  words = randomness.uniform(make_keys(3), 16, 37, PrimeField(5))
  expected = drawer('host', 5)(make_keys(3), 16, 37)
  np.testing.assert_array_equal(words, expected)


@DRAWERS
def test_no_key_or_no_word_draws_nothing(name: str) -> None:
  for num_keys, num_words in ((0, 4), (2, 0), (0, 0)):
    words = drawer(name, 7)(make_keys(num_keys), 0, num_words)
    assert words.dtype == np.uint32
    assert words.shape == (num_keys, num_words)


@SAMPLED
def test_every_element_is_as_likely_as_any_other(p: int) -> None:
  assert sample(p).max() < p
  assert is_uniform(sample(p), p)


@pytest.mark.parametrize('p', [3, 5, 11, 1610612741])
def test_that_test_rejects_bits_modulo_p(p: int) -> None:
  assert not is_uniform(draw_bits(PrimeField(p).bits) % p, p)


def test_that_test_rejects_32_bits_modulo_a_large_prime() -> None:
  assert not is_uniform(draw_bits(32) % 1610612741, 1610612741)


@pytest.mark.parametrize('p', [2, 3, 11])
def test_neighbouring_elements_are_independent(p: int) -> None:
  assert neighbours_are_independent(sample(p), p)


@pytest.mark.parametrize('p', [3, 11])
def test_that_test_rejects_words_redrawn_in_pairs(p: int) -> None:
  bits = draw_bits(PrimeField(p).bits)
  redrawn = np.repeat(sample(p)[: SIZE // 2], 2)
  words = np.where(bits < p, bits, redrawn)
  assert is_uniform(words, p)
  assert not neighbours_are_independent(words, p)


@pytest.mark.parametrize('p', [2, 3, 5, 11, 17, 257])
def test_every_element_occurs(p: int) -> None:
  words = on_host.uniform(make_keys(1), 0, 20 * p, PrimeField(p))
  assert set(words.ravel().tolist()) == set(range(p))


def test_purposes_are_those_of_the_reference() -> None:
  named = {purpose.name.lower(): int(purpose) for purpose in Purpose}
  assert named == reference.PURPOSES


def test_keys_are_those_of_the_reference() -> None:
  root = randomness.root_key(2**63 + 5)
  assert as_bytes(root) == reference.root_key(2**63 + 5)
  key = randomness.round_key(root, 2**32 - 1)
  expected = reference.derive(as_bytes(root), 'round', 2**32 - 1)
  assert as_bytes(key) == expected
  for purpose in Purpose:
    child = randomness.derive(key, purpose, 1, 2**32 - 1, 3)
    name = purpose.name.lower()
    assert child.dtype == np.uint32
    assert as_bytes(child) == reference.derive(expected, name, 1, 2**32 - 1, 3)
    rows = randomness.keys(key, purpose, 3, owners=2**32 - 1)
    assert rows.shape == (3, 8)
    assert [as_bytes(row) for row in rows] == reference.keys(
      expected, name, 3, 2**32 - 1
    )


@pytest.mark.slow
def test_no_two_names_give_one_key() -> None:
  roots = [randomness.root_key(seed) for seed in (0, 1)]
  numbers = (0, 1, 2, 2**16, 2**32 - 1)
  grid = list(itertools.product(Purpose, numbers, numbers, numbers))
  keys = {as_bytes(root) for root in roots}
  keys |= {
    as_bytes(randomness.derive(root, *names))
    for root in roots
    for names in grid
  }
  assert len(keys) == 2 * len(grid) + 2


def test_no_owner_has_a_key_of_another() -> None:
  key = randomness.round_key(randomness.root_key(0), 0)
  drawn = np.concatenate([
    randomness.keys(key, purpose, 5, owner)
    for purpose in Purpose
    for owner in range(4)
  ])  # fmt: skip
  assert len(np.unique(drawn, axis=0)) == len(drawn) == 5 * 4 * len(Purpose)
  # More of them are the same and some new.
  np.testing.assert_array_equal(
    randomness.keys(key, Purpose.SHARE, 2, 3),
    randomness.keys(key, Purpose.SHARE, 5, 3)[:2],
  )
  assert randomness.keys(key, Purpose.SHARE, 0).shape == (0, 8)


def test_no_key_is_part_of_the_words_that_it_draws() -> None:
  # A child is a block of the cipher whose nonce names its purpose, words are
  # blocks whose nonce does not.
  root = randomness.root_key(0)
  children = [randomness.derive(root, purpose) for purpose in Purpose]
  field = PrimeField(2**31 - 1)
  words = on_host.uniform(root[None], 0, 16 * 64, field)
  low_bits = np.uint32(2**31 - 1)
  assert not np.isin(np.array(children) & low_bits, words).any()


def test_root_key_depends_on_every_bit_of_the_seed() -> None:
  seeds = [0, *(2**bit for bit in range(64))]
  keys = {as_bytes(randomness.root_key(seed)) for seed in seeds}
  assert len(keys) == 65
  for seed in (-1, 2**64):
    with pytest.raises(ValueError, match=rf'seed={seed} must be in \[0, '):
      randomness.root_key(seed)


def test_root_key_is_reproducible_only_from_a_seed() -> None:
  for seed in (0, 7):
    key = randomness.make_root_key('seed', seed)
    np.testing.assert_array_equal(key, randomness.root_key(seed))
  fresh = [randomness.fresh_root_key() for _ in range(2)]
  fresh += [randomness.make_root_key('os', 7) for _ in range(2)]
  for key in fresh:
    assert key.dtype == np.uint32
    assert key.shape == (8,)
  assert len({as_bytes(key) for key in fresh}) == 4


def test_unknown_entropy_raises() -> None:
  expected = r"entropy='dice' is not one of \('seed', 'os'\)"
  with pytest.raises(ValueError, match=expected):
    randomness.make_root_key('dice', 0)


@pytest.mark.parametrize('draw', [randomness.uniform, on_host.uniform])
@pytest.mark.parametrize('first_word', [1, 15, 17])
def test_first_word_inside_a_block_is_refused(draw, first_word):
  with pytest.raises(ValueError, match=f'first_word={first_word} must be a mu'):
    draw(np.zeros((1, 8), np.uint32), first_word, 16, PrimeField(11))
