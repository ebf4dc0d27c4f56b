"""Sharing of long vectors on a CPU, outside of rounds: OpenSSL draws the words.

The cipher is OpenSSL's through the package `cryptography`, held bit-identical
to that of rounds by tests.

Tiles keep every buffer small enough to be reused, where one of 32 MiB and more
would be mapped and faulted in anew at every call; and while XLA shares a tile,
OpenSSL fills the random words of the next one.
"""

import functools
from collections.abc import Iterator

import jax
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from fps_jax.core import arrays
from fps_jax.core.host_memory import aligned_empty
from fps_jax.core.types import Array
from fps_jax.sharing import chacha, randomness
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

TILE_COLUMNS = 2**17
# Drawing this many words again takes as long as drawing one on its own.
_MANY_BLOCKS = 4096


def keystream(state: Array | np.ndarray, num_words: int) -> np.ndarray:
  """Returns words of keystreams.

  Args:
    state: uint32 [..., 12], the words 4 to 15 of the cipher's state: key,
      counter, nonce.
    num_words: a multiple of 16.

  Returns:
    uint32 [..., num_words].

  Raises:
    ValueError: if the states are of another type or shape, or `num_words` is
      not a multiple of 16.
  """
  arrays.check('state', state, np.uint32, (..., chacha.STATE_WORDS))
  arrays.check_integer('num_words', num_words, 0)
  if num_words % chacha.BLOCK_WORDS:
    raise ValueError(
      f'num_words={num_words} must be a multiple of {chacha.BLOCK_WORDS}: take '
      'whole blocks'
    )
  # As a NumPy array: indexing JAX's would dispatch a program a row.
  state = np.asarray(state, '<u4')
  words = aligned_empty((*state.shape[:-1], num_words), '<u4')
  zeros = _zeros(num_words)
  for index in np.ndindex(state.shape[:-1]):
    row = state[index]
    # OpenSSL takes the counter as the first word of a nonce of 128 bits.
    algorithm = algorithms.ChaCha20(
      row[: chacha.KEY_WORDS].tobytes(), row[chacha.KEY_WORDS :].tobytes()
    )
    encryptor = Cipher(algorithm, mode=None).encryptor()
    encryptor.update_into(zeros, words[index].view(np.uint8).data)
  return words.astype(np.uint32, copy=False)


@functools.lru_cache(maxsize=8)
def _zeros(num_words: int) -> bytes:
  """Returns the plaintext whose encryption is the keystream."""
  return bytes(4 * num_words)


def uniform(
  keys_Zx8: Array | np.ndarray,
  first_word: int,
  num_words: int,
  field: PrimeField,
) -> np.ndarray:
  """Returns the elements of `randomness.uniform`, computed outside of XLA.

  Same arguments, result and error, but for NumPy; `first_word` is an int.
  """
  randomness.check_words(keys_Zx8, first_word, num_words)
  keys_Zx8 = np.asarray(keys_Zx8)
  num_blocks = -(-num_words // chacha.BLOCK_WORDS)
  state_Zx12 = np.zeros((len(keys_Zx8), chacha.STATE_WORDS), np.uint32)
  state_Zx12[:, : chacha.KEY_WORDS] = keys_Zx8
  state_Zx12[:, 8] = first_word // chacha.BLOCK_WORDS
  low_bits = np.uint32(2**field.bits - 1)

  def draw() -> np.ndarray:
    words = keystream(state_Zx12, chacha.BLOCK_WORDS * num_blocks)
    words &= low_bits
    return words[:, :num_words]

  def draw_at(rows_K: np.ndarray, positions_K: np.ndarray) -> np.ndarray:
    blocks_K, places_K = np.divmod(positions_K, chacha.BLOCK_WORDS)
    state_Kx12 = state_Zx12[rows_K]
    state_Kx12[:, 8] += blocks_K.astype(np.uint32)
    blocks_Kx16 = chacha.blocks_on_host(state_Kx12)
    return blocks_Kx16[np.arange(len(rows_K)), places_K] & low_bits

  words = draw()
  while words.size and words.max() >= field.modulus:
    state_Zx12[:, 9] += 1  # Of the nonce: the attempt.
    is_outside = words >= field.modulus
    outside = np.nonzero(is_outside)
    if len(outside[0]) * _MANY_BLOCKS > words.size:
      words = np.where(is_outside, draw(), words)
    else:
      words[outside] = draw_at(*outside)
  return words


def share_in_tiles(
  scheme: Shamir,
  secrets_LxM: np.ndarray,
  seeds_Zx8: np.ndarray,
  tile_columns: int = TILE_COLUMNS,
) -> Iterator[Array]:
  """Iterates over the shares that travel as such, a tile at a time.

  Those of servers 1 .. t are what the seeds expand to, and are not yielded.

  Args:
    scheme: the sharing scheme.
    secrets_LxM: uint32 [L, M] field elements, on the host.
    seeds_Zx8: uint32 [Z, 8], the seeds of servers 1 .. t.
    tile_columns: columns of a tile, a multiple of 16; the last has the rest.

  Returns:
    uint32 [N - Z, columns] a tile; put together, the last rows of
    `scheme.share`'s.

  Raises:
    ValueError: if the arguments do not fit.
  """
  _check(scheme, secrets_LxM, seeds_Zx8)
  arrays.check_integer('tile_columns', tile_columns, 1)
  if tile_columns % chacha.BLOCK_WORDS:
    raise ValueError(
      f'tile_columns={tile_columns} must be a multiple of '
      f'{chacha.BLOCK_WORDS}: tiles begin where a block of the cipher does'
    )
  return _share_tiles(scheme, secrets_LxM, seeds_Zx8, tile_columns)


def _share_tiles(
  scheme: Shamir,
  secrets_LxM: np.ndarray,
  seeds_Zx8: np.ndarray,
  tile_columns: int,
) -> Iterator[Array]:
  for start in range(0, secrets_LxM.shape[1], tile_columns):
    tile_LxW = secrets_LxM[:, start : start + tile_columns]
    random_ZxW = uniform(seeds_Zx8, start, tile_LxW.shape[1], scheme.field)
    yield _share(scheme, tile_LxW, random_ZxW)


def add_in_tiles(
  scheme: Shamir,
  held: list[Array],
  secrets_LxM: np.ndarray,
  seeds_Zx8: np.ndarray,
) -> list[Array]:
  """Adds the shares of one client to what the servers hold, tile by tile.

  Args:
    scheme: the sharing scheme.
    held: uint32 [N, columns] a tile; donated, they must not be used again.
    secrets_LxM: uint32 [L, M] field elements, on the host.
    seeds_Zx8: uint32 [Z, 8], the seeds of servers 1 .. t.

  Returns:
    What the servers hold then, in the same tiles.

  Raises:
    ValueError: if the tiles do not hold as many columns as the secrets have, or
      other arguments do not fit.
  """
  _check(scheme, secrets_LxM, seeds_Zx8)
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
    random_ZxW = uniform(seeds_Zx8, start, tile_LxW.shape[1], scheme.field)
    added.append(_add_shares(scheme, sums_NxW, tile_LxW, random_ZxW))
    start += sums_NxW.shape[1]
  return added


def _check(
  scheme: Shamir, secrets_LxM: np.ndarray, seeds_Zx8: np.ndarray
) -> None:
  num_secrets, num_seeds = scheme.secrets_per_polynomial, scheme.num_random
  scheme.field.check('secrets_LxM', secrets_LxM, (num_secrets, 'M'))
  arrays.check('seeds_Zx8', seeds_Zx8, np.uint32, (num_seeds, chacha.KEY_WORDS))


@functools.partial(jax.jit, static_argnums=0)
def _share(scheme: Shamir, secrets_LxW: Array, random_ZxW: Array) -> Array:
  return scheme.explicit_shares(secrets_LxW, random_ZxW)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _add_shares(
  scheme: Shamir, sums_NxW: Array, secrets_LxW: Array, random_ZxW: Array
) -> Array:
  shares_NxW = scheme.share_with(secrets_LxW, random_ZxW)
  return scheme.field.add(sums_NxW, shares_NxW)
