"""How a vector of updates is cut into tiles that are shared one by one."""

import dataclasses

from fps_jax.sharing.chacha import BLOCK_WORDS
from fps_jax.types import Array

# Values. Longer tiles leave a CPU's caches, shorter ones are all overhead.
LONGEST_TILE = 8192


@dataclasses.dataclass(frozen=True)
class Tiling:
  """Tiles of whole columns, and of whole blocks of the cipher.

  Attributes:
    num_params: D.
    values_per_column: values that a column holds.
    columns: columns of a tile.
  """

  num_params: int
  values_per_column: int
  columns: int

  @classmethod
  def fit(
    cls, num_params: int, usual_count: int, values_per_column: int = 1
  ) -> 'Tiling':
    """Returns the tiling that wastes least on a usual count of values.

    Args:
      num_params: D.
      usual_count: values that most rounds share, in [0, D]; the sample count
        takes one place more.
      values_per_column: values that a column holds.

    Raises:
      ValueError: if not even one block of columns fits a tile.
    """
    block = BLOCK_WORDS * values_per_column
    most_blocks = LONGEST_TILE // block
    if not most_blocks:
      raise ValueError(
        f'columns of {values_per_column} values are too long for a tile of '
        f'{LONGEST_TILE} values: pack at most {LONGEST_TILE // BLOCK_WORDS} '
        'secrets in a word'
      )
    num_blocks = usual_count // block + 1
    num_tiles = -(-num_blocks // most_blocks)
    columns = -(-num_blocks // num_tiles) * BLOCK_WORDS
    return cls(num_params, values_per_column, columns)

  @property
  def size(self) -> int:
    """Values of a tile."""
    return self.columns * self.values_per_column

  @property
  def padded_size(self) -> int:
    """Values of the whole tiles that hold D values and the sample count."""
    return (self.num_params // self.size + 1) * self.size

  @property
  def padded_columns(self) -> int:
    """Columns of as many values."""
    return self.padded_size // self.values_per_column

  def used(self, keep_count: Array | int) -> Array | int:
    """Returns the tiles that hold `keep_count` values and the sample count."""
    return keep_count // self.size + 1
