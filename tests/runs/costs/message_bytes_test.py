"""Tests of `fps_jax.runs.costs.message_bytes` against encoded messages."""

import dataclasses
import itertools

import numpy as np
import pytest

from fps_jax.runs.costs.message_bytes import (
  RoundBytes,
  average_tiers,
  count_bytes,
)
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import clear, shared
from fps_jax.sharing.messages.header import (
  HEADER_BYTES,
  Header,
  Kind,
  scheme_numbers,
)
from fps_jax.sharing.protocol import REVEALS
from fps_jax.sharing.schemes.channels import (
  ClearChannel,
  Sent,
  ShareChannel,
)
from fps_jax.sharing.shamir import Shamir

SERVERS = [  # (num_servers, threshold, secrets_per_polynomial)
  (1, 1, 1),
  (2, 1, 1),
  (3, 2, 1),
  (5, 3, 1),
  (5, 4, 2),
  (5, 5, 5),
  (12, 7, 3),
]
PRIMES = [2**31 - 1, 2**22 - 3, 2**19 - 1, 65_537, 251]
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
  return len(clear.encode_model(3, 1, params, mask))


def make_header(
  kind: Kind, scheme: Shamir, num_values: int, sender: int, receiver: int
) -> Header:
  numbers = scheme_numbers(scheme)
  return Header(kind, 3, sender, receiver, num_values, **numbers)


def make_words(size: int | tuple[int, int], scheme: Shamir) -> np.ndarray:
  rng = np.random.default_rng(0)
  return rng.integers(scheme.field.modulus, size=size, dtype=np.uint32)


def encode_uplink(scheme: Shamir, num_kept: int, words: np.ndarray) -> int:
  """Encodes one client's messages to all servers and adds up their lengths."""
  total = 0
  for server in range(1, scheme.num_servers + 1):
    if scheme.seeded and server <= scheme.num_random:
      header = make_header(Kind.SEED, scheme, num_kept, 8, server)
      key = np.arange(8, dtype=np.uint32)
      total += len(shared.encode_seed(header, key, scheme))
    else:
      header = make_header(Kind.SHARE, scheme, num_kept, 8, server)
      total += len(shared.encode_share(header, words, scheme))
  return total


def encode_to_central(
  scheme: Shamir,
  num_kept: int,
  num_reporting: int,
  reveal: str,
  num_sending: int,
  num_checks: int,
) -> int:
  """Encodes what servers send to the central one and adds up the lengths."""
  total = 0
  if not num_reporting:
    return total
  words = make_words(scheme.num_columns(num_kept + 1), scheme)
  clients = range(num_reporting)
  digest = shared.client_set_digest(clients)
  for server in range(1, num_sending + 1):
    if reveal == 'updates':
      for client in clients:
        header = make_header(Kind.SHARE, scheme, num_kept, client, server)
        total += len(shared.encode_share(header, words, scheme))
    else:
      header = make_header(Kind.SUM, scheme, num_kept, server, 0)
      message = shared.encode_sum(header, num_reporting, digest, words, scheme)
      total += len(message)
    if num_checks:
      checks = make_words((num_reporting, num_checks), scheme)
      header = make_header(Kind.CHECK, scheme, num_reporting, server, 0)
      total += len(shared.encode_check(header, checks, scheme))
  return total


@pytest.mark.parametrize('seeded', [True, False])
@pytest.mark.parametrize('prime', PRIMES)
@pytest.mark.parametrize('numbers', SERVERS)
def test_uplink_and_downlink_equal_the_encoded_messages(
  numbers: tuple[int, int, int], prime: int, seeded: bool
):
  scheme = Shamir(PrimeField(prime), *numbers, seeded)
  for (num_params, num_kept), num_checks in itertools.product(SIZES, [0, 3]):
    # A column of blinding secrets a check, beside those of the values.
    num_values = num_kept + num_checks * scheme.secrets_per_polynomial
    words = make_words(scheme.num_columns(num_kept + 1) + num_checks, scheme)
    channel = ShareChannel(scheme, num_client_checks=num_checks)
    actual = count_bytes(Sent(num_params, num_kept, 2), channel)
    assert actual.uplink_per_client == encode_uplink(scheme, num_values, words)
    downlink = encode_downlink(num_params, num_kept)
    assert actual.downlink_per_client == downlink


@pytest.mark.parametrize('reveal', REVEALS)
@pytest.mark.parametrize('prime', PRIMES)
@pytest.mark.parametrize('numbers', SERVERS)
def test_bytes_to_the_central_server_equal_the_encoded_messages(
  numbers: tuple[int, int, int], prime: int, reveal: str
):
  scheme = Shamir(PrimeField(prime), *numbers)
  for num_kept, num_reporting, num_checks in itertools.product(
    [0, 1, 10, 99], REPORTING, [0, 1, 4] if reveal == 'sum' else [0]
  ):
    for num_sending in {scheme.threshold, scheme.num_servers}:
      channel = ShareChannel(scheme, reveal, num_sending, num_checks)
      actual = count_bytes(Sent(100, num_kept, num_reporting), channel)
      assert actual.server_to_central == encode_to_central(
        scheme, num_kept, num_reporting, reveal, num_sending, num_checks
      )


@pytest.mark.parametrize(('num_params', 'num_kept'), SIZES)
@pytest.mark.parametrize('num_reporting', REPORTING)
def test_bytes_of_a_round_in_the_clear_equal_the_encoded_messages(
  num_params: int, num_kept: int, num_reporting: int
):
  header = Header(Kind.UPDATE, 3, 1, 0, num_kept)
  message = clear.encode_update(header, np.zeros(num_kept, np.float32), 600)
  sent = Sent(num_params, num_kept, num_reporting)
  assert count_bytes(sent, ClearChannel()) == RoundBytes(
    uplink_per_client=len(message),
    downlink_per_client=encode_downlink(num_params, num_kept),
    server_to_central=0,
  )
  header = Header(Kind.QUANTISED_UPDATE, 3, 1, 0, num_kept)
  rounded = np.zeros(num_kept, np.int32)
  message = clear.encode_quantised_update(header, rounded, 8, 600)
  quantised = count_bytes(sent, ClearChannel(value_bits=8))
  assert quantised.uplink_per_client == len(message)
  assert quantised.server_to_central == 0


UPLINKS = [  # Bytes at 1,000,000 parameters, 10 % kept, as encoded.
  ((3, 2, 1), 2**31 - 1, 775_136),
  ((3, 2, 1), 2**22 - 3, 550_134),
  ((3, 2, 1), 2**19 - 1, 475_134),
  ((5, 3, 1), 2**31 - 1, 1_162_736),
  ((5, 3, 1), 2**22 - 3, 825_233),
  ((5, 3, 1), 2**19 - 1, 712_733),
  ((5, 4, 2), 2**31 - 1, 581_486),
  ((5, 4, 2), 2**22 - 3, 412_733),
  ((5, 4, 2), 2**19 - 1, 356_483),
  ((7, 5, 2), 2**31 - 1, 775_336),
  ((7, 5, 2), 2**22 - 3, 550_332),
  ((7, 5, 2), 2**19 - 1, 475_332),
  ((10, 8, 4), 2**31 - 1, 581_722),
  ((10, 8, 4), 2**22 - 3, 412_966),
  ((10, 8, 4), 2**19 - 1, 356_716),
]


@pytest.mark.parametrize(('numbers', 'prime', 'expected'), UPLINKS)
def test_uplink_of_a_million_parameters_is_pinned(
  numbers: tuple[int, int, int], prime: int, expected: int
):
  scheme = Shamir(PrimeField(prime), *numbers)
  zeros = np.zeros(scheme.num_columns(100_001), np.uint32)
  assert encode_uplink(scheme, 100_000, zeros) == expected
  counted = count_bytes(Sent(1_000_000, 100_000, 10), ShareChannel(scheme))
  assert counted.uplink_per_client == expected


def test_packed_seeded_uplink_is_below_420_kilobytes():
  # As many bytes as the kept values would take in the clear, and 5 % more.
  scheme = Shamir(PrimeField(2**22 - 3), 5, 4, 2, seeded=True)
  zeros = np.zeros(scheme.num_columns(100_001), np.uint32)
  encoded = encode_uplink(scheme, 100_000, zeros)
  assert encoded <= 420_000
  counted = count_bytes(Sent(1_000_000, 100_000, 10), ShareChannel(scheme))
  assert counted.uplink_per_client == encoded


@pytest.mark.parametrize('reveal', REVEALS)
def test_servers_send_nothing_when_no_client_reports(reveal: str):
  scheme = Shamir(PrimeField(2**31 - 1), 5, 3)
  num_checks = 0 if reveal == 'updates' else 3
  channel = ShareChannel(scheme, reveal, 5, num_checks)
  counted = count_bytes(Sent(100, 10, 0), channel)
  assert counted.server_to_central == 0


def test_only_the_servers_that_are_needed_send_unless_told():
  scheme = Shamir(PrimeField(2**31 - 1), 5, 3)
  sent = Sent(100, 10, 4)
  three = ShareChannel(scheme, num_sending=3)
  assert count_bytes(sent, ShareChannel(scheme)) == count_bytes(sent, three)


@pytest.mark.parametrize('num_sending', [-1, 6])
def test_impossible_number_of_sending_servers_is_refused(num_sending: int):
  scheme = Shamir(PrimeField(2**31 - 1), 5, 3)
  expected = rf'num_sending={num_sending} must be in \[0, num_servers=5\]'
  with pytest.raises(ValueError, match=expected):
    ShareChannel(scheme, num_sending=num_sending)


def test_bytes_are_python_ints_and_do_not_wrap():
  scheme = Shamir(PrimeField(2**31 - 1), 100, 80, seeded=False)
  counted = count_bytes(
    Sent(10**9, 10**9, 10**6), ShareChannel(scheme, 'updates')
  )
  assert type(counted.server_to_central) is int
  # 31 bits a word, and one more word for the count.
  message = HEADER_BYTES + -(-(10**9 + 1) * 31 // 8)
  assert counted.server_to_central == 80 * 10**6 * message
  assert counted.uplink_per_client == 100 * message


def test_bytes_of_one_round_worked_out_by_hand():
  # Two secrets a 22-bit word: ceil(11 / 2) words are 17 bytes. 10 of 100
  # positions are a count, 3 lower bits each and 10 + 99 // 8 upper ones. Of 5
  # servers, t = 4 - 2 take a seed of 32 bytes. A sum names its clients in 4 +
  # 16 bytes. 3 checks of 4 clients are 4 + 33 bytes, and 3 words that blind
  # them make ceil(9 * 22 / 8) = 25 bytes of a share's 17.
  scheme = Shamir(PrimeField(2**22 - 3), 5, 4, 2)
  channel = ShareChannel(scheme, 'sum', 5, num_client_checks=3)
  counted = count_bytes(Sent(100, 10, 4), channel)
  assert counted == RoundBytes(
    uplink_per_client=2 * (32 + 32) + 3 * (32 + 25),
    downlink_per_client=32 + 4 + 4 + 3 + 40,
    server_to_central=5 * ((32 + 20 + 17) + (32 + 37)),
  )


def test_checks_of_clients_that_are_opened_are_refused():
  scheme = Shamir(PrimeField(251), 5, 3)
  with pytest.raises(ValueError, match="num_client_checks=2 with reveal='upd"):
    ShareChannel(scheme, 'updates', num_client_checks=2)


@pytest.mark.parametrize(('num_params', 'num_kept'), SIZES)
@pytest.mark.parametrize('numbers', SERVERS)
def test_own_masks_are_sent_to_everyone_and_models_are_whole(
  num_params, num_kept, numbers
):
  scheme = Shamir(PrimeField(PRIMES[0]), *numbers)
  mask = np.arange(num_params) < num_kept
  header = Header(Kind.POSITIONS, 3, 8, 1, num_params)
  positions = len(clear.encode_positions_message(header, mask))
  for channel, receivers in (
    (ClearChannel(), 1),
    (ShareChannel(scheme), scheme.num_servers),
  ):
    sent = Sent(num_params, num_kept, 3)
    common = count_bytes(sent, channel)
    own = count_bytes(dataclasses.replace(sent, has_own_mask=True), channel)
    assert own.uplink_per_client == common.uplink_per_client + (
      receivers * positions
    )
    assert own.downlink_per_client == encode_downlink(num_params, num_params)
  # The sum has a word for every parameter that anyone sent.
  sent = Sent(num_params, num_params, 3)
  whole = count_bytes(sent, ShareChannel(scheme))
  assert own.server_to_central == whole.server_to_central


def test_bytes_of_tiers_are_means_and_those_of_bands_that_are_opened():
  bytes_T = [RoundBytes(10, 100, 7), RoundBytes(20, 200, 9)]
  assert average_tiers(bytes_T, [0, 1, 1, 1], [1, 1, 1], 3) == RoundBytes(
    17.5, 175, 9
  )
  assert average_tiers(bytes_T, [0, 1, 1], [0, 1, 1], 3) == RoundBytes(
    50 / 3, 500 / 3, 7
  )
  assert average_tiers(bytes_T, [0, 1], [0, 1], 3) == RoundBytes(15, 150, 0)
  assert average_tiers(bytes_T, [], [], 1) == RoundBytes(0, 0, 0)


@pytest.mark.parametrize('num_columns', [1, 7])
def test_sketches_are_sent_like_checks(num_columns: int):
  scheme = Shamir(PrimeField(2**22 - 3), 5, 4, 2)
  words = make_words((3, num_columns), scheme)
  header = make_header(Kind.CHECK, scheme, 3, 1, 0)
  length = len(shared.encode_check(header, words, scheme))
  sent, channel = Sent(100, 10, 3), ShareChannel(scheme, num_sending=5)
  without = count_bytes(sent, channel)
  counted = count_bytes(
    sent, dataclasses.replace(channel, num_opened_columns=num_columns)
  )
  added = counted.server_to_central - without.server_to_central
  assert added == 5 * length
  assert counted.uplink_per_client == without.uplink_per_client
