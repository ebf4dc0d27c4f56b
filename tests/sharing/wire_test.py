"""Tests of `messages.shared`: what is encoded decodes, or is refused."""

import dataclasses
import hashlib
import itertools
import struct

import numpy as np
import pytest

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import bits, clear, shared
from fps_jax.sharing.messages.header import HEADER_BYTES, Header, Kind
from fps_jax.sharing.messages.positions import position_bytes
from fps_jax.sharing.shamir import Shamir
from tests.helpers.messages import SCHEME, example, make_header, model_example

PRIMES = (7, 11, 257, 65537, 2**19 - 1, 2**22 - 3, 2**31 - 1)
SERVERS = ((1, 1, 1), (3, 2, 1), (5, 4, 2), (6, 5, 1))
SIZES = (*range(18), 64)
EVERY_KIND = pytest.mark.parametrize('kind', list(Kind))


def assert_same(actual: tuple, expected: tuple) -> None:
  assert len(actual) == len(expected)
  for one, other in zip(actual, expected, strict=True):
    assert type(one) is type(other)
    if isinstance(other, np.ndarray):
      assert (one.dtype, one.shape) == (other.dtype, other.shape)
      # By bits: negative zeros and denormals stay what they are.
      assert one.tobytes() == other.tobytes()
    else:
      assert one == other


@EVERY_KIND
def test_every_kind_round_trips(kind: Kind) -> None:
  for size in SIZES:
    for numbers, prime in itertools.product(SERVERS, PRIMES):
      scheme = Shamir(PrimeField(prime), *numbers)
      if kind is Kind.SEED and not scheme.num_random:
        continue
      if kind is Kind.SPARSE_MODEL and not size:
        continue
      message, parts, _, decode = example(kind, size, scheme)
      assert parts[0].kind is kind
      assert_same(decode(message), parts)


def test_lengths_are_those_of_encoded_messages() -> None:
  assert shared.seed_message_bytes() == HEADER_BYTES + 32
  assert shared.seed_message_bytes() == len(example(Kind.SEED).message)
  for size in SIZES:
    message = example(Kind.UPDATE, size).message
    assert len(message) == clear.update_message_bytes(size)
    assert len(message) == HEADER_BYTES + 4 * size + 4
    message = example(Kind.QUANTISED_UPDATE, size).message
    assert len(message) == clear.quantised_update_message_bytes(size, 5)
    assert len(message) == HEADER_BYTES + 1 + (5 * size + 7) // 8 + 4
  for numbers, prime in itertools.product(SERVERS, PRIMES):
    scheme = Shamir(PrimeField(prime), *numbers)
    for size in SIZES:
      share = shared.share_message_bytes(size, scheme)
      num_bits = scheme.num_columns(size + 1) * scheme.field.bits
      assert share == HEADER_BYTES + (num_bits + 7) // 8
      assert share == len(example(Kind.SHARE, size, scheme).message)
      total = shared.sum_message_bytes(size, scheme)
      assert total == share + 20
      assert total == len(example(Kind.SUM, size, scheme).message)
      check = shared.check_message_bytes(size, 3, scheme)
      assert check == HEADER_BYTES + 4 + (3 * size * scheme.field.bits + 7) // 8
      assert check == len(example(Kind.CHECK, size, scheme).message)


@pytest.mark.parametrize('density', [0.0, 0.3, 1.0])
def test_models_round_trip(density: float) -> None:
  for size in range(41):
    mask = np.random.default_rng(size).random(size) < density
    message, parts, _, decode = model_example(mask)
    which = 0 if mask.all() else 4 + position_bytes(size, int(mask.sum()))
    assert len(message) == HEADER_BYTES + which + 4 * mask.sum()
    assert len(message) == clear.model_message_bytes(size, int(mask.sum()))
    assert_same(decode(message), parts)


def test_payloads_are_pinned() -> None:
  # Changing the format must change the version: other releases read this.
  scheme = Shamir(PrimeField(11), 5, 4, 2)
  digest = shared.client_set_digest([3, 1])
  assert digest == hashlib.sha256(bytes([1, 0, 0, 0, 3, 0, 0, 0])).digest()[:16]
  words = np.uint32([1, 2, 10])
  share = shared.encode_share(make_header(Kind.SHARE, 4, scheme), words, scheme)
  assert share[HEADER_BYTES:] == bytes.fromhex('210a')
  sum_header = make_header(Kind.SUM, 5, scheme)
  summed = shared.encode_sum(sum_header, 2, digest, words, scheme)
  assert summed[HEADER_BYTES:] == b'\2\0\0\0' + digest + bytes.fromhex('210a')
  check_header = make_header(Kind.CHECK, 3, scheme)
  check = shared.encode_check(check_header, words[:, None], scheme)
  assert check[HEADER_BYTES:] == bytes.fromhex('01000000 210a')
  seed_header = make_header(Kind.SEED, 4, scheme)
  seed = shared.encode_seed(seed_header, np.arange(8, dtype=np.uint32), scheme)
  assert seed[HEADER_BYTES:] == struct.pack('<8I', *range(8))


def test_positions_of_another_size_are_refused() -> None:
  message = example(Kind.POSITIONS, 5).message
  with pytest.raises(ValueError, match='positions of 5 values must be of 6'):
    clear.decode_positions_message(message, 6)
  header = make_header(Kind.POSITIONS, 4)
  with pytest.raises(ValueError, match='announces 4 values, the payload has 5'):
    clear.encode_positions_message(header, np.ones(5, bool))


@EVERY_KIND
def test_flipped_bit_is_refused_or_another_message(kind: Kind) -> None:
  for size in (1, 5, 7):
    message, _, encode, decode = example(kind, size)
    for bit in range(8 * len(message)):
      flipped = bytearray(message)
      flipped[bit // 8] ^= 1 << bit % 8
      try:
        parts = decode(bytes(flipped))
      except ValueError:
        continue
      assert encode(*parts) == flipped


@EVERY_KIND
def test_message_of_another_length_is_refused(kind: Kind) -> None:
  message, _, _, decode = example(kind)
  for length in range(len(message)):
    if length < HEADER_BYTES:
      expected = f'a message of {length} bytes is shorter than a header'
    else:
      expected = f'has {length} bytes, its header announces .* cut off'
    with pytest.raises(ValueError, match=expected):
      decode(message[:length])
  for extra in (b'\0', b'\0\0\0\0', message):
    length = len(message) + len(extra)
    expected = f'has {length} bytes, its header announces {len(message)}:'
    with pytest.raises(ValueError, match=expected):
      decode(message + extra)


@EVERY_KIND
def test_message_of_another_kind_or_scheme_is_refused(kind: Kind) -> None:
  message, _, _, decode = example(kind)
  models = {Kind.MODEL, Kind.SPARSE_MODEL}
  for other in Kind:
    if other is not kind and {kind, other} != models:
      with pytest.raises(ValueError, match=rf'expected .*, got {other.name}'):
        decode(example(other).message)
  wrong = bytearray(message)
  wrong[6:8] = b'\7\0'
  with pytest.raises(ValueError, match='has num_servers=7, expected '):
    decode(bytes(wrong))


@EVERY_KIND
def test_other_number_of_values_is_refused(kind: Kind) -> None:
  message, _, _, decode = example(kind)
  if kind is Kind.SEED:
    return  # A seed is as long for any number.
  for other in (0, 3, 20, 2**32 - 1):
    # Before anything is allocated for it.
    wrong = message[:28] + struct.pack('<I', other) + message[32:]
    with pytest.raises(ValueError, match=r'header announces|must be'):
      decode(wrong)


@pytest.mark.parametrize('kind', [Kind.SHARE, Kind.SUM, Kind.CHECK])
@pytest.mark.parametrize('prime', [7, 65537, 2**19 - 1, 2**31 - 1])
def test_word_outside_the_field_is_refused(kind: Kind, prime: int) -> None:
  scheme = Shamir(PrimeField(prime), 3, 2)
  size, num_words = (2, 6) if kind is Kind.CHECK else (5, 6)
  message, parts, encode, decode = example(kind, size, scheme)
  start = len(message) - bits.packed_bytes(num_words, scheme.field.bits)
  # The least and the largest that are wrong and fit the bits.
  for wrong in {prime, 2**scheme.field.bits - 1}:
    for position in (0, 3, 5):
      words = np.zeros(num_words, np.uint32)
      words[position] = wrong
      expected = rf'word {position} is {wrong}, outside \[0, {prime}\): it'
      with pytest.raises(ValueError, match=expected):
        encode(*parts[:-1], words.reshape(parts[-1].shape))
      payload = bits.pack_words(words, scheme.field.bits)
      with pytest.raises(ValueError, match=expected):
        decode(message[:start] + payload)
  if num_words * scheme.field.bits % 8:
    with pytest.raises(ValueError, match='the others must be 0'):
      decode(message[:-1] + bytes([message[-1] | 0x80]))
  for wrong in (-1, 2**32, 2**40 + 1):
    words = np.full(parts[-1].shape, wrong)
    with pytest.raises(ValueError, match=rf'is {wrong}, outside'):
      encode(*parts[:-1], words)


@pytest.mark.parametrize(
  'kind', [Kind.SEED, Kind.SHARE, Kind.SUM, Kind.CHECK, Kind.QUANTISED_UPDATE]
)
def test_numbers_that_are_no_integers_are_refused(kind: Kind) -> None:
  _, parts, encode, decode = example(kind)
  place = next(
    i for i, part in enumerate(parts) if isinstance(part, np.ndarray)
  )
  numbers = parts[place]
  for wrong in (
    numbers.astype(np.float64),
    numbers.astype(np.float32) + np.float32(0.5),
    numbers > 0,
    numbers.astype(object),
  ):
    expected = f'are of type {wrong.dtype}, expected integers'
    with pytest.raises(ValueError, match=expected):
      encode(*parts[:place], wrong, *parts[place + 1 :])
  # Integers of another width are the same numbers.
  wide = numbers.astype(np.int64)
  message = encode(*parts[:place], wide, *parts[place + 1 :])
  assert_same(decode(message), parts)


@pytest.mark.parametrize('wrong', [-1, 2**32, 2**32 + 7])
def test_seed_outside_of_32_bits_is_refused(wrong: int) -> None:
  header, key = example(Kind.SEED).parts
  for position in (0, 5, 7):
    words = key.astype(np.int64)
    words[position] = wrong
    expected = rf'word {position} is {wrong}, outside \[0, 4294967296\): draw'
    with pytest.raises(ValueError, match=expected):
      shared.encode_seed(header, words, SCHEME)


def test_counts_that_are_no_integers_are_refused() -> None:
  header, values, _ = example(Kind.UPDATE).parts
  expected = 'count=1.5 is of type float, expected an integer'
  with pytest.raises(ValueError, match=expected):
    clear.encode_update(header, values, 1.5)
  header, _, digest, words = example(Kind.SUM).parts
  with pytest.raises(ValueError, match=r'num_clients=2\.0 is of type float'):
    shared.encode_sum(header, 2.0, digest, words, SCHEME)
  with pytest.raises(ValueError, match=r'client=0\.5 is of type float'):
    shared.client_set_digest([0.5, 1])


def test_sparse_model_of_another_form_is_refused() -> None:
  # Two of three are kept: a count, a bitmap, two values.
  message, *_ = example(Kind.SPARSE_MODEL, 3)
  start = HEADER_BYTES + 4
  assert message[HEADER_BYTES : start + 1] == b'\2\0\0\0\6'
  for bitmap, expected in (
    (b'\7', '3 positions are set, 2 were announced'),
    (b'\x0e', 'lowest 3 bits are used: the others'),
  ):
    with pytest.raises(ValueError, match=expected):
      clear.decode_model(message[:start] + bitmap + message[start + 1 :], 3)
  header = Header(Kind.SPARSE_MODEL, 7, 0, 9, 2).encode()
  for count in (b'\2\0\0\0', b'\xff\xff\xff\xff'):
    with pytest.raises(ValueError, match='of 2 parameters: one that keeps all'):
      clear.decode_model(header + count + b'\3' + bytes(8), 2)
  header = Header(Kind.MODEL, 7, 6, 9, 2).encode()
  with pytest.raises(ValueError, match='comes from sender 6, expected 0, the'):
    clear.decode_model(header + bytes(8), 2)
  for other in (1, 3, 2**32 - 1):
    with pytest.raises(ValueError, match=f'must be one of {other}:'):
      clear.decode_model(header + bytes(8), other)


def test_parts_that_do_not_fit_are_not_encoded() -> None:
  for kind, num_values, message in (
    (Kind.UPDATE, 6, 'announces 6 values, the payload has 5'),
    (Kind.SHARE, 7, '7 values, .* are 4 words of 2 secrets, .* has 3 words'),
    (Kind.SUM, 7, '7 values, .* are 4 words of 2 secrets, .* has 3 words'),
    (Kind.CHECK, 6, 'announces 6 clients, the payload has 5'),
  ):
    _, parts, encode, _ = example(kind)
    scheme = None if kind is Kind.UPDATE else SCHEME
    with pytest.raises(ValueError, match=message):
      encode(make_header(kind, num_values, scheme), *parts[1:])
    with pytest.raises(ValueError, match=f'expected {kind.name}, got SEED'):
      encode(make_header(Kind.SEED, 5, scheme), *parts[1:])
  header, values, _ = example(Kind.UPDATE).parts
  with pytest.raises(ValueError, match=r'count=-1 must be in \[0, 42'):
    clear.encode_update(header, values, -1)
  header, count, digest, words = example(Kind.SUM).parts
  with pytest.raises(ValueError, match=r'num_clients=-1 must be in \[0, 42'):
    shared.encode_sum(header, -1, digest, words, SCHEME)
  with pytest.raises(ValueError, match='of 15 bytes, expected 16: use client_'):
    shared.encode_sum(header, count, digest[:15], words, SCHEME)
  params, mask = np.float32([1, 2, 3]), np.array([True, False, True])
  with pytest.raises(ValueError, match='parameter 1 is not 0 but is not kept'):
    clear.encode_model(0, 1, params, mask)


@pytest.mark.parametrize('value_bits', range(2, 17))
def test_quantised_updates_of_any_bits_round_trip(value_bits: int) -> None:
  levels = 2 ** (value_bits - 1) - 1
  rounded = np.int32([-levels, levels, 0, 1 - levels, -1])
  header = make_header(Kind.QUANTISED_UPDATE, 5)
  message = clear.encode_quantised_update(header, rounded, value_bits, 7)
  decoded = clear.decode_quantised_update(message)
  assert_same(decoded, (header, rounded, value_bits, 7))
  for wrong in (-levels - 1, levels + 1):
    rounded[1] = wrong
    with pytest.raises(ValueError, match=f'is {wrong}, outside \\+-{levels}, '):
      clear.encode_quantised_update(header, rounded, value_bits, 7)


def test_quantised_update_of_another_form_is_refused() -> None:
  message = example(Kind.QUANTISED_UPDATE).message
  header = message[:HEADER_BYTES]
  with pytest.raises(ValueError, match='has 32 bytes, its header announces 37'):
    clear.decode_quantised_update(header)
  with pytest.raises(ValueError, match=r'value_bits=17 must be in \[2, 16\]'):
    clear.decode_quantised_update(header + b'\x11' + message[33:])
  all_ones = header + b'\5' + b'\xff\xff\xff\1' + message[-4:]
  with pytest.raises(ValueError, match='value 0 is one that no value of 5'):
    clear.decode_quantised_update(all_ones)


def test_seed_that_nobody_takes_is_refused() -> None:
  message, (header, key), *_ = example(Kind.SEED)
  for shape in ((7,), (9,), (1, 8)):
    with pytest.raises(ValueError, match=r'a seed has shape .*expected \(8,\)'):
      shared.encode_seed(header, np.zeros(shape, np.uint32), SCHEME)
  for server in (0, 3, 6):
    other = dataclasses.replace(header, receiver=server)
    expected = f'SEED for server {server}, but only servers 1 to 2 take one'
    with pytest.raises(ValueError, match=expected):
      shared.encode_seed(other, key, SCHEME)
    with pytest.raises(ValueError, match=expected):
      shared.decode_seed(other.encode() + message[HEADER_BYTES:], SCHEME)
  scheme = dataclasses.replace(SCHEME, seeded=False)
  other = make_header(Kind.SEED, 5, scheme)
  with pytest.raises(ValueError, match='is not seeded: send a SHARE'):
    shared.encode_seed(other, key, scheme)
  with pytest.raises(ValueError, match='is not seeded: send a SHARE'):
    shared.decode_seed(other.encode() + message[HEADER_BYTES:], scheme)


def test_digests_tell_sets_of_clients_apart() -> None:
  sets = [(), (0,), (1,), (0, 1), (256,), (1, 2, 3), (2**32 - 1,)]
  assert len({shared.client_set_digest(clients) for clients in sets}) == len(
    sets
  )
  assert shared.client_set_digest({3, 1, 2}) == shared.client_set_digest(
    [2, 3, 1]
  )
  with pytest.raises(ValueError, match='client 4 repeats: a set names each'):
    shared.client_set_digest([4, 1, 4])
  for client in (-1, 2**32):
    with pytest.raises(ValueError, match=f'client={client} must be in'):
      shared.client_set_digest([1, client])
