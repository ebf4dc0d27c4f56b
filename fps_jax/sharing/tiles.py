"""Sharing of long vectors outside of XLA's programs, a tile at a time.

Tiles keep every buffer small enough to be reused, where one of 32 MiB and more
would be mapped and faulted in anew at every call; and while XLA shares a tile,
OpenSSL fills the random words of the next one.
"""

import functools
from collections.abc import Iterator

import jax
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import randomness
from fps_jax.sharing.chacha import BLOCK_WORDS, KEY_WORDS
from fps_jax.sharing.shamir import Shamir

TILE_COLUMNS = 2**17


def share_in_tiles(
  scheme: Shamir,
  secrets_LxM: np.ndarray,
  seeds_Tx8: np.ndarray,
  tile_columns: int = TILE_COLUMNS,
) -> Iterator[Array]:
  """Iterates over the shares that travel as such, a tile at a time.

  Those of servers 1 .. t are what the seeds expand to, and are not yielded.

  Args:
    scheme: the sharing scheme.
    secrets_LxM: uint32 [L, M] field elements, on the host.
    seeds_Tx8: uint32 [T, 8], the seeds of servers 1 .. t.
    tile_columns: columns of a tile, a multiple of 16; the last has the rest.

  Returns:
    uint32 [N - T, columns] a tile; put together, the last rows of
    `scheme.share`'s.

  Raises:
    ValueError: if the arguments do not fit.
  """
  _check(scheme, secrets_LxM, seeds_Tx8)
  arrays.check_integer('tile_columns', tile_columns, 1)
  if tile_columns % BLOCK_WORDS:
    raise ValueError(
      f'tile_columns={tile_columns} must be a multiple of {BLOCK_WORDS}: tiles '
      'begin where a block of the cipher does'
    )
  return _share_tiles(scheme, secrets_LxM, seeds_Tx8, tile_columns)


def _share_tiles(
  scheme: Shamir,
  secrets_LxM: np.ndarray,
  seeds_Tx8: np.ndarray,
  tile_columns: int,
) -> Iterator[Array]:
  for start in range(0, secrets_LxM.shape[1], tile_columns):
    tile_LxW = secrets_LxM[:, start : start + tile_columns]
    random_TxW = randomness.uniform_on_host(
      seeds_Tx8, start, tile_LxW.shape[1], scheme.field
    )
    yield _share(scheme, tile_LxW, random_TxW)


def add_in_tiles(
  scheme: Shamir,
  held: list[Array],
  secrets_LxM: np.ndarray,
  seeds_Tx8: np.ndarray,
) -> list[Array]:
  """Adds the shares of one client to what the servers hold, tile by tile.

  Args:
    scheme: the sharing scheme.
    held: uint32 [N, columns] a tile; donated, they must not be used again.
    secrets_LxM: uint32 [L, M] field elements, on the host.
    seeds_Tx8: uint32 [T, 8], the seeds of servers 1 .. t.

  Returns:
    What the servers hold then, in the same tiles.

  Raises:
    ValueError: if the tiles do not hold as many columns as the secrets have, or
      other arguments do not fit.
  """
  _check(scheme, secrets_LxM, seeds_Tx8)
  for sums_NxW in held:
    arrays.check('held', sums_NxW, np.uint32, (scheme.num_servers, 'W'))
  num_columns = sum(sums_NxW.shape[1] for sums_NxW in held)
  if num_columns != secrets_LxM.shape[1]:
    raise ValueError(
      f'the servers hold {num_columns} columns, the secrets have '
      f'{secrets_LxM.shape[1]}: give sums of the same length'
    )
  added, start = [], 0
  for sums_NxW in held:
    tile_LxW = secrets_LxM[:, start : start + sums_NxW.shape[1]]
    random_TxW = randomness.uniform_on_host(
      seeds_Tx8, start, tile_LxW.shape[1], scheme.field
    )
    added.append(_add_shares(scheme, sums_NxW, tile_LxW, random_TxW))
    start += sums_NxW.shape[1]
  return added


def _check(
  scheme: Shamir, secrets_LxM: np.ndarray, seeds_Tx8: np.ndarray
) -> None:
  num_secrets, num_seeds = scheme.secrets_per_polynomial, scheme.num_random
  scheme.field.check('secrets_LxM', secrets_LxM, (num_secrets, 'M'))
  arrays.check('seeds_Tx8', seeds_Tx8, np.uint32, (num_seeds, KEY_WORDS))


@functools.partial(jax.jit, static_argnums=0)
def _share(scheme: Shamir, secrets_LxW: Array, random_TxW: Array) -> Array:
  return scheme.explicit_shares(secrets_LxW, random_TxW)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _add_shares(
  scheme: Shamir, sums_NxW: Array, secrets_LxW: Array, random_TxW: Array
) -> Array:
  shares_NxW = scheme.share_with(secrets_LxW, random_TxW)
  return scheme.field.add(sums_NxW, shares_NxW)
