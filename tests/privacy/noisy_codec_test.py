"""Tests of `fps_jax.privacy.noisy_codec`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.privacy import rounding
from fps_jax.privacy.mechanism import make_mechanism
from fps_jax.privacy.noisy_codec import Draws, NoisyCodec
from fps_jax.privacy.wrapping import Words
from fps_jax.sharing.field import PrimeField

FIELD = PrimeField(2**16 - 15)
SIZE = 496
WORDS = Words(4, 1, dimension=SIZE, rounds=1, prime=FIELD.modulus)
CODEC = NoisyCodec(FIELD, make_mechanism(1.0, 3, WORDS, 2**-40))
NOISE_KEY = np.arange(8, dtype=np.uint32)


# Compiled for one shape, as far as tests can.
ENCODE = jax.jit(CODEC.encode)
NOISE = np.asarray(jax.jit(lambda: CODEC.noise.draw(NOISE_KEY, 0, SIZE))())


def draws(attempt: int = 0, is_within: bool = True) -> Draws:
  return Draws(
    jax.random.key(3),
    jnp.asarray(NOISE_KEY),
    jnp.int32(attempt),
    jnp.asarray(is_within),
  )


def values() -> np.ndarray:
  """Returns a vector as long as the clip."""
  vector = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
  return vector / np.linalg.norm(vector)


def rounded(attempt: int = 0) -> np.ndarray:
  return np.asarray(CODEC.round(values(), jax.random.key(3), attempt))


@pytest.mark.slow
def test_words_stand_for_rounded_values_plus_noise() -> None:
  for attempt in (0, 1):
    words = ENCODE(values(), draws(attempt))
    expected = rounded(attempt) + NOISE
    np.testing.assert_array_equal(FIELD.to_signed(words), expected)
    decoded = CODEC.decode(words) * CODEC.levels
    np.testing.assert_allclose(decoded, expected, rtol=1e-6)
  assert np.any(rounded(0) != rounded(1))
  assert np.std(NOISE) > 10


def test_rounded_values_are_next_to_exact_ones() -> None:
  exact = values().astype(np.float64) * CODEC.levels
  assert np.all(np.abs(rounded() - exact) < 1 + 1e-3)


def test_some_roundings_hold_the_bound_and_not_all() -> None:
  # A step longer than the clip: otherwise hardly any would not.
  longer = values() * np.float32(1 + 1 / CODEC.levels)
  integers = jnp.stack(
    [CODEC.round(longer, jax.random.key(3), attempt) for attempt in range(20)]
  )
  within = CODEC.is_within(rounding.squares_of_integers(integers))
  exact = np.sum(np.asarray(integers, np.int64) ** 2, axis=1)
  assert within.tolist() == (exact <= CODEC.mechanism.squared_norm).tolist()
  assert 3 < np.sum(within) < 20


def test_rounding_that_is_too_long_is_sent_as_noise_alone() -> None:
  words = ENCODE(values(), draws(is_within=False))
  np.testing.assert_array_equal(FIELD.to_signed(words), NOISE)


def test_values_beyond_the_clip_are_held_to_it_whoever_sends_them() -> None:
  large = np.full(SIZE, 2.0, np.float32)
  sent = FIELD.to_signed(ENCODE(large, draws(), 0, True)) - NOISE
  assert set(sent.tolist()) == {CODEC.levels}


def test_tiles_carry_the_words_of_the_whole() -> None:
  whole = ENCODE(values(), draws())
  encode = jax.jit(lambda tile, first: CODEC.encode(tile, draws(), first))
  for first in (0, 32, 240):
    tile = encode(values()[first : first + 32], first)
    np.testing.assert_array_equal(tile, whole[first : first + 32])


def test_sums_decode_to_the_last_that_does_not_wrap() -> None:
  largest = FIELD.modulus // 2
  words = FIELD.from_signed(jnp.int32([largest, -largest]))
  decoded = CODEC.decode(words) * CODEC.levels
  np.testing.assert_allclose(decoded, [largest, -largest], rtol=1e-6)
  beyond = CODEC.decode(FIELD.add(words, jnp.uint32([1, FIELD.modulus - 1])))
  np.testing.assert_allclose(beyond, -CODEC.decode(words), rtol=1e-6)


def test_counts_carry_no_noise() -> None:
  assert CODEC.encode_count(jnp.int32(1)) == 1
  assert CODEC.decode_count(jnp.uint32(4)) == 4.0


def test_prime_of_another_field_is_refused() -> None:
  with pytest.raises(ValueError, match='made for the prime 65521'):
    NoisyCodec(PrimeField(2**19 - 1), CODEC.mechanism)


def test_counts_that_could_wrap_are_refused() -> None:
  with pytest.raises(ValueError, match='would wrap: use a larger prime'):
    NoisyCodec(FIELD, CODEC.mechanism, max_count=FIELD.modulus // 2)
