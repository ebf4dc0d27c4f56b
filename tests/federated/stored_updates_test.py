"""Tests of sums of updates that clients have trained already."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.attacks import updates as attacks
from fps_jax.federated.performance import Performance
from fps_jax.federated.sums import ClientSums, StoredUpdates, sum_stored
from tests.helpers import table_clients as table

pytestmark = pytest.mark.slow

_MALICIOUS = np.isin(table.CLIENT_IDS, (3, 0))


@functools.cache
def _compile(scheme: str, chunk_size: int):
  def sum_rows(stored, plan, accepted_C, key):
    return sum_stored(
      stored,
      table.make_summation(scheme, plan, None, key, Performance(chunk_size)),
      accepted_C,
    )

  options = {'xla_backend_optimization_level': 0}
  return jax.jit(sum_rows, compiler_options=options)


def _run(
  scheme: str,
  rows_CxD: np.ndarray,
  weights_C: np.ndarray | None = None,
  is_malicious_C: np.ndarray | None = None,
  chunk_size: int = 2,
) -> ClientSums:
  plan = table.make_round_plan(scheme, table.make_plan(), table.NUM_PARAMS)
  if is_malicious_C is not None:
    plan.cohort.malicious[:] = is_malicious_C
  padded_CxM = np.pad(rows_CxD, ((0, 0), (0, table.SIZE - table.NUM_PARAMS)))
  stored = StoredUpdates(jnp.float32(padded_CxM), weights_C)
  return _compile(scheme, chunk_size)(
    stored, plan, np.ones(len(rows_CxD), bool), table.KEY
  )


def _updates(multiple_of: float | None = None) -> np.ndarray:
  return table.make_deltas(multiple_of)[table.CLIENT_IDS]


@pytest.mark.parametrize('scheme', ['none', 'ideal', 'shamir', 'updates'])
def test_stored_updates_sum_to_what_trained_ones_do(scheme: str):
  sums = _run(scheme, _updates(multiple_of=8 / 1024))
  values, count = table.opened(scheme, sums)
  expected = table.weighted_sum(table.make_deltas(multiple_of=8 / 1024))
  np.testing.assert_allclose(values, expected, atol=1e-6)
  assert count == 23
  assert sums.contributors_T.tolist() == [5]


@pytest.mark.parametrize('chunk_size', [1, 3, 100])
def test_chunk_size_does_not_change_a_bit(chunk_size: int):
  rows = _updates()
  expected = _run('ideal', rows)
  sums = _run('ideal', rows, chunk_size=chunk_size)
  np.testing.assert_array_equal(sums.held, expected.held)


@pytest.mark.parametrize('scheme', ['ideal', 'shamir'])
@pytest.mark.parametrize(
  'weights', [(1, 1, 1, 1, 1), (3, 0, 2, 1, 0), (0, 0, 0, 7, 0)]
)
def test_servers_multiply_shares_by_integer_weights(
  scheme: str, weights: tuple[int, ...]
):
  weights_C = np.array([*weights, 9, 9], np.uint32)
  rows = _updates(multiple_of=8 / 1024)
  values, count = table.opened(scheme, (sums := _run(scheme, rows, weights_C)))
  per_row = weights_C[:5] * table.NUM_EXAMPLES[:5]
  expected = per_row @ rows[:5].astype(np.float64) / table.MAX_COUNT
  np.testing.assert_array_equal(values, expected)
  assert count == per_row.sum()
  assert sums.contributors_T.tolist() == [np.count_nonzero(weights)]


@pytest.mark.parametrize(
  'name', sorted({*attacks.UPDATE_ATTACKS} - {'wrap_around'})
)
def test_secret_sharing_alone_equals_the_sum_in_the_clear_under_every_attack(
  name: str,
):
  """To the codec's rounding: sharing is linear, and no defence."""
  attack = attacks.make(name)
  rows = np.asarray(
    attack(
      jnp.asarray(_updates()),
      jnp.asarray(_MALICIOUS),
      jnp.asarray(table.PRESENT),
      jax.random.key(0),
    )
  )
  assert np.any(rows != _updates())
  clear, _ = table.opened('none', _run('none', rows, None, _MALICIOUS))
  shared, _ = table.opened('shamir', _run('shamir', rows, None, _MALICIOUS))
  np.testing.assert_allclose(
    shared, clear, atol=5 * table.CODEC.step, rtol=1e-5
  )


def test_values_of_malicious_clients_are_not_clipped_nor_counted_as_such():
  rows = np.where(_MALICIOUS[:, None], 8 * _updates(), _updates())
  values, _ = table.opened(
    'shamir', sums := _run('shamir', rows, None, _MALICIOUS)
  )
  honest = np.where(_MALICIOUS[:, None], 0, rows)
  clipped, _ = table.opened('shamir', _run('shamir', rows))
  assert not np.any(np.asarray(sums.metrics.clipped_values)[_MALICIOUS])
  weights = table.NUM_EXAMPLES / table.MAX_COUNT
  expected = weights @ rows.astype(np.float64)
  np.testing.assert_allclose(values, expected, atol=5 * table.CODEC.step)
  assert np.abs(clipped - expected).max() > 10 * table.CODEC.step
  assert np.abs(weights @ honest - expected).max() > 10 * table.CODEC.step
