"""Tests of `fps_jax.sharing.codec`."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import codec as codec_module
from fps_jax.sharing import on_host
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField

FIELD = PrimeField(2**31 - 1)


def make(**changes: Any) -> Codec:
  """Returns a codec whose step, 1 / 512, is exact in float32."""
  attributes = {
    'field': FIELD,
    'clip': 127 / 512,
    'value_bits': 8,
    'max_clients': 100,
    'max_count': 1000,
  }
  return Codec(**(attributes | changes))


def encode(codec: Codec, values: np.ndarray, seed: int = 0) -> np.ndarray:
  """Returns the integers that the words stand for."""
  words = jax.jit(codec.encode)(jnp.float32(values), jax.random.key(seed))
  assert words.dtype == jnp.uint32
  assert words.shape == np.shape(values)
  assert (words < codec.field.modulus).all()
  return np.asarray(codec.field.to_signed(words))


def largest_bias(integers_RxV: np.ndarray, exact_V: np.ndarray) -> float:
  """Returns how far the mean over rows is from the exact quotients."""
  return float(np.abs(integers_RxV.mean(axis=0) - exact_V).max())


def test_value_is_rounded_to_one_of_its_two_neighbours() -> None:
  codec = make()
  values = np.random.default_rng(0).uniform(-codec.clip, codec.clip, 5000)
  values = values.astype(np.float32)
  quotients = values.astype(np.float64) / codec.step
  integers = encode(codec, values)
  is_floor = integers == np.floor(quotients)
  assert (is_floor | (integers == np.floor(quotients) + 1)).all()
  assert is_floor.any()
  assert not is_floor.all()


def test_multiple_of_the_step_is_kept() -> None:
  codec = make()
  multiples = np.arange(-codec.levels, codec.levels + 1)
  values = np.tile(multiples * codec.step, (100, 1))
  integers = encode(codec, values)
  np.testing.assert_array_equal(integers, np.tile(multiples, (100, 1)))


@pytest.mark.slow
def test_rounding_is_unbiased_over_every_draw(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  codec = make()
  # Instead of a generator, each draw of 16 bits once. The mean must be exact
  # for multiples of 1/16 and off by 2^-17 at most for others.
  sixteenths = np.arange(-32, 33) / 16
  others = np.random.default_rng(0).uniform(-codec.levels, codec.levels, 15)
  exact = np.concatenate([sixteenths, others])
  values = np.tile(exact * codec.step, (2**16, 1))
  draws = jnp.broadcast_to(jnp.arange(2**16)[:, None], values.shape)
  monkeypatch.setattr(codec_module, 'bits_16', lambda *_: draws.reshape(-1))
  means = encode(codec, values).mean(axis=0)
  np.testing.assert_array_equal(means[: len(sixteenths)], sixteenths)
  # In float32, the quotient is itself off by 2^-22 of the value.
  np.testing.assert_allclose(means, exact, rtol=2**-22, atol=1.001 * 2**-17)


def test_rounding_is_unbiased_over_keys() -> None:
  codec, rows = make(), 2**15
  exact = np.array([-126.9, -3.5, -0.25, -0.01, 0.0, 0.01, 0.5, 7.75, 126.3])
  values = np.tile(exact * codec.step, (rows, 1))
  # Hoeffding: a mean of draws in [0, 1] is off by more than this with
  # probability 2 exp(-2 rows bound^2) < 1e-8.
  bound = math.sqrt(10 / rows)
  assert largest_bias(encode(codec, values), exact) < bound
  # The same check rejects what is commonly done instead.
  for rounded in (np.round, np.floor, np.trunc):
    assert largest_bias(rounded(exact)[None], exact) > bound


@pytest.mark.parametrize(('clip', 'value_bits'), [(3.0, 2), (1e-3, 12)])
def test_sum_over_clients_is_off_by_less_than_a_step_each(
  clip: float, value_bits: int
) -> None:
  codec = make(clip=clip, value_bits=value_bits)
  rng = np.random.default_rng(0)
  values_CxM = rng.uniform(-clip, clip, (100, 2000)).astype(np.float32)
  values_CxM[:, 0], values_CxM[:, 1] = clip, -clip
  words_CxM = jax.jit(codec.encode)(values_CxM, jax.random.key(0))
  for clients in (1, 100):
    values = values_CxM[:clients]
    total = codec.decode(codec.field.sum(words_CxM[:clients]))
    assert total.dtype == jnp.float32
    error = np.abs(np.asarray(total, np.float64) - values.sum(0, np.float64))
    assert error.max() < clients * codec.step
    assert error.max() > 0


def test_sum_of_encoded_values_decodes_to_the_sum_of_the_rounded() -> None:
  codec = make()
  rng = np.random.default_rng(0)
  values = rng.uniform(-0.3, 0.3, (100, 500)).astype(np.float32)
  words = jax.jit(codec.encode)(values, jax.random.key(0))
  each = np.asarray(codec.decode(words), np.float64)
  total = codec.decode(codec.field.sum(words))
  np.testing.assert_array_equal(total, each.sum(0))


def test_keys_decide_the_rounding() -> None:
  codec = make()
  values = np.full(1000, 0.3 * codec.step, np.float32)
  encode = jax.jit(codec.encode)
  first, again, other = (
    np.asarray(encode(values, jax.random.key(seed))) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


@pytest.mark.slow
def test_key_of_chacha20_rounds_by_the_words_of_its_keystream() -> None:
  """Each value by that of its place, wherever a part of the vector begins."""
  codec = make()
  generator = np.random.default_rng(0)
  scaled = generator.uniform(-9, 9, 96).astype(np.float32)
  key_8 = np.arange(8, dtype=np.uint32)
  state = np.zeros(12, np.uint32)
  state[:8] = key_8
  draws = on_host.keystream(state, 96) & 0xFFFF
  floor = np.floor(scaled)
  expected = floor + (draws + 0.5 < (scaled - floor) * 2**16)
  found = codec_module.round_randomly(scaled, key_8, 0)
  np.testing.assert_array_equal(found, expected)
  part = codec_module.round_randomly(scaled[32:], key_8, 32)
  np.testing.assert_array_equal(part, expected[32:])
  words = codec.encode(scaled * np.float32(codec.step), jnp.asarray(key_8))
  assert words.dtype == jnp.uint32


def test_larger_values_are_clipped_and_counted() -> None:
  codec = make()
  above = np.nextafter(np.float32(codec.clip), np.float32(1))
  values = np.float32([above, -above, 1e30, -3e38, codec.clip, -codec.clip, 0])
  integers = encode(codec, values)
  largest = codec.levels
  expected = [largest, -largest, largest, -largest, largest, -largest, 0]
  assert integers.tolist() == expected
  count = codec.count_clipped(jnp.asarray(values))
  assert count.dtype == jnp.int32
  assert count == 4
  assert codec.count_clipped(jnp.full((2, 3), above)) == 6
  assert codec.count_clipped(jnp.full((2, 3), codec.clip)) == 0


def test_value_that_is_not_finite_is_encoded_as_0() -> None:
  integers = encode(make(), np.array([np.nan, np.inf, -np.inf, 0.0, -0.0]))
  assert integers.tolist() == [0, 0, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
  ('p', 'value_bits', 'max_clients'),
  [
    # 32767 x 32769 = 2^30 - 1 and 511 x 513 = 2^18 - 1 are (p - 1) / 2 itself.
    (2**31 - 1, 16, 32769),
    (2**22 - 3, 12, 1024),
    (2**19 - 1, 10, 513),
    (7, 2, 3),
  ],
)
def test_sum_that_could_wrap_is_refused_and_the_largest_other_is_exact(
  p: int, value_bits: int, max_clients: int
) -> None:
  shape = {'field': PrimeField(p), 'value_bits': value_bits, 'max_count': 1}
  message = (
    rf'a sum of {max_clients + 1} clients x {2 ** (value_bits - 1) - 1} levels '
    rf'\(value_bits={value_bits}\) reaches .* = {p // 2}, and would wrap'
  )
  with pytest.raises(ValueError, match=message):
    make(max_clients=max_clients + 1, **shape)
  codec = make(max_clients=max_clients, **shape)
  client = jnp.float32([codec.clip, -codec.clip, 9.0, -9.0])
  words = codec.encode(client, jax.random.key(0))
  total = codec.field.sum(jnp.broadcast_to(words, (max_clients, 4)))
  largest = max_clients * codec.levels
  expected = [largest, -largest, largest, -largest]
  assert codec.field.to_signed(total).tolist() == expected
  np.testing.assert_allclose(
    codec.decode(total), np.array(expected) * codec.step, rtol=1e-6
  )


@pytest.mark.parametrize(
  ('p', 'max_clients', 'max_count'),
  [(2**31 - 1, 9, 238609294), (2**19 - 1, 2, 262143), (11, 1, 10)],
)
def test_sum_of_counts_that_could_wrap_is_refused(
  p: int, max_clients: int, max_count: int
) -> None:
  shape = {'field': PrimeField(p), 'value_bits': 2, 'max_clients': max_clients}
  assert max_clients * max_count < p <= max_clients * (max_count + 1)
  message = (
    rf'a sum of {max_clients} sample counts of up to {max_count + 1} can reach '
    rf'{max_clients * (max_count + 1)}, beyond p - 1 = {p - 1}, and would wrap'
  )
  with pytest.raises(ValueError, match=message):
    make(max_count=max_count + 1, **shape)
  codec = make(max_count=max_count, **shape)
  counts = jnp.full((max_clients, 1), max_count, jnp.int32)
  total = codec.field.sum(codec.encode_count(counts))
  assert total.tolist() == [max_clients * max_count]
  assert codec.decode_count(total) == np.float32(max_clients * max_count)


def test_counts_are_exact() -> None:
  codec = make()
  counts = jnp.int32([0, 1, 600, 1000])
  words = codec.encode_count(counts)
  assert words.dtype == jnp.uint32
  assert words.tolist() == [0, 1, 600, 1000]
  decoded = codec.decode_count(codec.field.sum(words[:, None]))
  assert decoded.dtype == jnp.float32
  assert decoded.tolist() == [1601.0]


@pytest.mark.parametrize('value_bits', range(2, 17))
def test_levels_and_step_follow_the_bits(value_bits: int) -> None:
  codec = make(value_bits=value_bits, clip=2.0)
  # Sign and magnitude: one code of 2^bits stays unused.
  assert 2 * codec.levels + 1 == 2**value_bits - 1
  assert codec.step * codec.levels == pytest.approx(2.0, rel=1e-15)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'clip': 0.0}, r'clip=0\.0 must be above 0 and finite'),
    ({'clip': -1.0}, r'clip=-1\.0 must be'),
    ({'clip': math.inf}, 'clip=inf must be'),
    ({'clip': math.nan}, 'clip=nan must be'),
    ({'clip': 1e-40}, r'clip=1e-40 must be .* at least 1\.49e-36'),
    ({'clip': 1e39}, r'clip=1e\+39 must be .* at most 3\.4e\+38'),
    ({'value_bits': 1}, r'value_bits=1 must be in \[2, 16\]'),
    ({'value_bits': 17}, r'value_bits=17 must be in \[2, 16\]'),
    ({'max_clients': 0}, 'max_clients=0 and max_count=1000 must be at least 1'),
    ({'max_count': 0}, 'max_clients=100 and max_count=0 must be at least 1'),
  ],
)
def test_attributes_out_of_range_raise(
  changes: dict[str, Any], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    make(**changes)


@pytest.mark.slow
def test_draws_are_the_same_with_64_bit_types_on() -> None:
  codec, values = make(), np.linspace(-1, 1, 101, dtype=np.float32)
  narrow = codec.encode(jnp.asarray(values), jax.random.key(3))
  with jax.enable_x64(True):
    wide = codec.encode(jnp.asarray(values), jax.random.key(3))
  np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize('prime', [2**31 - 1, 2**22 - 3, 65_537])
def test_client_that_breaks_the_range_is_bounded_by_the_field_alone(prime: int):
  codec = make(field=PrimeField(prime), max_clients=10)
  values = jnp.float32([3.0, -3.0, 1e30, -1e30]) * codec.clip
  compiled = jax.jit(codec.encode)
  words = compiled(values, jax.random.key(0), 0, True)
  integers = np.asarray(codec.field.to_signed(words))
  # Three times the clip is a multiple of the step.
  np.testing.assert_array_equal(integers[:2], [381, -381])
  half = prime // 2
  assert half - half / 2**23 < integers[2] <= half
  assert integers[3] == -integers[2]
  kept = compiled(values, jax.random.key(0), 0, False)
  np.testing.assert_array_equal(
    codec.field.to_signed(kept), [127, -127, 127, -127]
  )
