"""Tests of `fps_jax.federated.tiling`."""

import pytest

from fps_jax.federated.tiling import LONGEST_TILE, Tiling


@pytest.mark.parametrize(
  ('size', 'expected'),
  [(1, 16), (15, 16), (16, 32), (17, 32), (32, 48), (33, 48)],
)
def test_tiles_hold_all_values_and_the_count(size: int, expected: int):
  assert Tiling(size, 1, columns=16).padded_size == expected
  assert Tiling(size, 1, columns=16).used(size) * 16 == expected


@pytest.mark.parametrize('values_per_column', [1, 2, 3])
@pytest.mark.parametrize(
  'usual_count', [0, 47, 48, LONGEST_TILE - 1, LONGEST_TILE, 19_921, 199_210]
)
def test_usual_count_wastes_less_than_a_block_a_tile(
  usual_count: int, values_per_column: int
):
  tiling = Tiling.fit(200_000, usual_count, values_per_column)
  assert tiling.columns % 16 == 0
  assert tiling.size == tiling.columns * values_per_column <= LONGEST_TILE
  num_tiles = tiling.used(usual_count)
  wasted = num_tiles * tiling.size - (usual_count + 1)
  assert 0 <= wasted < (num_tiles + 1) * 16 * values_per_column
  assert tiling.padded_size >= 200_001
  assert tiling.padded_columns * values_per_column == tiling.padded_size


def test_columns_too_long_for_a_tile_are_refused():
  longest = LONGEST_TILE // 16
  assert Tiling.fit(100, 100, longest).size == LONGEST_TILE
  with pytest.raises(
    ValueError, match=rf'columns of {longest + 1} values .* at most {longest} s'
  ):
    Tiling.fit(100, 100, longest + 1)


@pytest.mark.parametrize('alignment', [1, 2, 4])
@pytest.mark.parametrize('usual_count', [0, 100, 19_921, 199_210])
def test_tiles_are_as_long_as_those_of_packed_columns(
  usual_count: int, alignment: int
):
  packed = Tiling.fit(200_000, usual_count, alignment)
  loose = Tiling.fit(200_000, usual_count, 1, alignment)
  assert loose.size == packed.size
  assert loose.columns == packed.columns * alignment
