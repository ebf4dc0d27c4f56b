"""Which k of D positions are set, in few bytes: a bitmap, or Elias-Fano.

Elias-Fano splits ascending positions at b bits. The lower bits are packed as
they are; of the upper ones a string of bits has, for every position, as many 0
as they have grown, then a 1. That takes k (b + 1) bits and less than D / 2^b
more. Half of all positions take a bitmap; a tenth of them take half of one, 12
percent more than a random choice needs at least.

Reference: P. Elias, Efficient storage and retrieval by content and address of
static files, Journal of the ACM 21(2), 1974.

Example:
  >>> mask = np.zeros(1000, bool)
  >>> mask[[3, 500, 999]] = True
  >>> payload = encode_positions(mask)
  >>> len(payload), position_bytes(1000, 3)
  (4, 4)
  >>> np.flatnonzero(decode_positions(payload, 1000, 3)).tolist()
  [3, 500, 999]
"""

import numpy as np

from fps_jax.core import arrays
from fps_jax.sharing.messages.bits import pack_words, packed_bytes, unpack_words


def position_bytes(size: int, count: int) -> int:
  """Returns the length of `count` of `size` positions, whichever they are.

  Raises:
    ValueError: if `count` is not in [0, `size`].
  """
  low_bits = _choose_low_bits(size, count)
  if low_bits is None:
    return packed_bytes(size, 1)
  num_high = _num_high_bits(size, count, low_bits)
  return packed_bytes(count, low_bits) + packed_bytes(num_high, 1)


def encode_positions(mask_D: np.ndarray) -> bytes:
  """Encodes the positions that are True in bool [D].

  Raises:
    ValueError: if the mask is of another type or shape.
  """
  arrays.check('mask_D', mask_D, bool, ('D',))
  low_bits = _choose_low_bits(len(mask_D), int(mask_D.sum()))
  if low_bits is None:
    return pack_words(mask_D, 1)
  positions_K = np.flatnonzero(mask_D)
  count = len(positions_K)
  high_H = np.zeros(_num_high_bits(len(mask_D), count, low_bits), bool)
  high_H[(positions_K >> low_bits) + np.arange(count)] = True
  low = b''
  if low_bits:
    low = pack_words(positions_K & (2**low_bits - 1), low_bits)
  return low + pack_words(high_H, 1)


def decode_positions(payload: bytes, size: int, count: int) -> np.ndarray:
  """Returns the bool [size] that `encode_positions` encoded.

  Args:
    payload: `position_bytes(size, count)` bytes.
    size: D.
    count: how many are True.

  Raises:
    ValueError: if the payload is not one that `encode_positions` makes.
  """
  if len(payload) != position_bytes(size, count):
    raise ValueError(
      f'{count} of {size} positions are {position_bytes(size, count)} bytes, '
      f'not {len(payload)}'
    )
  low_bits = _choose_low_bits(size, count)
  if low_bits is None:
    mask_D = unpack_words(payload, size, 1).astype(bool)
    _check_count(int(mask_D.sum()), count)
    return mask_D
  num_low = packed_bytes(count, low_bits)
  num_high = _num_high_bits(size, count, low_bits)
  high_H = unpack_words(payload[num_low:], num_high, 1)
  _check_count(int(high_H.sum()), count)
  positions_K = (np.flatnonzero(high_H) - np.arange(count)) << low_bits
  if low_bits:
    positions_K |= unpack_words(payload[:num_low], count, low_bits)
  if np.any(np.diff(positions_K) <= 0) or np.any(positions_K >= size):
    raise ValueError(
      f'positions must ascend and be below {size}: the message was changed'
    )
  mask_D = np.zeros(size, bool)
  mask_D[positions_K] = True
  return mask_D


def _choose_low_bits(size: int, count: int) -> int | None:
  """Returns the b that needs the fewest bits; None for a bitmap."""
  arrays.check_integer('size', size, 0)
  arrays.check_integer('count', count, 0, size)
  needed = [
    count * bits + _num_high_bits(size, count, bits) for bits in range(32)
  ]
  fewest = min(needed)
  return needed.index(fewest) if fewest < size else None


def _num_high_bits(size: int, count: int, low_bits: int) -> int:
  return count + (max(size - 1, 0) >> low_bits)


def _check_count(found: int, expected: int) -> None:
  if found != expected:
    raise ValueError(
      f'{found} positions are set, {expected} were announced: the message was '
      'changed'
    )
