"""Positions: every mask of few entries, and large ones."""

import itertools
import math

import numpy as np
import pytest

from fps_jax.sharing.messages.positions import (
  decode_positions,
  encode_positions,
  position_bytes,
)


def test_every_mask_of_up_to_8_entries_round_trips():
  for size in range(9):
    for flags in itertools.product([False, True], repeat=size):
      mask = np.array(flags, bool)
      payload = encode_positions(mask)
      assert len(payload) == position_bytes(size, int(mask.sum()))
      found = decode_positions(payload, size, int(mask.sum()))
      np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize('density', [1e-4, 0.01, 0.1, 0.2, 0.5, 0.9])
def test_large_masks_round_trip_near_the_entropy(density: float):
  size = 100_000
  mask = np.random.default_rng(0).random(size) < density
  payload = encode_positions(mask)
  count = int(mask.sum())
  np.testing.assert_array_equal(decode_positions(payload, size, count), mask)
  log_choices = math.lgamma(size + 1) - math.lgamma(count + 1)
  log_choices -= math.lgamma(size - count + 1)
  entropy_bytes = log_choices / math.log(2) / 8
  assert len(payload) >= entropy_bytes
  if density <= 0.1:
    assert len(payload) < 1.13 * entropy_bytes + 2
  else:
    assert len(payload) <= size / 8


def test_every_payload_is_refused_or_has_one_reading():
  size, count = 20, 2
  assert position_bytes(size, count) == 2 < size / 8
  decoded = set()
  # Four lower bits and six upper ones; bits beyond them are another test's.
  for low, high in itertools.product(range(2**4), range(2**6)):
    payload = bytes([low, high])
    try:
      mask = decode_positions(payload, size, count)
    except ValueError:
      continue
    assert encode_positions(mask) == payload
    decoded.add(payload)
  assert len(decoded) == math.comb(size, count)


@pytest.mark.parametrize('payload', [b'\x10\3', b'\0\x43'])
def test_bits_that_no_position_uses_are_refused(payload: bytes):
  with pytest.raises(ValueError, match='the others must be 0'):
    decode_positions(payload, 20, 2)


def test_half_of_all_take_a_bitmap_and_a_tenth_half_of_one():
  assert position_bytes(80_000, 40_000) == 10_000
  assert 5_000 <= position_bytes(80_000, 8_000) <= 5_300


def test_payload_of_another_form_is_refused():
  with pytest.raises(ValueError, match='3 of 60 positions are 3 bytes, not 2'):
    decode_positions(bytes(2), 60, 3)
  with pytest.raises(ValueError, match='0 positions are set, 3 were announced'):
    decode_positions(bytes(position_bytes(60, 3)), 60, 3)
  with pytest.raises(ValueError, match='1 positions are set, 2 were announced'):
    decode_positions(b'\1', 4, 2)
  with pytest.raises(ValueError, match=r'count=5 must be in \[0, 4\]'):
    decode_positions(b'\1', 4, 5)


def test_positions_that_do_not_ascend_are_refused():
  # Two positions whose lower bits are 0, and their upper ones too.
  with pytest.raises(ValueError, match='must ascend and be below 20'):
    decode_positions(b'\0\3', 20, 2)
