"""Positions: every mask of few entries, and large ones."""

import itertools
import math

import numpy as np
import pytest

from fps_jax.sharing.positions import (
  decode_positions,
  encode_positions,
  position_bytes,
)


def test_every_mask_of_up_to_12_entries_round_trips():
  for size in range(13):
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
    assert len(payload) < 1.25 * entropy_bytes + 2
  else:
    assert len(payload) <= size / 8


def test_any_changed_payload_is_refused_or_another_mask():
  # All payloads of three positions among 60: none has two readings.
  size, count = 60, 3
  length = position_bytes(size, count)
  assert length < size // 8
  rng = np.random.default_rng(0)
  mask = np.zeros(size, bool)
  mask[[3, 31, 59]] = True
  payload = encode_positions(mask)
  changed = [rng.bytes(length) for _ in range(3000)]
  for bit in range(8 * length):
    flipped = bytearray(payload)
    flipped[bit // 8] ^= 1 << bit % 8
    changed.append(bytes(flipped))
  num_refused = 0
  for other in changed:
    try:
      decoded = decode_positions(other, size, count)
    except ValueError:
      num_refused += 1
      continue
    assert encode_positions(decoded) == other
  assert num_refused > 0


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
  mask = np.zeros(1000, bool)
  mask[[1, 2]] = True
  payload = bytearray(encode_positions(mask))
  equal = bytearray(payload)
  mask[[1, 2, 3]] = [False, True, True]
  assert encode_positions(mask) != bytes(payload)
  # The lower bits of both are those of the first: equal positions.
  equal[0], equal[1] = 0, equal[1] & ~3
  with pytest.raises(ValueError, match='must ascend and be below 1000'):
    decode_positions(bytes(equal), 1000, 2)
