"""Where each value lies: how tiers share prefixes of one vector, cut in tiles.

A client of tier t keeps a part of what tier t + 1 keeps. A band is what a tier
keeps beyond the tier below. The bands are shared one after another, each
followed by the sample count of the clients that share it, and each starting a
new column:

    values of band 0, count, 0 .. 0 | values of band 1, count, 0 .. 0 | ...

So a client of tier t sends the first columns, up to its t-th count; each band
is opened, or not, by itself; and a band's count is the weight of exactly those
that trained it. With one tier it is the kept values and the sample count.

The numbers of kept parameters may be traced; that of the tiers is fixed.

Example: tiers of 3 and 5 parameters, in columns of 2 values.
  >>> counts_at([3, 5], alignment=2)
  (3, 6)
  >>> num_columns(3, values_per_column=2), num_columns(6, values_per_column=2)
  (2, 4)
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from fps_jax.core.types import Array, PlanArray
from fps_jax.pruning import masks
from fps_jax.sharing.chacha import BLOCK_WORDS

# Values of a tile, where it is not said to be longer.
LONGEST_TILE = 2**13

# An int on the host or int32 [] in a program.
Count = Any


def counts_at(
  keep_counts_T: PlanArray | Sequence[int], alignment: int
) -> tuple[Count, ...]:
  """Returns the position of each band's sample count.

  Args:
    keep_counts_T: parameters that each tier keeps, ascending.
    alignment: bands start at its multiples, so that none shares a column.
  """
  positions: list[Count] = []
  start = previous = 0
  for tier in range(len(keep_counts_T)):
    positions.append(start + keep_counts_T[tier] - previous)
    start = num_columns(positions[-1], alignment) * alignment
    previous = keep_counts_T[tier]
  return tuple(positions)


def num_columns(count_at: Count, values_per_column: int) -> Count:
  """Returns how many columns end with a band's sample count."""
  return count_at // values_per_column + 1


def num_open_columns(
  counts_at_T: Sequence[Count], values_per_column: int, is_open_T: Array
) -> Array:
  """Returns how many columns end with the last band that is opened.

  `is_open_T` is bool [T]; a band that is open has none before it that is not.
  """
  columns_T = num_columns(jnp.stack(counts_at_T), values_per_column)
  return jnp.max(jnp.where(is_open_T, columns_T, 0))


def most_values(num_params: int, num_tiers: int, alignment: int) -> int:
  """Returns a bound on the position of the last band's sample count."""
  return num_params + (num_tiers - 1) * alignment


def kept_positions(
  masks_T: Sequence[Array],
  counts_at_T: Sequence[Count],
  alignment: int,
  size: int,
) -> Array:
  """Returns which parameter each value is of.

  Args:
    masks_T: bool [D] each, what each tier keeps: nested, ascending.
    counts_at_T: of `counts_at`.
    alignment: the same as there.
    size: static length of the result, beyond the last sample count.

  Returns:
    int32 [size]; in each band ascending; D where no parameter's value is.
  """
  kept = masks.kept_indices(masks_T[0], size)
  for tier in range(1, len(masks_T)):
    band_D = masks_T[tier] & ~masks_T[tier - 1]
    start = num_columns(counts_at_T[tier - 1], alignment) * alignment
    places = start + jnp.arange(size)
    band = masks.kept_indices(band_D, size)
    kept = kept.at[places].set(band, mode='drop')
  return kept


def zero_beyond(count: Count, values: Array) -> Array:
  """Returns values [..., M] of which those from `count` on are 0."""
  return jnp.where(jnp.arange(values.shape[-1]) < count, values, 0.0)


def take(updates_CxM: Array, kept_W: Array) -> Array:
  """Returns entries of updates, [C, W], in the order of `kept_positions`."""
  # Updates are longer than D: what is of no parameter reads a 0.
  return updates_CxM.at[:, kept_W].get(mode='clip')


def weights(
  sums_T: Sequence[Array], counts_at_T: Sequence[Count], size: int
) -> Array:
  """Returns the weight of the clients that share each value.

  Args:
    sums_T: float32 [] each, the weight of the clients that share each band.
    counts_at_T: of `counts_at`.
    size: static length of the result.

  Returns:
    float32 [size], or [] where there is one band.
  """
  weight = sums_T[0]
  for tier in range(1, len(sums_T)):
    is_beyond = jnp.arange(size) > counts_at_T[tier - 1]
    weight = jnp.where(is_beyond, sums_T[tier], weight)
  return weight


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
    longest: int = LONGEST_TILE,
  ) -> 'Tiling':
    """Returns the tiling that wastes least on a usual count of values.

    Args:
      most_values: values that a round shares at most, the last sample count
        left out.
      usual_count: values that most rounds share, at most as many.
      values_per_column: values that a column holds.
      alignment: a multiple of it; tiles are as long as with columns of so many
        values.
      longest: values of a tile at most.

    Raises:
      ValueError: if not even one block of columns fits a tile.
    """
    values = max(values_per_column, alignment)
    block = BLOCK_WORDS * values
    most_blocks = longest // block
    if not most_blocks:
      raise ValueError(
        f'columns of {values} values are too long for a tile of '
        f'{longest} values: pack at most {longest // BLOCK_WORDS} '
        'secrets in a word'
      )
    num_blocks = int(usual_count) // block + 1
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
