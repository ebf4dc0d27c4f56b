"""Tests of `fps_jax.federated.communication` against encoded messages."""

import itertools

import numpy as np
import pytest

from fps_jax.federated.communication import RoundBytes, count_bytes
from fps_jax.sharing import wire
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import REVEALS
from fps_jax.sharing.shamir import Shamir

SERVERS = [(1, 1), (2, 1), (3, 2), (5, 3), (5, 5), (12, 7)]
PRIMES = [2**31 - 1, 2**22 - 3, 65_537, 251]
SIZES = [  # (num_params, num_kept)
  (1, 1),
  (7, 7),
  (100, 100),
  (100, 99),
  (100, 10),
  (101, 1),
  (104, 0),
]
REPORTING = [0, 1, 3]


def encode_downlink(num_params: int, num_kept: int) -> int:
  rng = np.random.default_rng(0)
  mask = rng.permutation(num_params) < num_kept
  params = np.where(mask, rng.normal(size=num_params), 0).astype(np.float32)
  return len(wire.encode_model(3, 1, params, mask))


def encode_words(
  kind: wire.Kind, scheme: Shamir, num_kept: int, sender: int, receiver: int
) -> int:
  """Returns the length of one message of random words."""
  field = scheme.field
  words = np.random.default_rng(sender).integers(
    field.modulus, size=num_kept + 1, dtype=np.uint32
  )
  header = wire.Header(
    kind=kind,
    round=3,
    sender=sender,
    receiver=receiver,
    num_values=num_kept,
    num_servers=scheme.num_servers,
    threshold=scheme.threshold,
    prime=field.modulus,
  )
  return len(wire.encode_words(header, words[:-1], int(words[-1]), field))


def encode_shared_round(
  num_params: int,
  num_kept: int,
  num_reporting: int,
  scheme: Shamir,
  reveal: str,
) -> RoundBytes:
  """Encodes every message of a round and adds up their lengths."""
  uplink = sum(
    encode_words(wire.Kind.SHARE, scheme, num_kept, 8, server)
    for server in range(1, scheme.num_servers + 1)
  )
  to_central = 0
  for server in range(1, scheme.threshold + 1):
    if reveal == 'updates':
      for _ in range(num_reporting):
        to_central += encode_words(wire.Kind.SHARE, scheme, num_kept, server, 0)
    elif num_reporting:
      to_central += encode_words(wire.Kind.SUM, scheme, num_kept, server, 0)
  return RoundBytes(
    uplink_per_client=uplink,
    downlink_per_client=encode_downlink(num_params, num_kept),
    server_to_central=to_central,
  )


@pytest.mark.parametrize('reveal', REVEALS)
@pytest.mark.parametrize('prime', PRIMES)
@pytest.mark.parametrize(('num_servers', 'threshold'), SERVERS)
def test_bytes_of_a_shared_round_equal_the_encoded_messages(
  num_servers: int, threshold: int, prime: int, reveal: str
):
  scheme = Shamir(PrimeField(prime), num_servers, threshold)
  for (num_params, num_kept), reporting in itertools.product(SIZES, REPORTING):
    actual = count_bytes(num_params, num_kept, reporting, scheme, reveal)
    expected = encode_shared_round(
      num_params, num_kept, reporting, scheme, reveal
    )
    assert actual == expected


@pytest.mark.parametrize(('num_params', 'num_kept'), SIZES)
@pytest.mark.parametrize('num_reporting', REPORTING)
def test_bytes_of_a_round_in_the_clear_equal_the_encoded_messages(
  num_params: int, num_kept: int, num_reporting: int
):
  header = wire.Header(
    kind=wire.Kind.UPDATE, round=3, sender=1, receiver=0, num_values=num_kept
  )
  message = wire.encode_update(header, np.zeros(num_kept, np.float32), 600)
  assert count_bytes(num_params, num_kept, num_reporting, None) == RoundBytes(
    uplink_per_client=len(message),
    downlink_per_client=encode_downlink(num_params, num_kept),
    server_to_central=0,
  )


@pytest.mark.parametrize('reveal', REVEALS)
def test_servers_send_nothing_when_no_client_reports(reveal: str):
  scheme = Shamir(PrimeField(2**31 - 1), 5, 3)
  assert count_bytes(100, 10, 0, scheme, reveal).server_to_central == 0


def test_bytes_are_python_ints_and_do_not_wrap():
  scheme = Shamir(PrimeField(2**31 - 1), 100, 80)
  counted = count_bytes(10**9, 10**9, 10**6, scheme, 'updates')
  assert type(counted.server_to_central) is int
  # 31 bits a word, and one more word for the count.
  message = wire.HEADER_BYTES + -(-(10**9 + 1) * 31 // 8)
  assert counted.server_to_central == 80 * 10**6 * message
  assert counted.uplink_per_client == 100 * message


def test_bytes_of_one_round_worked_out_by_hand():
  # 22-bit words: (10 + 1) x 22 bits are 31 bytes; 100 mask bits are 13.
  scheme = Shamir(PrimeField(2**22 - 3), 5, 3)
  header = wire.HEADER_BYTES
  assert count_bytes(100, 10, 4, scheme) == RoundBytes(
    uplink_per_client=5 * (header + 31),
    downlink_per_client=header + 13 + 40,
    server_to_central=3 * (header + 31),
  )
