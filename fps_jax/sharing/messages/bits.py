"""Words of a few bits as a string of bits without gaps, and back.

32 words of b bits fill exactly b lanes of 32 bits, wherever they stand. So word
i of every group of 32 is moved by the same shift to the same lane, and numpy
moves them all at once.
"""

import numpy as np

from fps_jax.core import arrays

_LANE_BITS = 32
_LOW_LANE = np.uint64(2**_LANE_BITS - 1)


def packed_bytes(num_words: int, bits: int) -> int:
  """Returns the length of `num_words` words of `bits` bits, packed.

  Raises:
    ValueError: if there are less than 0 words, or not 0 to 32 bits.
  """
  arrays.check_integer('num_words', num_words, 0)
  arrays.check_integer('bits', bits, 0, _LANE_BITS)
  return -(-num_words * bits // 8)


def pack_words(words_M: np.ndarray, bits: int) -> bytes:
  """Packs words into `bits` bits each, lowest bit first, without gaps.

  Args:
    words_M: uint32 [M], or of another integer type or bool, each below 2^bits.
    bits: in [1, 32].

  Returns:
    `packed_bytes(M, bits)` bytes; the bits after the last word are 0.

  Raises:
    ValueError: if a word needs more bits, or words are no integers or no
      vector.
  """
  words_M = np.asarray(words_M)
  if words_M.dtype.kind not in 'iub' or words_M.ndim != 1:
    raise ValueError(
      f'words_M is {words_M.dtype} {list(words_M.shape)}, must be uint32 [M]: '
      'make words integers, in one row'
    )
  num_words = len(words_M)
  length = packed_bytes(num_words, bits)
  outside = (words_M < 0) | (words_M >= 2**bits)
  if outside.any():
    position = int(outside.argmax())
    raise ValueError(
      f'word {position} is {words_M[position]}, which {bits} bits do not hold'
    )
  num_groups = -(-num_words // _LANE_BITS)
  padded = np.zeros(num_groups * _LANE_BITS, np.uint64)
  padded[:num_words] = words_M
  words_WxG = np.ascontiguousarray(padded.reshape(num_groups, _LANE_BITS).T)
  # One lane more than is filled, for the (empty) overhang of the last word.
  lanes_LxG = np.zeros((bits + 1, num_groups), np.uint64)
  for i in range(_LANE_BITS):
    lane, shift = divmod(i * bits, _LANE_BITS)
    shifted_G = words_WxG[i] << np.uint64(shift)
    lanes_LxG[lane] |= shifted_G & _LOW_LANE
    lanes_LxG[lane + 1] |= shifted_G >> np.uint64(_LANE_BITS)
  packed = lanes_LxG[:bits].T.astype('<u4').tobytes()
  return packed[:length]


def unpack_words(payload: bytes, num_words: int, bits: int) -> np.ndarray:
  """Returns the uint32 [num_words] words that `pack_words` packed.

  Raises:
    ValueError: if the payload has another length, or bits that no word uses
      are set: every sequence of words has one encoding.
  """
  length = packed_bytes(num_words, bits)
  if len(payload) != length:
    raise ValueError(
      f'{num_words} words of {bits} bits are {length} bytes, not {len(payload)}'
    )
  check_padding(payload, num_words * bits)
  num_groups = -(-num_words // _LANE_BITS)
  padded = bytes(payload).ljust(num_groups * bits * _LANE_BITS // 8, b'\0')
  lanes_GxL = np.frombuffer(padded, '<u4').reshape(num_groups, bits)
  lanes_LxG = np.zeros((bits + 1, num_groups), np.uint64)
  lanes_LxG[:bits] = lanes_GxL.T
  low_bits = np.uint64(2**bits - 1)
  words_WxG = np.empty((_LANE_BITS, num_groups), np.uint32)
  for i in range(_LANE_BITS):
    lane, shift = divmod(i * bits, _LANE_BITS)
    both_G = lanes_LxG[lane] | lanes_LxG[lane + 1] << np.uint64(_LANE_BITS)
    words_WxG[i] = both_G >> np.uint64(shift) & low_bits
  return words_WxG.T.ravel()[:num_words]


def check_padding(payload: bytes, num_bits: int) -> None:
  """Refuses a string of `num_bits` bits whose last byte has others set.

  Raises:
    ValueError: if a bit after the first `num_bits` is set.
  """
  used = num_bits % 8
  if used and payload[-1] >> used:
    raise ValueError(
      f'the last byte is {payload[-1]:#04x}, but only its lowest {used} bits '
      'are used: the others must be 0'
    )
