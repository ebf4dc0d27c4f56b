"""Tests of `fps_jax.federated.layout`, exhaustive on short vectors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.federated import layout

NUM_PARAMS = 6


def tiers_of(num_tiers: int) -> list[tuple[int, ...]]:
  """Returns all ascending counts; tiers may be equal, or keep nothing."""
  counts = range(NUM_PARAMS + 1)
  return list(itertools.combinations_with_replacement(counts, num_tiers))


def nested_masks(order: np.ndarray, counts: tuple[int, ...]):
  """Returns the masks of the first `count` entries of an order."""
  return [
    jnp.asarray(np.isin(np.arange(NUM_PARAMS), order[:c])) for c in counts
  ]


def lay_out(order: np.ndarray, counts: tuple[int, ...], values_per_column: int):
  """Returns the layout entry by entry: an index, 'count' or 'padding'."""
  entries: list[int | str] = []
  previous = 0
  for count in counts:
    entries += sorted(order[previous:count].tolist())
    entries.append('count')
    entries += ['padding'] * (-len(entries) % values_per_column)
    previous = count
  return entries


@pytest.mark.parametrize('values_per_column', [1, 2, 3])
@pytest.mark.parametrize('num_tiers', [1, 2, 3])
def test_layout_is_that_of_entries_one_by_one(
  num_tiers: int, values_per_column: int
):
  rng = np.random.default_rng(0)
  size = layout.most_values(NUM_PARAMS, num_tiers, values_per_column) + 4
  compiled = jax.jit(
    lambda masks, counts: layout.kept_positions(
      masks,
      layout.counts_at(counts, values_per_column),
      values_per_column,
      size,
    )
  )
  for counts in tiers_of(num_tiers):
    order = rng.permutation(NUM_PARAMS)
    entries = lay_out(order, counts, values_per_column)
    places = [i for i, entry in enumerate(entries) if entry == 'count']
    assert list(layout.counts_at(counts, values_per_column)) == places
    assert places[-1] <= size - 4
    positions = compiled(nested_masks(order, counts), jnp.asarray(counts))
    expected = [e if isinstance(e, int) else NUM_PARAMS for e in entries]
    expected += [NUM_PARAMS] * (size - len(expected))
    np.testing.assert_array_equal(positions, expected)


@pytest.mark.parametrize('values_per_column', [1, 2, 3])
def test_lower_tiers_share_prefixes_of_whole_columns(values_per_column: int):
  order = np.arange(NUM_PARAMS)
  for counts in tiers_of(3):
    whole = lay_out(order, counts, values_per_column)
    ends = layout.counts_at(counts, values_per_column)
    for tier in range(3):
      alone = lay_out(order, counts[: tier + 1], values_per_column)
      assert whole[: len(alone)] == alone
      columns = layout.num_columns(ends[tier], values_per_column)
      assert len(alone) == columns * values_per_column


@pytest.mark.parametrize('values_per_column', [1, 2, 3])
def test_weight_of_a_value_is_that_of_its_band(values_per_column: int):
  order = np.arange(NUM_PARAMS)
  sums = [jnp.float32(5), jnp.float32(3), jnp.float32(2)]
  for counts in tiers_of(3):
    ends = layout.counts_at(counts, values_per_column)
    weights = layout.weights(sums, ends, 30)
    expected = []
    for tier in range(3):
      alone = lay_out(order, counts[: tier + 1], values_per_column)
      expected += [float(sums[tier])] * (len(alone) - len(expected))
    # What is beyond the last count, or pads a column, is nobody's.
    for place, entry in enumerate(lay_out(order, counts, values_per_column)):
      if entry != 'padding':
        assert weights[place] == expected[place]


def test_one_band_has_one_weight():
  assert layout.weights([jnp.float32(3)], (4,), 30).shape == ()


@pytest.mark.parametrize(
  ('size', 'expected'),
  [(1, 16), (15, 16), (16, 32), (17, 32), (32, 48), (33, 48)],
)
def test_tiles_hold_all_values_and_the_count(size: int, expected: int):
  assert layout.Tiling(size, 1, columns=16).padded_size == expected
  assert layout.Tiling(size, 1, columns=16).used(size) * 16 == expected


@pytest.mark.parametrize('values_per_column', [1, 2, 3])
@pytest.mark.parametrize(
  'usual_count',
  [0, 47, 48, layout.LONGEST_TILE - 1, layout.LONGEST_TILE, 19_921, 199_210],
)
def test_usual_count_wastes_less_than_a_block_a_tile(
  usual_count: int, values_per_column: int
):
  tiling = layout.Tiling.fit(200_000, usual_count, values_per_column)
  assert tiling.columns % 16 == 0
  assert (
    tiling.size == tiling.columns * values_per_column <= layout.LONGEST_TILE
  )
  num_tiles = tiling.used(usual_count)
  wasted = num_tiles * tiling.size - (usual_count + 1)
  assert 0 <= wasted < (num_tiles + 1) * 16 * values_per_column
  assert tiling.padded_size >= 200_001
  assert tiling.padded_columns * values_per_column == tiling.padded_size


def test_columns_too_long_for_a_tile_are_refused():
  longest = layout.LONGEST_TILE // 16
  assert layout.Tiling.fit(100, 100, longest).size == layout.LONGEST_TILE
  with pytest.raises(
    ValueError, match=rf'columns of {longest + 1} values .* at most {longest} s'
  ):
    layout.Tiling.fit(100, 100, longest + 1)


@pytest.mark.parametrize('longest', [2**13, 2**15, 2**17])
def test_tiles_are_as_long_as_they_may_be(longest: int):
  tiling = layout.Tiling.fit(200_000, 19_921, longest=longest)
  assert tiling.size <= longest
  assert tiling.used(19_921) == -(-19_922 // longest)


@pytest.mark.parametrize('alignment', [1, 2, 4])
@pytest.mark.parametrize('usual_count', [0, 100, 19_921, 199_210])
def test_tiles_are_as_long_as_those_of_packed_columns(
  usual_count: int, alignment: int
):
  packed = layout.Tiling.fit(200_000, usual_count, alignment)
  loose = layout.Tiling.fit(200_000, usual_count, 1, alignment)
  assert loose.size == packed.size
  assert loose.columns == packed.columns * alignment
