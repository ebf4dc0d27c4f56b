"""How a vector of updates is cut into tiles that are shared one by one."""

import dataclasses
from typing import Any

from fps_jax.sharing.chacha import BLOCK_WORDS

# Values. Longer tiles leave a CPU's caches, shorter ones are all overhead.
LONGEST_TILE = 8192


@dataclasses.dataclass(frozen=True)
class Tiling:
  """Tiles of whole columns, and of whole blocks of the cipher.

  Attributes:
    most_values: values that a round shares at most, the last sample count
      left out.
    values_per_column: values that a column holds.
    columns: columns of a tile.
  """

  most_values: int
  values_per_column: int
  columns: int

  @classmethod
  def fit(
    cls,
    most_values: int,
    usual_count: int,
    values_per_column: int = 1,
    alignment: int = 1,
  ) -> 'Tiling':
    """Returns the tiling that wastes least on a usual count of values.

    Args:
      most_values: values that a round shares at most, the last sample count
        left out.
      usual_count: values that most rounds share, at most as many.
      values_per_column: values that a column holds.
      alignment: a multiple of it; tiles are as long as with columns of so many
        values.

    Raises:
      ValueError: if not even one block of columns fits a tile.
    """
    values = max(values_per_column, alignment)
    block = BLOCK_WORDS * values
    most_blocks = LONGEST_TILE // block
    if not most_blocks:
      raise ValueError(
        f'columns of {values} values are too long for a tile of '
        f'{LONGEST_TILE} values: pack at most {LONGEST_TILE // BLOCK_WORDS} '
        'secrets in a word'
      )
    num_blocks = usual_count // block + 1
    num_tiles = -(-num_blocks // most_blocks)
    columns = -(-num_blocks // num_tiles) * block // values_per_column
    return cls(most_values, values_per_column, columns)

  @property
  def size(self) -> int:
    """Values of a tile."""
    return self.columns * self.values_per_column

  @property
  def padded_size(self) -> int:
    """Values of the whole tiles that hold the most that a round shares."""
    return self.used(self.most_values) * self.size

  @property
  def padded_columns(self) -> int:
    """Columns of as many values."""
    return self.padded_size // self.values_per_column

  def used(self, num_values: Any) -> Any:
    """Returns the tiles that hold as many values and the last sample count."""
    return num_values // self.size + 1
