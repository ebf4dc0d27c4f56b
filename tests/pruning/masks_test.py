"""Tests of `fps_jax.pruning.masks` against sorting and exact counts."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.pruning import masks
from tests.helpers.references import pruning as reference

SIZE = 40
COUNTS = np.arange(SIZE + 3)  # Two more than there are weights.
DENORMALS = np.float32([1e-45, -1e-45, 3e-45, 1e-40, -1e-40, 1.1754942e-38])


def hard_vectors() -> np.ndarray:
  """Returns float32 [V, SIZE]: ties, zeros of both signs, all scales."""
  rng = np.random.default_rng(0)
  normal = rng.normal(size=(6, SIZE))
  palettes = [
    np.float32([0.0, -0.0]),
    np.float32([1.0]),
    np.float32([-2.0, 2.0]),
    np.float32([0.0, -0.0, 1.0, -1.0, 3.0]),
    DENORMALS,
    np.concatenate([DENORMALS, np.float32([0.0, -0.0, 1.1754944e-38])]),
    np.float32([3.4028235e38, -3.4028235e38, 1.0, 0.0, 1e-45]),
    # Neighbouring floats.
    np.float32([1.0, np.nextafter(np.float32(1), np.float32(2)), -1.0]),
  ]
  vectors = [rng.choice(palette, (4, SIZE)) for palette in palettes]
  powers = 2.0 ** rng.integers(-149, 128, (4, SIZE))
  return np.concatenate(
    [normal, np.round(normal), powers, -powers, *vectors]
  ).astype(np.float32)


@functools.cache
def masks_of_all_counts(
  with_exempt: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns weights [V, D], exempt ones [V, D] and masks [V, counts, D]."""
  weights = hard_vectors()
  rng = np.random.default_rng(1)
  exempt = rng.random(weights.shape) < np.linspace(0, 1, len(weights))[:, None]

  def one(weights_D, exempt_D, count):
    return masks.keep_largest(
      weights_D, count, exempt_D if with_exempt else None
    )

  over_counts = jax.vmap(one, (None, None, 0))
  over_vectors = jax.vmap(over_counts, (0, 0, None))
  return weights, exempt, np.asarray(
    jax.jit(over_vectors)(weights, exempt, COUNTS)
  )  # fmt: skip


def test_mask_is_that_of_a_stable_sort() -> None:
  weights, _, found = masks_of_all_counts()
  for weights_D, rows in zip(weights, found, strict=True):
    expected = [reference.keep_largest(weights_D, count) for count in COUNTS]
    np.testing.assert_array_equal(rows, expected)


def test_exactly_keep_count_entries_are_kept_or_all() -> None:
  for with_exempt in (False, True):
    *_, found = masks_of_all_counts(with_exempt)
    assert found.dtype == np.bool_
    expected = np.minimum(COUNTS, SIZE)
    np.testing.assert_array_equal(
      found.sum(axis=2), np.broadcast_to(expected, found.shape[:2])
    )


def test_masks_of_one_vector_are_nested() -> None:
  for with_exempt in (False, True):
    *_, found = masks_of_all_counts(with_exempt)
    assert not (found[:, :-1] & ~found[:, 1:]).any()


def test_of_equal_magnitudes_the_lower_index_is_kept_first() -> None:
  weights, _, found = masks_of_all_counts()
  for weights_D, rows in zip(weights, found, strict=True):
    for magnitude in np.unique(np.abs(weights_D)):
      tied = rows[:, np.abs(weights_D) == magnitude]
      # Kept ones first: never kept after one that is not.
      assert not (~tied[:, :-1] & tied[:, 1:]).any()


def test_no_pruned_weight_is_larger_than_a_kept_one() -> None:
  weights, _, found = masks_of_all_counts()
  for weights_D, rows in zip(weights, found, strict=True):
    magnitudes = np.abs(weights_D)
    for mask in rows[1:SIZE]:
      assert magnitudes[~mask].max() <= magnitudes[mask].min()


def test_exempt_entries_are_kept_before_any_other() -> None:
  weights, exempt, found = masks_of_all_counts(with_exempt=True)
  for weights_D, exempt_D, rows in zip(weights, exempt, found, strict=True):
    assert rows[exempt_D.sum() :, exempt_D].all()
    expected = [
      reference.keep_largest(weights_D, count, exempt_D) for count in COUNTS
    ]
    np.testing.assert_array_equal(rows, expected)


def test_largest_float_is_pruned_before_an_exempt_zero() -> None:
  weights = jnp.float32([3.4028235e38, 0.0, -3.4028235e38, -0.0])
  exempt = jnp.array([False, True, False, True])
  kept = masks.keep_largest(weights, 3, exempt)
  assert kept.tolist() == [True, True, False, True]


@pytest.mark.slow
def test_order_of_weights_that_are_not_finite_is_the_references() -> None:
  """All vectors of four of these, with all exempt ones and all counts."""
  palette = np.float32([0.0, -2.0, 3.4028235e38, -np.inf, np.inf, np.nan])
  vectors = np.stack(np.meshgrid(*[palette] * 4), -1).reshape(-1, 4)
  # Of any sign and payload, a NaN is a NaN; the largest has all bits set.
  is_nan = np.isnan(vectors)
  vectors.view(np.uint32)[is_nan] = np.resize(
    np.uint32([0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF]),
    is_nan.sum(),
  )
  every_exempt = np.arange(16)[:, None] >> np.arange(4) & 1 > 0
  counts = np.arange(5)
  over_counts = jax.vmap(masks.keep_largest, (None, 0, None))
  over_exempt = jax.vmap(over_counts, (None, None, 0))
  keep = jax.jit(jax.vmap(over_exempt, (0, None, None)))
  found = np.asarray(keep(vectors, counts, every_exempt))
  assert found.shape == (6**4, 16, 5, 4)
  for weights_D, of_weights in zip(vectors, found, strict=True):
    for exempt_D, rows in zip(every_exempt, of_weights, strict=True):
      assert rows[exempt_D.sum() :, exempt_D].all()
      expected = [
        reference.keep_largest(weights_D, count, exempt_D) for count in counts
      ]
      np.testing.assert_array_equal(rows, expected)


@pytest.mark.slow
def test_weights_that_are_not_finite_rank_below_exempt_ones_alone() -> None:
  weights = jnp.float32([1.0, np.inf, np.nan, 0.0, -np.inf, -np.nan, 2.0])
  exempt = jnp.arange(7) == 3
  places = [
    np.flatnonzero(masks.keep_largest(weights, count, exempt)).tolist()
    for count in range(1, 8)
  ]
  added = [
    (set(after) - set(before)).pop()
    for before, after in itertools.pairwise([[], *places])
  ]
  # The exempt one; NaN, infinity and the rest; the lower index of equal ones.
  assert added == [3, 2, 5, 1, 4, 6, 0]


def test_keep_count_may_be_traced_and_never_recompiles() -> None:
  num_traces = 0

  @jax.jit
  def keep(weights_D, count):
    nonlocal num_traces
    num_traces += 1
    return masks.keep_largest(weights_D, count)

  weights = hard_vectors()[0]
  for count in range(SIZE + 1):
    kept = keep(weights, jnp.int32(count))
    np.testing.assert_array_equal(kept, reference.keep_largest(weights, count))
  assert num_traces == 1


def test_eager_equals_jit_and_vmap() -> None:
  weights, exempt, found = masks_of_all_counts(with_exempt=True)
  row = len(weights) // 2
  kept = masks.keep_largest(
    jnp.asarray(weights[row]), 27, jnp.asarray(exempt[row])
  )
  np.testing.assert_array_equal(kept, found[row, 27])


def test_kept_indices_are_positions_in_order_then_padding() -> None:
  @functools.partial(jax.jit, static_argnums=1)
  def indices(masks_VxD, size):
    return jax.vmap(lambda mask_D: masks.kept_indices(mask_D, size))(masks_VxD)

  # All 2^6 masks of 6 entries, with just enough room and with more than that.
  every_mask = (np.arange(64)[:, None] >> np.arange(6) & 1).astype(bool)
  for size in (6, 9):
    found = indices(every_mask, size)
    assert found.dtype == jnp.int32
    for mask, row in zip(every_mask, found.tolist(), strict=True):
      kept = np.flatnonzero(mask).tolist()
      assert row == kept + (size - len(kept)) * [6]


def test_kept_indices_gather_and_scatter_the_kept_values() -> None:
  @jax.jit
  def gather_and_scatter(weights, mask):
    kept = masks.kept_indices(mask, 16)
    values = weights.at[kept].get(mode='fill', fill_value=0)
    return jnp.zeros(SIZE).at[kept].set(values, mode='drop')

  weights = hard_vectors()[0]
  mask = reference.keep_largest(weights, 13)
  restored = gather_and_scatter(weights, mask)
  np.testing.assert_array_equal(restored, np.where(mask, weights, 0))


@pytest.mark.parametrize(
  ('num_params', 'sparsity', 'kept'),
  [
    (10, 0.0, 10),
    (10, 0.9, 1),
    (10, 0.5, 5),
    (10, 0.04, 10),
    (10, 0.06, 9),
    (199210, 0.9, 19921),
    (199210, 0.0, 199210),
    (3, 0.34, 2),
    (1, 0.0, 1),
  ],
)
def test_keep_count_is_what_the_sparsity_leaves(
  num_params: int, sparsity: float, kept: int
) -> None:
  assert masks.keep_count(num_params, sparsity) == kept


def test_keep_count_is_bounded_and_never_grows_with_sparsity() -> None:
  counts = [masks.keep_count(1000, s / 997, 7) for s in range(990)]
  assert counts[0] == 1000
  assert counts[-1] >= 7
  assert all(a >= b for a, b in itertools.pairwise(counts))
  for s, count in enumerate(counts):
    # Within half a parameter of the exact number.
    assert abs(997 * count - 1000 * (997 - s)) <= 997 / 2


@pytest.mark.parametrize('sparsity', [-0.1, 1.0, 1.5, float('nan')])
def test_sparsity_out_of_range_raises(sparsity: float) -> None:
  with pytest.raises(
    ValueError, match=rf'sparsity={sparsity} must be in \[0, 1'
  ):
    masks.keep_count(10, sparsity)


@pytest.mark.parametrize('num_exempt', [0, 1, 3, 10])
def test_sparsity_that_keeps_fewer_than_are_exempt_raises(
  num_exempt: int,
) -> None:
  least = max(1, num_exempt)
  assert masks.keep_count(10, 1 - least / 10, num_exempt) == least
  too_sparse = 1 - (least - 1) / 10 - 1e-6
  message = (
    rf'sparsity={too_sparse} keeps {least - 1} of 10 parameters, but must '
    rf'keep the .* lower it to {round(1 - least / 10, 4)} or exempt fewer'
  )
  with pytest.raises(ValueError, match=message):
    masks.keep_count(10, too_sparse, num_exempt)


def test_sparsity_that_the_error_names_is_accepted() -> None:
  with pytest.raises(ValueError, match=r'lower it to ([\d.]+) or') as caught:
    masks.keep_count(30_000, 0.995, 301)
  named = re.search(r'lower it to ([\d.]+) or', str(caught.value))[1]
  assert masks.keep_count(30_000, float(named), 301) >= 301


def test_tiers_keep_their_part_and_all_that_is_exempt():
  assert masks.tier_counts(110, (0.25, 0.5, 1.0), 10) == (35, 60, 110)
  assert masks.tier_counts(10, (0.5, 1.0), 10) == (10, 10)


@pytest.mark.parametrize('tiers', [(), (0.5,), (0.0, 1.0), (0.5, 0.5, 1.0)])
def test_tiers_that_do_not_ascend_to_one_are_refused(tiers):
  with pytest.raises(ValueError, match=r'tiers=\('):
    masks.tier_counts(100, tiers)
