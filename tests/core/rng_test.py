"""Tests of `fps_jax.core.rng`: named streams."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from fps_jax.core.rng import Stream, bits_16, device_key, host_generator

# As many ids as streams are used with, none, one or two.
IDS = [(1,), (2,), (1, 2), (2, 1), (1, 1), (3, 70_000)]
SEEDS = [0, 1, 7]


def host_draw(seed: int, stream: Stream, *ids: int) -> tuple[int, ...]:
  generator = host_generator(seed, stream, *ids)
  return tuple(generator.integers(2**62, size=2).tolist())


def device_draw(seed: int, stream: Stream, *ids: int) -> tuple[int, ...]:
  key = device_key(jax.random.key(seed), stream, *ids)
  return tuple(jax.random.key_data(key).tolist())


draws = pytest.mark.parametrize('draw', [host_draw, device_draw])


def test_no_two_streams_have_one_number():
  assert len(Stream.__members__) == len(set(Stream.__members__.values()))
  assert {int(stream) for stream in Stream} == set(range(len(Stream)))


@draws
def test_no_two_streams_share_a_draw(draw):
  cases = list(itertools.product(SEEDS, Stream, IDS))
  drawn = {draw(seed, stream, *ids) for seed, stream, ids in cases}
  assert len(drawn) == len(cases)


def test_later_attempts_at_a_round_draw_what_no_other_draws():
  """Their ids are one more than those of the first attempts."""
  rounds, attempts, clients = range(4), range(1, 4), range(4)
  of_cohorts = [*itertools.product(rounds)]
  of_cohorts += itertools.product(rounds, attempts)
  of_batches = [*itertools.product(rounds, clients)]
  of_batches += itertools.product(rounds, attempts, clients)
  for stream, cases in (
    (Stream.COHORT, of_cohorts),
    (Stream.DROPOUT, of_cohorts),
    (Stream.BATCHES, of_batches),
  ):
    drawn = {host_draw(0, stream, *ids) for ids in cases}
    assert len(drawn) == len(cases)


@draws
def test_streams_without_ids_differ(draw):
  cases = list(itertools.product(SEEDS, Stream))
  assert len({draw(*case) for case in cases}) == len(cases)


@draws
def test_equal_names_give_equal_draws(draw):
  for seed, stream, ids in itertools.product(SEEDS, Stream, IDS):
    assert draw(seed, stream, *ids) == draw(seed, stream, *ids)


@draws
def test_draws_do_not_depend_on_the_order_they_are_made_in(draw):
  cases = list(itertools.product(Stream, IDS))
  forwards = [draw(3, stream, *ids) for stream, ids in cases]
  backwards = [draw(3, stream, *ids) for stream, ids in reversed(cases)]
  assert forwards == backwards[::-1]


def test_a_generator_does_not_advance_another():
  one = host_generator(0, Stream.BATCHES, 1, 2)
  untouched = one.random(4)
  two = host_generator(0, Stream.BATCHES, 1, 2)
  first = two.random(2)
  host_generator(0, Stream.BATCHES, 1, 3).random(100)
  host_generator(0, Stream.COHORT, 1).random(100)
  np.testing.assert_array_equal(np.append(first, two.random(2)), untouched)


def test_root_key_may_be_used_again():
  key = jax.random.key(0)
  device_key(key, Stream.UPDATE, 1)
  assert jnp.array_equal(
    jax.random.key_data(key), jax.random.key_data(jax.random.key(0))
  )


def test_device_keys_are_the_same_when_traced():
  key = jax.random.key(4)
  ids = jnp.int32([0, 5, 9])
  traced = jax.jit(jax.vmap(lambda i: device_key(key, Stream.UPDATE, 2, i)))
  for i, expected in zip(ids, traced(ids), strict=True):
    actual = device_key(key, Stream.UPDATE, 2, int(i))
    assert jnp.array_equal(
      jax.random.key_data(actual), jax.random.key_data(expected)
    )


@pytest.mark.slow
def test_draw_of_bits_does_not_depend_on_where_the_array_begins():
  draws = np.asarray(bits_16(jax.random.key(0), 0, 40))
  draw = jax.jit(bits_16, static_argnums=2)
  for first, size in ((0, 1), (0, 39), (4, 7), (16, 24), (36, 4)):
    part = draw(jax.random.key(0), first, size)
    np.testing.assert_array_equal(part, draws[first : first + size])


def test_bits_are_the_halves_of_the_words_of_threefry():
  key = jax.random.key(3)
  draws = np.asarray(bits_16(key, 8, 4))
  counts = jnp.uint32([2, 0])
  words = np.asarray(threefry_2x32(jax.random.key_data(key), counts))
  expected = [words[0] & 0xFFFF, words[0] >> 16, words[1] & 0xFFFF]
  assert draws.tolist() == [*expected, words[1] >> 16]


def test_bits_of_keys_differ_and_are_uniform():
  draws = np.concatenate(
    [np.asarray(bits_16(jax.random.key(k), 0, 2**16)) for k in range(4)]
  )
  assert draws.min() >= 0
  assert draws.max() < 2**16
  for bit in range(16):
    # Hoeffding: off by more with a probability below 2 exp(-20).
    share = (draws >> bit & 1).mean()
    assert abs(share - 0.5) < (10 / draws.size) ** 0.5
  # Equal draws at a place are as rare as chance has it: 1 in 2^16.
  assert np.sum(draws[: 2**16] == draws[2**16 : 2**17]) < 20
