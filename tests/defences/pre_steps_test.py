"""Tests of `fps_jax.defences.pre_steps`: whose mean each row is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.defences import pre_steps
from tests.helpers import defence_cases
from tests.helpers.references import defences as reference

NUM_CLIENTS = defence_cases.NUM_CLIENTS


def test_nnm_is_the_mean_of_the_nearest_updates():
  cases = defence_cases.make()
  mixing = jax.jit(jax.vmap(pre_steps.nnm, (0, 0, 0, None)))(
    defence_cases.clean_grams(cases),
    cases.present,
    cases.num_malicious,
    jax.random.key(0),
  )
  np.testing.assert_array_equal(mixing.present_C, cases.present)
  np.testing.assert_array_equal(mixing.num_malicious, cases.num_malicious)
  for matrix, updates, present, f in zip(
    np.asarray(mixing.matrix_CxC), *cases, strict=True
  ):
    clients = np.flatnonzero(present)
    expected = np.zeros((NUM_CLIENTS, NUM_CLIENTS), np.float32)
    groups = reference.nnm(np.float64(updates[present]), int(f))
    for client, group in zip(clients, groups, strict=True):
      expected[client, clients[group]] = 1 / len(group)
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)


def test_nnm_counts_oneself_before_a_copy_of_lower_index():
  same = np.ones((3, 3), np.float32)
  mixing = jax.jit(pre_steps.nnm)(same, np.ones(3, bool), 2, None)
  np.testing.assert_array_equal(mixing.matrix_CxC, np.eye(3))


def test_trust_leaves_out_whom_the_root_contradicts_and_changes_nobody():
  rows = np.float32([[1, 1], [-1, 0.5], [0, 3], [2, -1], [1, -2], [0, 0]])
  present = np.array([True, True, True, False, True, True])
  with_root = np.concatenate([rows, np.float32([[2, 1]])])
  mixing = pre_steps.trust(with_root @ with_root.T, present, 1, None)
  trusted = [True, False, True, False, False, False]
  assert mixing.present_C.tolist() == trusted
  np.testing.assert_array_equal(mixing.matrix_CxC, np.diag(trusted))
  assert mixing.num_malicious == 1


@functools.cache
def bucketing(size):
  return jax.jit(functools.partial(pre_steps.bucketing, None, size=size))


@pytest.mark.parametrize('size', [1, 2, 3, 9])
def test_buckets_part_those_present_and_are_full_but_for_the_last(size):
  cases = defence_cases.make()
  for number in range(0, len(cases.present) // 2, 5):
    was_present, f = cases.present[number], cases.num_malicious[number]
    mixing = bucketing(size)(was_present, f, jax.random.key(number))
    matrix, present, num_malicious = (np.asarray(part) for part in mixing)
    num_full, rest = divmod(was_present.sum(), size)
    members = (matrix > 0).sum(axis=1)
    expected = num_full * [size] + ([rest] if rest else [])
    assert members[present].tolist() == expected
    assert not members[~present].any()
    # Everyone who is present is in one bucket, at the weight of its members.
    np.testing.assert_array_equal((matrix > 0).sum(axis=0), was_present)
    np.testing.assert_allclose(matrix.sum(axis=1), present, rtol=1e-6)
    assert all(len(set(row[row > 0])) <= 1 for row in matrix)
    assert num_malicious == min(f, len(expected))


def test_buckets_are_those_of_the_key_and_every_pair_is_as_likely():
  present = np.isin(np.arange(NUM_CLIENTS), (0, 3, 4, 6))
  together = np.zeros((4, 4))
  for seed in range(800):
    key = jax.random.key(seed)
    matrix = np.asarray(bucketing(2)(present, np.int32(1), key).matrix_CxC)
    is_in = matrix[:, present] > 0
    together += is_in.T.astype(int) @ is_in / 800
  again = bucketing(2)(present, np.int32(1), key).matrix_CxC
  np.testing.assert_array_equal(matrix, again)
  # Each has one of three partners; the standard error is 0.017.
  pairs = together[~np.eye(4, dtype=bool)]
  np.testing.assert_allclose(pairs, 1 / 3, atol=0.07)


@pytest.mark.parametrize('size', [0, -2, 1.5])
def test_size_out_of_range_raises(size):
  with pytest.raises(ValueError, match=f'size={size} must be a whole number'):
    pre_steps.bucketing(
      None, jnp.ones(3, bool), 0, jax.random.key(0), size=size
    )
