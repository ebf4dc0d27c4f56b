"""Tests of `fps_jax.sharing.wire`: what is encoded decodes, or is refused."""

import dataclasses
import struct

import numpy as np
import pytest

from fps_jax.sharing import wire
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.wire import Header, Kind

PRIMES = (2, 3, 257, 65537, 2**19 - 1, 2**22 - 3, 2**31 - 1)
SIZES = range(41)
FIELD = PrimeField(2**19 - 1)


def make_header(kind: Kind, num_values: int, prime: int = 0) -> Header:
  return Header(
    kind=kind,
    round=70_000,
    sender=2**32 - 1,
    receiver=3,
    num_values=num_values,
    num_servers=5 if prime else 0,
    threshold=3 if prime else 0,
    prime=prime,
  )


def words_message(
  num_values: int = 5, field: PrimeField = FIELD, kind: Kind = Kind.SHARE
) -> tuple[Header, np.ndarray, int, bytes]:
  """Returns a header, words, the word of the count and their message."""
  header = make_header(kind, num_values, field.modulus)
  rng = np.random.default_rng(num_values)
  words = rng.integers(field.modulus, size=num_values + 1, dtype=np.uint32)
  words[::3] = field.modulus - 1
  message = wire.encode_words(header, words[:-1], int(words[-1]), field)
  return header, words[:-1], int(words[-1]), message


def floats(size: int) -> np.ndarray:
  values = np.random.default_rng(size).normal(size=size).astype(np.float32)
  values[::4] = np.resize(np.float32([-0.0, 1e-45, -3.4e38, 0.1]), size)[::4]
  return values


def update_message(num_values: int = 5) -> bytes:
  header = make_header(Kind.UPDATE, num_values)
  return wire.encode_update(header, floats(num_values), 600)


def model_message(mask_D: np.ndarray) -> bytes:
  params = np.where(mask_D, floats(len(mask_D)), np.float32(0))
  return wire.encode_model(7, 9, params, mask_D)


def some_mask(size: int = 11) -> np.ndarray:
  return np.random.default_rng(size).random(size) < 0.4


def patch(
  message: bytes, offset: int, layout: str, value: int | bytes
) -> bytes:
  """Returns the message with one field of it overwritten."""
  patched = bytearray(message)
  struct.pack_into(layout, patched, offset, value)
  return bytes(patched)


def every_message() -> dict[str, tuple[bytes, object]]:
  """Returns a message of every kind with the function that decodes it."""

  def decode_words(message):
    return wire.decode_words(message, FIELD)

  return {
    'UPDATE': (update_message(), wire.decode_update),
    'SHARE': (words_message()[-1], decode_words),
    'SUM': (words_message(kind=Kind.SUM)[-1], decode_words),
    'MODEL': (model_message(np.ones(5, bool)), wire.decode_model),
    'SPARSE_MODEL': (model_message(some_mask()), wire.decode_model),
  }


EVERY_KIND = pytest.mark.parametrize('kind', [kind.name for kind in Kind])


def test_every_kind_is_tested() -> None:
  for name, (message, decode) in every_message().items():
    assert decode(message)[0].kind is Kind[name]
  assert set(every_message()) == set(Kind.__members__)


@pytest.mark.parametrize('bits', range(1, 33))
def test_packed_words_are_a_gapless_string_of_bits(bits: int) -> None:
  for size in SIZES:
    words = np.random.default_rng(size).integers(
      2**bits, size=size, dtype=np.uint32
    )
    words[::3] = 2**bits - 1
    # One large number: word i starts at bit i * bits.
    number = sum(word << (i * bits) for i, word in enumerate(words.tolist()))
    length = (size * bits + 7) // 8
    packed = wire.pack_words(words, bits)
    assert packed == number.to_bytes(length, 'little')
    assert wire.packed_bytes(size, bits) == length
    unpacked = wire.unpack_words(packed, size, bits)
    assert unpacked.dtype == np.uint32
    np.testing.assert_array_equal(unpacked, words)


@pytest.mark.parametrize('p', PRIMES)
@pytest.mark.parametrize('kind', [Kind.SHARE, Kind.SUM])
def test_words_round_trip(p: int, kind: Kind) -> None:
  field = PrimeField(p)
  for size in SIZES:
    header, words, count_word, message = words_message(size, field, kind)
    expected_bits = (size + 1) * field.bits
    assert len(message) == wire.HEADER_BYTES + (expected_bits + 7) // 8
    assert len(message) == wire.words_message_bytes(size, field)
    decoded_header, decoded, decoded_count = wire.decode_words(message, field)
    assert decoded_header == header
    assert decoded.dtype == np.uint32
    np.testing.assert_array_equal(decoded, words)
    assert decoded_count == count_word


def test_update_round_trips() -> None:
  for size in SIZES:
    header, values = make_header(Kind.UPDATE, size), floats(size)
    for count in (0, 600, 2**32 - 1):
      message = wire.encode_update(header, values, count)
      assert len(message) == wire.HEADER_BYTES + 4 * size + 4
      assert len(message) == wire.update_message_bytes(size)
      decoded_header, decoded, decoded_count = wire.decode_update(message)
      assert decoded_header == header
      assert decoded.dtype == np.float32
      # By bits: negative zeros and denormals stay what they are.
      assert decoded.tobytes() == values.tobytes()
      assert decoded_count == count


@pytest.mark.parametrize('density', [0.0, 0.3, 1.0])
def test_model_round_trips(density: float) -> None:
  for size in SIZES:
    mask = np.random.default_rng(size).random(size) < density
    params = np.where(mask, floats(size), np.float32(0))
    message = wire.encode_model(7, 9, params, mask)
    is_dense = bool(mask.all())
    bitmap = 0 if is_dense else (size + 7) // 8
    assert len(message) == wire.HEADER_BYTES + bitmap + 4 * mask.sum()
    assert len(message) == wire.model_message_bytes(size, int(mask.sum()))
    header, decoded, decoded_mask = wire.decode_model(message)
    assert header == Header(
      kind=Kind.MODEL if is_dense else Kind.SPARSE_MODEL,
      round=7,
      sender=0,
      receiver=9,
      num_values=size,
    )
    assert decoded.dtype == np.float32
    assert decoded_mask.dtype == np.bool_
    np.testing.assert_array_equal(decoded_mask, mask)
    assert decoded.tobytes() == params.tobytes()


@pytest.mark.parametrize('kind', list(Kind))
def test_header_round_trips(kind: Kind) -> None:
  largest = Header(
    kind=kind,
    round=2**32 - 1,
    sender=2**32 - 2,
    receiver=2**32 - 3,
    num_values=2**32 - 4,
    num_servers=2**16 - 1,
    threshold=2**16 - 2,
    prime=2**31 - 1,
  )
  for header in (largest, make_header(kind, 0)):
    encoded = header.encode()
    assert len(encoded) == wire.HEADER_BYTES
    assert Header.decode(encoded + b'payload') == header


def test_layout_is_pinned() -> None:
  # Changing the format must change the magic bytes: other versions read this.
  header = make_header(Kind.SHARE, 3, 7)
  message = wire.encode_words(header, np.uint32([1, 2, 3]), 6, PrimeField(7))
  assert message == bytes.fromhex(
    '46505331 02000500 03000000 07000000 70110100 ffffffff 03000000 03000000'
    'd10c'
  )


@EVERY_KIND
def test_message_that_was_cut_off_is_refused(kind: str) -> None:
  message, decode = every_message()[kind]
  for length in range(len(message)):
    if length < wire.HEADER_BYTES:
      expected = f'a message of {length} bytes is shorter than a header'
    else:
      expected = f'the message has {length} bytes, its header announces '
    with pytest.raises(ValueError, match=expected):
      decode(message[:length])


@EVERY_KIND
def test_message_with_more_bytes_is_refused(kind: str) -> None:
  message, decode = every_message()[kind]
  for extra in (b'\0', b'\0\0\0\0', message):
    length = len(message) + len(extra)
    expected = f'has {length} bytes, its header announces {len(message)}$'
    with pytest.raises(ValueError, match=expected):
      decode(message + extra)


@EVERY_KIND
def test_message_of_another_format_is_refused(kind: str) -> None:
  message, decode = every_message()[kind]
  expected = r"starts with b'FPS2', not b'FPS1': it is not of this format"
  with pytest.raises(ValueError, match=expected):
    decode(patch(message, 0, '<4s', b'FPS2'))


@EVERY_KIND
@pytest.mark.parametrize('number', [0, 6, 255])
def test_unknown_kind_is_refused(kind: str, number: int) -> None:
  message, decode = every_message()[kind]
  with pytest.raises(ValueError, match=f'message kind {number} is not one of'):
    decode(patch(message, 4, '<B', number))


@EVERY_KIND
def test_message_of_another_kind_is_refused(kind: str) -> None:
  message, right_decode = every_message()[kind]
  for other, (_, decode) in every_message().items():
    if 'MODEL' in kind and 'MODEL' in other:
      continue
    if {kind, other} == {'SHARE', 'SUM'} or kind == other:
      continue
    with pytest.raises(ValueError, match=rf'expected .*, got {kind}$'):
      decode(message)
  assert right_decode(message)


@EVERY_KIND
def test_header_with_another_number_of_values_is_refused(kind: str) -> None:
  message, decode = every_message()[kind]
  num_values = Header.decode(message).num_values
  for other in (0, num_values - 1, num_values + 8, 2**20):
    with pytest.raises(ValueError, match='its header announces'):
      decode(patch(message, wire.HEADER_BYTES - 4, '<I', other))


def test_words_of_another_field_are_refused() -> None:
  _, words, count_word, message = words_message()
  other = PrimeField(2**22 - 3)
  with pytest.raises(ValueError, match='is modulo 524287, expected 4194301'):
    wire.decode_words(message, other)
  header = Header.decode(message)
  announced = r'announces 5 words modulo 524287, .* has 5 modulo 4194301'
  with pytest.raises(ValueError, match=announced):
    wire.encode_words(header, words, count_word, other)


def test_header_of_another_length_is_not_encoded() -> None:
  header, words, count_word, _ = words_message()
  other = dataclasses.replace(header, num_values=6)
  announced = r'announces 6 words modulo 524287, .* has 5 modulo 524287'
  with pytest.raises(ValueError, match=announced):
    wire.encode_words(other, words, count_word, FIELD)


@pytest.mark.parametrize('p', [3, 65537, 2**19 - 1, 2**31 - 1])
@pytest.mark.parametrize('position', [0, 3, 5])
def test_word_outside_the_field_is_refused(p: int, position: int) -> None:
  field, header = PrimeField(p), make_header(Kind.SUM, 5, p)
  words = np.zeros(6, np.uint32)
  # The least and the largest that are wrong and fit the bits.
  for wrong in {p, 2**field.bits - 1}:
    words[position] = wrong
    expected = rf'word {position} is {wrong}, outside \[0, {p}\)'
    with pytest.raises(ValueError, match=expected):
      wire.encode_words(header, words[:-1], int(words[-1]), field)
    message = header.encode() + wire.pack_words(words, field.bits)
    with pytest.raises(ValueError, match=expected):
      wire.decode_words(message, field)
  words[position] = p - 1
  message = wire.encode_words(header, words[:-1], int(words[-1]), field)
  _, decoded, count_word = wire.decode_words(message, field)
  assert [*decoded.tolist(), count_word] == words.tolist()


@pytest.mark.parametrize('word', [-1, FIELD.modulus, 2**32, 2**40 + 1])
def test_word_outside_the_field_is_not_encoded(word: int) -> None:
  header = make_header(Kind.SHARE, 2, FIELD.modulus)
  with pytest.raises(ValueError, match=rf'is {word}, outside \[0, 524287\)'):
    wire.encode_words(header, np.array([1, word]), 0, FIELD)
  with pytest.raises(ValueError, match=rf'word 2 is {word}, outside'):
    wire.encode_words(header, np.array([1, 2]), word, FIELD)


def test_header_that_does_not_fit_the_payload_is_not_encoded() -> None:
  model = make_header(Kind.MODEL, 2, FIELD.modulus)
  with pytest.raises(ValueError, match='expected SHARE or SUM, got MODEL'):
    wire.encode_words(model, np.array([1, 2]), 0, FIELD)
  update = make_header(Kind.UPDATE, 3)
  with pytest.raises(ValueError, match=r'announces 3 values.*has 2'):
    wire.encode_update(update, floats(2), 1)
  with pytest.raises(ValueError, match='count=-1 must be in'):
    wire.encode_update(update, floats(3), -1)


def test_header_number_out_of_range_is_not_encoded() -> None:
  header = dataclasses.replace(make_header(Kind.UPDATE, 3), round=2**32)
  with pytest.raises(ValueError, match=r'header field round=4294967296 must'):
    header.encode()


def test_model_with_a_value_where_it_is_pruned_is_not_encoded() -> None:
  params, mask = np.float32([1, 2, 3]), np.array([True, False, True])
  with pytest.raises(ValueError, match='parameter 1 is not 0 but is not kept'):
    wire.encode_model(0, 1, params, mask)


def test_length_is_checked_before_anything_is_allocated() -> None:
  header = make_header(Kind.MODEL, 2**32 - 1)
  with pytest.raises(ValueError, match='bytes, its header announces 1717'):
    wire.decode_model(header.encode())
