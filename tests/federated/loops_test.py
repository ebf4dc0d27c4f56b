"""Tests of `fps_jax.federated.loops`."""

import jax
import jax.numpy as jnp
import pytest

from fps_jax.federated.loops import Turns, repeat


def add_turn(turn: jax.Array, total: jax.Array) -> jax.Array:
  return total * 3 + turn


@pytest.mark.parametrize('count', [0, 1, 5, 6])
def test_turns_beyond_the_count_are_left_out(count: int):
  expected = repeat(count, add_turn, jnp.int32(1))
  run = jax.jit(lambda limit: repeat(Turns(limit, 6), add_turn, jnp.int32(1)))
  assert run(count) == expected


@pytest.mark.parametrize(('limit', 'taken'), [(0, 0), (1, 3), (3, 3), (4, 6)])
def test_turns_are_left_out_by_whole_strides(limit: int, taken: int):
  run = jax.jit(lambda limit: repeat(Turns(limit, 9, 3), add_turn, 1))
  assert run(limit) == repeat(taken, add_turn, 1)


def test_trip_counts_are_known_where_the_limit_is_traced():
  def text(turns_of) -> str:
    run = jax.jit(lambda limit: repeat(turns_of(limit), add_turn, 1))
    return run.lower(jnp.int32(2)).compile().as_text()

  assert 'known_trip_count' not in text(lambda limit: limit)
  known = text(lambda limit: Turns(limit, 35, 7))
  assert known.count('known_trip_count') == known.count(' while(') == 2
