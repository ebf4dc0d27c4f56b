"""Tests of `fps_jax.federated.sums` with training that is a table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.federated.client import ClientResult
from fps_jax.federated.performance import Performance
from fps_jax.federated.sums import train_and_sum
from tests.helpers.table_clients import (
  CLIENT_IDS,
  CODEC,
  FIELD,
  KEY,
  MAX_COUNT,
  NUM_EXAMPLES,
  NUM_PARAMS,
  PERFORMANCES,
  PRESENT,
  PROTOCOLS,
  SHARED,
  SIZE,
  TILE,
  make_deltas,
  make_lone_plan,
  make_plan,
  make_round_plan,
  make_summation,
  opened,
  padded_positions,
  run,
  weighted_sum,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('scheme', ['none', *SHARED])
@pytest.mark.parametrize('execution', ['vmap', 'sequential'])
def test_sum_is_exact_where_nothing_is_rounded(scheme: str, execution: str):
  # Times n / 8 these are multiples of the step, so every sum is exact.
  deltas = make_deltas(multiple_of=8 / 1024)
  sums = run(deltas, scheme, Performance(2, execution))
  values, count = opened(scheme, sums)
  np.testing.assert_array_equal(values, weighted_sum(deltas))
  assert count == NUM_EXAMPLES.sum() == 23


# Sharing is costly to compile and adds nothing to what could differ; every
# chunk size and both executions are among its rows too.
@pytest.mark.parametrize(
  ('scheme', 'performances'),
  [
    ('ideal', PERFORMANCES),
    ('shamir', [PERFORMANCES[i] for i in (1, 2, 3, 4, 7)]),
    ('updates', [PERFORMANCES[i] for i in (2, 3)]),
  ],
)
def test_chunk_size_and_execution_do_not_change_a_bit(
  scheme: str, performances: list[Performance]
):
  deltas = make_deltas()
  results = [run(deltas, scheme, each) for each in performances]
  expected = jax.tree.map(np.asarray, results[0])
  for actual in results[1:]:
    # Not only what is opened: every server holds the same share.
    np.testing.assert_array_equal(actual.held, expected.held)
    for field in ('loss_sum', 'num_trained', 'clipped_values', 'is_finite'):
      np.testing.assert_array_equal(
        getattr(actual.metrics, field)[PRESENT],
        getattr(expected.metrics, field)[PRESENT],
      )


def test_chunk_size_changes_a_float_sum_in_the_last_bits_at_most():
  deltas = make_deltas()
  for performance in PERFORMANCES[2:5]:
    values, count = opened('none', run(deltas, 'none', performance))
    np.testing.assert_allclose(
      values, weighted_sum(deltas), rtol=1e-5, atol=1e-6
    )
    assert count == 23


@pytest.mark.parametrize('scheme', ['shamir', 'updates'])
def test_shared_sum_opens_to_the_bits_of_the_ideal_one(scheme: str):
  deltas = make_deltas()
  values, count = opened(scheme, run(deltas, scheme))
  expected, expected_count = opened('ideal', run(deltas))
  np.testing.assert_array_equal(values, expected)
  assert count == expected_count
  assert np.abs(values - weighted_sum(deltas)).max() < 5 / 1024


@pytest.mark.parametrize('scheme', SHARED)
def test_order_of_clients_does_not_change_a_bit(scheme: str):
  deltas = make_deltas()
  expected = run(deltas, scheme)
  order = [4, 2, 0, 3, 1, 5, 6]
  actual = run(deltas, scheme, plan=make_plan(order))
  np.testing.assert_array_equal(actual.held, expected.held)
  # Measures are in the order of the plan.
  np.testing.assert_array_equal(
    actual.metrics.loss_sum[:5],
    expected.metrics.loss_sum[np.array(order[:5])],
  )


@pytest.mark.parametrize('execution', ['vmap', 'sequential'])
@pytest.mark.parametrize('chunk_size', [2, 10])
def test_measures_are_those_of_each_client(execution: str, chunk_size: int):
  deltas = make_deltas()
  deltas[7, :4] = 1.0  # Weight 1: beyond the clip.
  deltas[5, :9] = 0.9  # Weight 1 / 8: within it.
  sums = run(deltas, 'ideal', Performance(chunk_size, execution))
  clients = CLIENT_IDS[PRESENT]
  assert sums.metrics.loss_sum.shape == CLIENT_IDS.shape
  np.testing.assert_array_equal(sums.metrics.loss_sum[PRESENT], clients / 2)
  np.testing.assert_array_equal(sums.metrics.num_trained[PRESENT], clients + 6)
  np.testing.assert_array_equal(
    sums.metrics.clipped_values[PRESENT], [4, 0, 0, 0, 0]
  )
  assert np.all(sums.metrics.is_finite[PRESENT])


@pytest.mark.parametrize('scheme', SHARED)
def test_draws_follow_the_client_the_tile_and_the_round(scheme: str):
  """Compares with words lifted one client and one tile at a time."""
  deltas = make_deltas()
  lift = jax.jit(PROTOCOLS['ideal'].lift)
  words = np.zeros(SIZE, object)
  for client, count in zip(CLIENT_IDS[PRESENT], NUM_EXAMPLES, strict=False):
    key = jax.random.fold_in(KEY, int(client))
    weighted = np.zeros(SIZE, np.float32)
    weighted[:NUM_PARAMS] = deltas[client] * np.float32(count / MAX_COUNT)
    for tile in range(SIZE // TILE):
      part = slice(tile * TILE, (tile + 1) * TILE)
      lifted = lift(
        weighted[part],
        np.zeros(TILE, bool),
        count,
        key,
        None,
        tile * TILE,
      )
      words[part] += np.asarray(lifted[0]).astype(object)
  words = (words % FIELD.modulus).astype(np.uint32)
  values, _ = opened(scheme, run(deltas, scheme))
  expected = CODEC.decode(jnp.asarray(words))
  np.testing.assert_array_equal(values, expected[:NUM_PARAMS])


def test_clients_tiles_and_rounds_draw_differently():
  half_steps = np.full((13, NUM_PARAMS), 0.5 / 1024, np.float32)

  def rounded(client, key=KEY):
    sums = run(half_steps, plan=make_lone_plan(client), key=key)
    values, _ = opened('ideal', sums)
    assert set(values * 1024) == {0, 1}
    return values

  one = rounded(1)
  assert not np.array_equal(one[:TILE], one[TILE : 2 * TILE])
  assert not np.array_equal(one, rounded(2))
  assert not np.array_equal(one, rounded(1, jax.random.key(6)))


def test_shares_of_two_clients_use_other_randomness():
  # Equal words, so equal random values would give equal shares.
  zeros = np.zeros((13, NUM_PARAMS), np.float32)

  def shares(client):
    sums = run(zeros, 'shamir', plan=make_lone_plan(client))
    return np.asarray(sums.held)

  one, other = shares(1), shares(2)
  assert np.all(one != other)
  # Within a client every word has its own, the count's among them.
  assert len(np.unique(one[0])) == SIZE


@pytest.mark.parametrize('scheme', SHARED)
@pytest.mark.parametrize('execution', ['vmap', 'sequential'])
def test_rows_of_padding_add_nothing(scheme: str, execution: str):
  deltas = make_deltas(multiple_of=8 / 1024)
  # A weight that padding must not have: -1 alone says who is padding.
  plan = dataclasses.replace(
    make_plan(), num_examples=np.where(PRESENT, NUM_EXAMPLES, 8)
  )
  sums = run(deltas, scheme, Performance(2, execution), plan=plan)
  values, count = opened(scheme, sums)
  np.testing.assert_array_equal(values, weighted_sum(deltas))
  assert count == 23


@pytest.mark.parametrize('scheme', SHARED)
def test_nobody_sums_to_nothing(scheme: str):
  nobody = dataclasses.replace(
    make_plan(), client_ids=np.full(len(PRESENT), -1, np.int32)
  )
  values, count = opened(scheme, run(make_deltas(), scheme, plan=nobody))
  np.testing.assert_array_equal(values, 0)
  assert count == 0


@pytest.mark.parametrize('scheme', ['none', *SHARED])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_update_that_is_not_finite_is_left_out(scheme: str, bad: float):
  deltas = make_deltas(multiple_of=8 / 1024)
  deltas[3, NUM_PARAMS - 1] = bad  # One entry of client 3, in row 1.
  counted = PRESENT & (CLIENT_IDS != 3)
  for execution in ('vmap', 'sequential'):
    sums = run(deltas, scheme, Performance(2, execution))
    assert sums.metrics.is_finite[PRESENT].tolist() == [
      True,
      False,
      True,
      True,
      True,
    ]
    values, count = opened(scheme, sums)
    np.testing.assert_array_equal(values, weighted_sum(deltas, counted))
    assert count == NUM_EXAMPLES.sum() - 4


@pytest.mark.parametrize('scheme', ['none', 'ideal', 'shamir'])
@pytest.mark.parametrize(
  'positions',
  [[], [0], [39], [3, 5, 17, 38], list(range(1, 17)), list(range(40))],
)
def test_kept_positions_are_gathered_in_order(
  scheme: str, positions: list[int]
):
  deltas = make_deltas(multiple_of=8 / 1024)
  sums = run(
    deltas,
    scheme,
    kept=padded_positions(positions),
    keep_count=len(positions),
  )
  values, count = opened(scheme, sums, len(positions))
  np.testing.assert_array_equal(values, weighted_sum(deltas)[positions])
  assert count == 23


@pytest.mark.parametrize('keep_count', [0, 1, 16, 17, 33, 40])
def test_only_tiles_that_hold_kept_positions_are_computed(keep_count: int):
  kept = padded_positions(list(range(keep_count)))
  sums = run(make_deltas(), 'shamir', kept=kept, keep_count=keep_count)
  # The sample count takes one more position.
  used = (keep_count // TILE + 1) * TILE
  # Shares are random, also those of a zero; a tile left out is all zeros.
  assert np.all(sums.held[:, :used] != 0)
  assert not np.any(sums.held[:, used:])


def test_keep_count_may_be_traced():
  traces = 0
  train_table = jnp.asarray(make_deltas(multiple_of=8 / 1024))
  counted = []

  def train(row):
    nonlocal traces
    traces += 1
    zero = jnp.zeros(())
    return ClientResult(train_table[row.indices[0, 0]], zero, zero)

  @jax.jit
  def compiled(kept, keep_count):
    return train_and_sum(
      train,
      make_summation(
        'ideal',
        make_round_plan('ideal', make_plan(), keep_count),
        kept,
        KEY,
        Performance(3, 'sequential'),
      ),
      np.ones(len(CLIENT_IDS), bool),
    )

  for keep_count in (0, 10, 30):
    positions = list(range(NUM_PARAMS - keep_count, NUM_PARAMS))
    sums = compiled(jnp.asarray(padded_positions(positions)), keep_count)
    values, _ = opened('ideal', sums, keep_count)
    np.testing.assert_array_equal(
      values, weighted_sum(np.asarray(train_table))[positions]
    )
    counted.append(traces)
  assert counted[0] == counted[-1] > 0


@pytest.mark.parametrize(
  ('execution', 'steps'),
  [('vmap', [9, 9, 3, 3, 1]), ('sequential', [9, 4, 3, 1, 1])],
)
def test_clients_take_their_steps_or_when_vmapped_the_most_of_their_chunk(
  execution: str, steps: list[int]
):
  plan = dataclasses.replace(
    make_plan(), num_steps=np.int32([9, 4, 3, 1, 1, 0, 0])
  )
  sums = run(make_deltas(), 'ideal', Performance(2, execution), plan=plan)
  taken = (sums.metrics.num_trained[PRESENT] - CLIENT_IDS[PRESENT]) / 3
  np.testing.assert_array_equal(taken, steps)
