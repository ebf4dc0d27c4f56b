"""Words of a few bits as a string of bits without gaps, and back."""

import numpy as np

from fps_jax.core import arrays

_MAX_BITS = 32


def packed_bytes(num_words: int, bits: int) -> int:
  """Returns the length of `num_words` words of `bits` bits, packed.

  Raises:
    ValueError: if there are less than 0 words, or not 0 to 32 bits.
  """
  arrays.check_integer('num_words', num_words, 0)
  arrays.check_integer('bits', bits, 0, _MAX_BITS)
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
  arrays.check_integer('bits', bits, 0, _MAX_BITS)
  outside = (words_M < 0) | (words_M >= 2**bits)
  if outside.any():
    position = int(outside.argmax())
    raise ValueError(
      f'word {position} is {words_M[position]}, which {bits} bits do not hold'
    )
  bytes_Mx4 = words_M.astype('<u4').view(np.uint8).reshape(-1, 4)
  low_MxB = np.unpackbits(bytes_Mx4, axis=1, count=bits, bitorder='little')
  return np.packbits(low_MxB, bitorder='little').tobytes()


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
  # Every eighth word begins at the same bit of a byte, `bits` bytes after the
  # one before. Eight bytes hold any, and may reach beyond the payload.
  padded = bytes(payload) + bytes(_MAX_BITS)
  low_bits = np.uint64(2**bits - 1)
  words_M = np.empty(num_words, np.uint32)
  for i in range(8):
    part, (start, shift) = words_M[i::8], divmod(i * bits, 8)
    windows = np.ndarray(len(part), '<u8', padded, start, (bits,))
    part[:] = windows >> np.uint64(shift) & low_bits
  return words_M


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
