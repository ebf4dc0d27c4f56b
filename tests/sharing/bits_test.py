"""Tests of `sharing.messages.bits`: words to a gapless string and back."""

import numpy as np
import pytest

from fps_jax.sharing.messages import bits as bits_lib

SIZES = (*range(41), 63, 64, 65, 1000)


def random_words(size: int, bits: int) -> np.ndarray:
  """Returns words of `bits` bits, every third the largest of them."""
  words = np.random.default_rng(size).integers(
    2**bits, size=size, dtype=np.uint32
  )
  words[::3] = 2**bits - 1
  return words


@pytest.mark.parametrize('bits', range(1, 33))
def test_packed_words_are_a_gapless_string_of_bits(bits: int) -> None:
  for size in SIZES:
    words = random_words(size, bits)
    # One large number: word i starts at bit i * bits.
    number = sum(word << (i * bits) for i, word in enumerate(words.tolist()))
    length = (size * bits + 7) // 8
    packed = bits_lib.pack_words(words, bits)
    assert packed == number.to_bytes(length, 'little')
    assert bits_lib.packed_bytes(size, bits) == length
    unpacked = bits_lib.unpack_words(packed, size, bits)
    assert unpacked.dtype == np.uint32
    np.testing.assert_array_equal(unpacked, words)


def test_unpacked_words_may_be_written_to() -> None:
  unpacked = bits_lib.unpack_words(b'\x05', 1, 3)
  unpacked += 1
  assert unpacked.tolist() == [6]


@pytest.mark.parametrize('bits', [1, 3, 7, 9, 17, 22, 31])
def test_set_bits_after_the_last_word_are_refused(bits: int) -> None:
  for size in range(1, 9):
    packed = bits_lib.pack_words(random_words(size, bits), bits)
    for bit in range(size * bits, 8 * len(packed)):
      wrong = bytearray(packed)
      wrong[-1] |= 1 << (bit % 8)
      used = size * bits % 8
      expected = f'only its lowest {used} bits are used: the others must be 0'
      with pytest.raises(ValueError, match=expected):
        bits_lib.unpack_words(bytes(wrong), size, bits)


def test_every_string_of_bytes_is_one_value_or_refused() -> None:
  for number in range(256):
    packed = bytes([number])
    if number < 64:
      words = bits_lib.unpack_words(packed, 2, 3)
      assert words.tolist() == [number % 8, number // 8]
      assert bits_lib.pack_words(words, 3) == packed
    else:
      with pytest.raises(ValueError, match='the others must be 0'):
        bits_lib.unpack_words(packed, 2, 3)


@pytest.mark.parametrize('length', [0, 6, 8, 32])
def test_payload_of_another_length_is_refused(length: int) -> None:
  expected = f'3 words of 17 bits are 7 bytes, not {length}'
  with pytest.raises(ValueError, match=expected):
    bits_lib.unpack_words(bytes(length), 3, 17)


@pytest.mark.parametrize('bits', [1, 17, 31])
def test_word_of_too_many_bits_is_not_packed(bits: int) -> None:
  words = np.array([1, 2**bits, 0], np.uint32)
  expected = f'word 1 is {2**bits}, which {bits} bits do not hold'
  with pytest.raises(ValueError, match=expected):
    bits_lib.pack_words(words, bits)


def test_lengths_are_python_ints_and_do_not_wrap() -> None:
  assert bits_lib.packed_bytes(2**40, 31) == 2**37 * 31
