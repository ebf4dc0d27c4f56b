"""Tests of `sharing.messages.header`: one encoding a header, or a refusal."""

import dataclasses

import pytest

from fps_jax.core.types import RoundPlan
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import clear
from fps_jax.sharing.messages import header as header_lib
from fps_jax.sharing.messages.header import (
  HEADER_BYTES,
  Header,
  Kind,
  scheme_numbers,
)
from fps_jax.sharing.shamir import Shamir
from tests.helpers.messages import example

LARGEST = Header(
  kind=Kind.CHECK,
  round=2**20 - 1,
  sender=2**32 - 2,
  receiver=2**32 - 3,
  num_values=2**32 - 4,
  num_servers=2**16 - 1,
  threshold=2**16 - 2,
  secrets_per_polynomial=2**16 - 3,
  seeded=True,
  prime=2**31 - 1,
  attempt=2**12 - 1,
)
SCHEME = Shamir(PrimeField(2**22 - 3), 5, 4, 2)
SMALL = Header(Kind.SHARE, 7, 9, 3, 100, **scheme_numbers(SCHEME), attempt=2)
BYTE_OF = {'version': 3, 'kind': 4, 'seeded': 5}


def patch(encoded: bytes, position: int, byte: int) -> bytes:
  return encoded[:position] + bytes([byte]) + encoded[position + 1 :]


@pytest.mark.parametrize('kind', list(Kind))
def test_headers_round_trip(kind: Kind) -> None:
  clear = Header(kind, 0, 0, 0, 0)
  for header in (clear, LARGEST, SMALL):
    header = dataclasses.replace(header, kind=kind)
    encoded = header.encode()
    assert len(encoded) == HEADER_BYTES == 32
    decoded = Header.decode(encoded + b'payload')
    assert decoded == header
    assert isinstance(decoded.kind, Kind)
    assert isinstance(decoded.seeded, bool)


def test_layout_is_pinned() -> None:
  # Changing the format must change the version: other releases read this.
  assert header_lib.VERSION == 4
  assert SMALL.encode() == bytes.fromhex(
    '465053 04 05 01 0500 0400 0200 fdff3f00 07002000 09000000 0300000064000000'
  )


@pytest.mark.parametrize('header', [SMALL, LARGEST])
def test_flipped_bit_is_refused_or_another_header(header: Header) -> None:
  encoded = header.encode()
  for bit in range(8 * HEADER_BYTES):
    byte = encoded[bit // 8] ^ 1 << bit % 8
    flipped = patch(encoded, bit // 8, byte)
    try:
      decoded = Header.decode(flipped)
    except ValueError:
      # What is refused is the format, the version, the kind or `seeded`.
      assert bit // 8 < 6
    else:
      assert decoded != header
      assert decoded.encode() == flipped


def test_header_that_was_cut_off_is_refused() -> None:
  encoded = SMALL.encode()
  for length in range(HEADER_BYTES):
    expected = f'of {length} bytes is shorter than a header .32 bytes.: it was'
    with pytest.raises(ValueError, match=expected):
      Header.decode(encoded[:length])


def test_message_of_another_format_is_refused() -> None:
  for position in range(3):
    wrong = patch(SMALL.encode(), position, ord('X'))
    expected = f"starts with {wrong[:3]!r}, not b'FPS': it is not one of"
    with pytest.raises(ValueError, match=expected):
      Header.decode(wrong)


@pytest.mark.parametrize('version', [0, 3, 5, 255])
def test_message_of_another_version_is_refused(version: int) -> None:
  wrong = patch(SMALL.encode(), BYTE_OF['version'], version)
  expected = f'has format version {version}, expected 4: run the same release'
  with pytest.raises(ValueError, match=expected):
    Header.decode(wrong)


@pytest.mark.parametrize('kind', [0, len(Kind) + 1, 255])
def test_unknown_kind_is_refused(kind: int) -> None:
  wrong = patch(SMALL.encode(), BYTE_OF['kind'], kind)
  expected = rf'message kind {kind} is not one of 1 \(UPDATE\), 2 \(MODEL\)'
  with pytest.raises(ValueError, match=expected):
    Header.decode(wrong)


@pytest.mark.parametrize('seeded', [2, 3, 129, 255])
def test_truth_value_other_than_0_and_1_is_refused(seeded: int) -> None:
  wrong = patch(SMALL.encode(), BYTE_OF['seeded'], seeded)
  with pytest.raises(ValueError, match=f'seeded is {seeded}, must be 0 or 1'):
    Header.decode(wrong)


@pytest.mark.parametrize(
  ('name', 'largest'),
  [
    ('kind', 2**8 - 1),
    ('seeded', 1),
    ('num_servers', 2**16 - 1),
    ('threshold', 2**16 - 1),
    ('secrets_per_polynomial', 2**16 - 1),
    ('prime', 2**32 - 1),
    ('round', 2**20 - 1),
    ('attempt', 2**12 - 1),
    ('sender', 2**32 - 1),
    ('receiver', 2**32 - 1),
    ('num_values', 2**32 - 1),
  ],
)
def test_number_out_of_range_is_not_encoded(name: str, largest: int) -> None:
  for value in (-1, largest + 1):
    header = dataclasses.replace(SMALL, **{name: value})
    expected = rf'header field {name}={value} must be in \[0, {largest}\]'
    with pytest.raises(ValueError, match=expected):
      header.encode()


def test_attempt_takes_no_byte_more_and_first_attempts_none() -> None:
  """Of a round as before there was an attempt, but for the version."""
  first = dataclasses.replace(SMALL, attempt=0).encode()
  assert first[16:20] == bytes.fromhex('07000000')
  # The largest of both, and a run's: `RoundPlan.draw_number`, as a number.
  assert LARGEST.encode()[16:20] == b'\xff\xff\xff\xff'
  plan = RoundPlan(
    cohort=None, pruning=None, opening=None, keys=None, attempt=SMALL.attempt
  )
  number = int.from_bytes(SMALL.encode()[16:20], 'little')
  assert number == plan.draw_number(SMALL.round)


@pytest.mark.parametrize('name', ['round', 'attempt', 'num_values', 'prime'])
def test_number_that_is_no_integer_is_not_encoded(name: str) -> None:
  for value in (1.5, 1.0, '1', None, True):
    header = dataclasses.replace(SMALL, **{name: value})
    expected = f'header field {name}={value} is of type .* expected an integer'
    with pytest.raises(ValueError, match=expected):
      header.encode()


@pytest.mark.parametrize('kind', list(Kind))
def test_message_of_another_round_attempt_or_receiver_is_refused(
  kind: Kind,
) -> None:
  """Of every kind, decoded from its bytes, in the clear or not."""
  header = example(kind).parts[0]
  sent = dataclasses.replace(header, attempt=3)
  if kind in (Kind.MODEL, Kind.SPARSE_MODEL):
    _, params, mask = example(kind).parts
    args = sent.round, sent.receiver, params, mask, sent.attempt
    message = clear.encode_model(*args)
  else:
    message = example(kind).encode(sent, *example(kind).parts[1:])
  decoded = example(kind).decode(message)[0]
  assert decoded == sent
  right = {'round': sent.round, 'attempt': 3, 'receiver': sent.receiver}
  decoded.check_route(**right)
  for name, value in right.items():
    with pytest.raises(
      ValueError, match=f'{name}={value}, expected {value + 1}'
    ):
      decoded.check_route(**right | {name: value + 1})


def test_another_kind_is_refused() -> None:
  SMALL.check(SCHEME, Kind.SUM, Kind.SHARE)
  with pytest.raises(ValueError, match='expected SUM or SEED, got SHARE: send'):
    SMALL.check(SCHEME, Kind.SUM, Kind.SEED)


@pytest.mark.parametrize(
  ('name', 'other'),
  [
    ('num_servers', Shamir(PrimeField(2**22 - 3), 6, 4, 2)),
    ('threshold', Shamir(PrimeField(2**22 - 3), 5, 3, 2)),
    ('secrets_per_polynomial', Shamir(PrimeField(2**22 - 3), 5, 4, 1)),
    ('seeded', Shamir(PrimeField(2**22 - 3), 5, 4, 2, seeded=False)),
    ('prime', Shamir(PrimeField(2**19 - 1), 5, 4, 2)),
  ],
)
def test_another_scheme_is_refused(name: str, other: Shamir) -> None:
  actual, expected = getattr(SMALL, name), scheme_numbers(other)[name]
  message = f'has {name}={actual}, expected {expected}: sender and receiver'
  with pytest.raises(ValueError, match=message):
    SMALL.check(other, Kind.SHARE)


def test_a_scheme_where_nothing_is_shared_is_refused() -> None:
  Header(Kind.SHARE, 7, 9, 3, 100).check(None, Kind.SHARE)
  with pytest.raises(ValueError, match='has num_servers=5, expected 0'):
    SMALL.check(None, Kind.SHARE)
