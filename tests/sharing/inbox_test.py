"""Tests of `sharing.messages.inbox`: a refusal leaves the inbox as it was."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import shared
from fps_jax.sharing.messages.header import (
  HEADER_BYTES,
  Header,
  Kind,
  scheme_numbers,
)
from fps_jax.sharing.messages.inbox import Inbox, SumInbox
from fps_jax.sharing.shamir import Shamir
from tests.helpers.messages import example, random_words

SCHEME = Shamir(PrimeField(2**19 - 1), 5, 4, 2)  # Servers 1 and 2 take seeds.
OTHER_SCHEMES = {
  'num_servers=6, expected 5': dataclasses.replace(SCHEME, num_servers=6),
  'threshold=5, expected 4': dataclasses.replace(SCHEME, threshold=5),
  'secrets_per_polynomial=1, expected 2': dataclasses.replace(
    SCHEME, secrets_per_polynomial=1
  ),
  'seeded=False, expected True': dataclasses.replace(SCHEME, seeded=False),
  'prime=4194301, expected 524287': dataclasses.replace(
    SCHEME, field=PrimeField(2**22 - 3)
  ),
}
ROUND, ATTEMPT, NUM_VALUES = 7, 1, 6
CLIENTS = (0, 3, 2**32 - 1)
KEY = np.arange(8, dtype=np.uint32)
# Changed numbers of a header, and what an inbox says of them.
OTHER_ROUTES = [
  ({'round': 8}, 'has round=8, expected 7: a message counts only in its own'),
  ({'attempt': 0}, 'has attempt=0, expected 1: a message counts only in its'),
  ({'attempt': 2}, 'has attempt=2, expected 1: a message counts only in its'),
  ({'num_values': 7}, 'has num_values=7, expected 6: both sides must prune'),
]


def encode_share(
  sender: int = 3, receiver: int = 4, scheme: Shamir = SCHEME, **changes: Any
) -> bytes:
  header = Header(
    Kind.SHARE,
    ROUND,
    sender,
    receiver,
    NUM_VALUES,
    **scheme_numbers(scheme),
    attempt=ATTEMPT,
  )
  header = dataclasses.replace(header, **changes)
  words = random_words(scheme.num_columns(header.num_values + 1), scheme)
  return shared.encode_share(header, words, scheme)


def encode_seed(
  sender: int = 3, receiver: int = 1, scheme: Shamir = SCHEME, **changes: Any
) -> bytes:
  header = Header(
    Kind.SEED,
    ROUND,
    sender,
    receiver,
    NUM_VALUES,
    **scheme_numbers(scheme),
    attempt=ATTEMPT,
  )
  return shared.encode_seed(dataclasses.replace(header, **changes), KEY, scheme)


def encode_sum(
  sender: int = 4,
  clients: tuple[int, ...] = CLIENTS,
  scheme: Shamir = SCHEME,
  **changes: Any,
) -> bytes:
  header = Header(
    Kind.SUM,
    ROUND,
    sender,
    0,
    NUM_VALUES,
    **scheme_numbers(scheme),
    attempt=ATTEMPT,
  )
  header = dataclasses.replace(header, **changes)
  words = random_words(scheme.num_columns(header.num_values + 1), scheme)
  digest = shared.client_set_digest(clients)
  return shared.encode_sum(header, len(clients), digest, words, scheme)


def open_inbox(server: int, scheme: Shamir = SCHEME) -> Inbox:
  return Inbox(ROUND, server, scheme, NUM_VALUES, CLIENTS, ATTEMPT)


def open_sum_inbox() -> SumInbox:
  return SumInbox(ROUND, SCHEME, NUM_VALUES, CLIENTS, ATTEMPT)


def snapshot(inbox: Inbox | SumInbox) -> list:
  return [
    (name, np.array(value).tolist() if name == 'words_NxW' else repr(value))
    for name, value in sorted(vars(inbox).items())
  ]


def assert_refused(
  inbox: Inbox | SumInbox, message: bytes, expected: str
) -> None:
  before = snapshot(inbox)
  with pytest.raises(ValueError, match=expected):
    inbox.receive(message)
  assert snapshot(inbox) == before


@pytest.mark.parametrize('seeded', [True, False])
def test_each_server_takes_what_its_scheme_sends_it(seeded: bool) -> None:
  scheme = dataclasses.replace(SCHEME, seeded=seeded)
  for server in range(1, 6):
    inbox = open_inbox(server, scheme)
    share = encode_share(3, server, scheme)
    if seeded and server <= 2:
      seed = encode_seed(3, server, scheme)
      assert_refused(inbox, share, f'server {server} expected SEED, got SHARE')
      assert inbox.receive(seed) == 3
      np.testing.assert_array_equal(inbox.payloads[3], KEY)
    else:
      if seeded:
        seed = encode_seed(3, 1, scheme)
        assert_refused(inbox, seed, f'server {server} expected SHARE, got SEED')
      assert inbox.receive(share) == 3
      words = random_words(scheme.num_columns(NUM_VALUES + 1), scheme)
      np.testing.assert_array_equal(inbox.payloads[3], words)


def test_clients_are_told_apart() -> None:
  inbox = open_inbox(1)
  for client in reversed(CLIENTS):
    assert inbox.receive(encode_seed(client)) == client
  assert set(inbox.payloads) == set(CLIENTS)
  assert inbox.payloads[0].dtype == np.uint32


@pytest.mark.parametrize('server', [1, 4])
def test_message_that_belongs_elsewhere_is_refused(server: int) -> None:
  inbox = open_inbox(server)
  encode = encode_seed if server == 1 else encode_share
  for changes, expected in OTHER_ROUTES:
    assert_refused(inbox, encode(**changes), expected)
  other = 2 if server == 1 else 5
  expected = f'has receiver={other}, expected {server}: it must go to the one'
  assert_refused(inbox, encode(receiver=other), expected)
  for sender in (1, 4, 2**32 - 2):
    expected = f'sender {sender} is not one of the 3 expected: only'
    assert_refused(inbox, encode(sender), expected)
  for expected, scheme in OTHER_SCHEMES.items():
    if encode is encode_share or scheme.seeded:
      assert_refused(inbox, encode(3, server, scheme), f'has {expected}: ')
  for kind in set(Kind) - {Kind.SEED, Kind.SHARE}:
    message = example(kind, NUM_VALUES, SCHEME).message
    assert_refused(inbox, message, rf'expected S\w+, got {kind.name}: of a')
  # After all that, it still takes what is right, once.
  assert inbox.receive(encode(3)) == 3
  assert_refused(inbox, encode(3), 'sender 3 has already sent a S.*: the first')
  assert inbox.receive(encode(0)) == 0


@pytest.mark.parametrize('server', [1, 4])
def test_damaged_message_is_refused_or_another_payload(server: int) -> None:
  message = encode_seed() if server == 1 else encode_share()
  for length in range(len(message)):
    expected = 'it was cut off'
    assert_refused(open_inbox(server), message[:length], expected)
  assert_refused(open_inbox(server), message + b'\0', 'it was cut off or added')
  for bit in range(8 * len(message)):
    inbox, flipped = open_inbox(server), bytearray(message)
    flipped[bit // 8] ^= 1 << bit % 8
    before = snapshot(inbox)
    try:
      sender = inbox.receive(bytes(flipped))
    except ValueError:
      assert snapshot(inbox) == before
    else:
      # Only the sender, if it is known, and the payload are not known before.
      assert sender in CLIENTS
      assert bit // 8 >= HEADER_BYTES or sender != 3


def test_word_outside_the_field_is_refused() -> None:
  message = encode_share()
  payload = (2**76 - 1).to_bytes(10, 'little')  # Four words of 19 bits.
  wrong = message[:HEADER_BYTES] + payload
  assert_refused(open_inbox(4), wrong, r'word 0 is 524287, outside \[0, 524287')
  wrong = encode_sum()[: -len(payload)] + payload
  assert_refused(open_sum_inbox(), wrong, 'word 0 is 524287, outside')


@pytest.mark.parametrize('server', [0, 6])
def test_inbox_of_no_server_is_refused(server: int) -> None:
  expected = rf'server {server} must be in \[1, num_servers=5\]'
  with pytest.raises(ValueError, match=expected):
    open_inbox(server)


def test_sums_become_rows() -> None:
  inbox = open_sum_inbox()
  assert inbox.words_NxW.shape == (5, 4)
  for server in (4, 1):
    assert inbox.receive(encode_sum(server)) == server
  assert inbox.present == (1, 4)
  assert inbox.disagreeing == ()
  expected = np.zeros((5, 4), np.uint32)
  expected[[0, 3]] = random_words(4, SCHEME)
  np.testing.assert_array_equal(inbox.words_NxW, expected)
  assert inbox.words_NxW.dtype == np.uint32


@pytest.mark.parametrize('clients', [(), (0, 3), (0, 3, 4), (0, 3, 4, 5)])
def test_sum_of_other_clients_is_left_out(clients: tuple[int, ...]) -> None:
  inbox = open_sum_inbox()
  for server in (5, 2):
    assert inbox.receive(encode_sum(server, clients)) == server
  inbox.receive(encode_sum(3))
  assert inbox.present == (3,)
  assert inbox.disagreeing == (2, 5)
  assert not inbox.words_NxW[[0, 1, 3, 4]].any()
  assert_refused(inbox, encode_sum(2), 'sender 2 has already sent a SUM')


def test_sum_with_another_number_of_clients_is_left_out() -> None:
  inbox, message = open_sum_inbox(), bytearray(encode_sum())
  message[HEADER_BYTES] += 1
  inbox.receive(bytes(message))
  assert (inbox.present, inbox.disagreeing) == ((), (4,))


def test_sum_that_belongs_elsewhere_is_refused() -> None:
  inbox = open_sum_inbox()
  for changes, expected in OTHER_ROUTES:
    assert_refused(inbox, encode_sum(**changes), expected)
  expected = 'has receiver=1, expected 0: it must go to the one'
  assert_refused(inbox, encode_sum(receiver=1), expected)
  for server in (0, 6):
    expected = f'sender {server} is not one of the 5 expected: only'
    assert_refused(inbox, encode_sum(server), expected)
  for expected, scheme in OTHER_SCHEMES.items():
    assert_refused(inbox, encode_sum(scheme=scheme), f'has {expected}: ')
  for kind in set(Kind) - {Kind.SUM}:
    message = example(kind, NUM_VALUES, SCHEME).message
    assert_refused(inbox, message, f'expected SUM, got {kind.name}: send it to')
  message = encode_sum()
  for length in range(len(message)):
    assert_refused(inbox, message[:length], 'it was cut off')
  assert_refused(inbox, message + b'\0', 'it was cut off or added to')
  assert inbox.receive(message) == 4
  assert_refused(
    inbox, message, 'sender 4 has already sent a SUM, expected one'
  )


def test_clients_agreed_on_twice_are_refused() -> None:
  with pytest.raises(ValueError, match='client 3 repeats'):
    SumInbox(ROUND, SCHEME, NUM_VALUES, (3, 3))


def test_sum_survives_the_journey() -> None:
  scheme = dataclasses.replace(SCHEME, seeded=False)
  secrets = {client: random_words((2, 4), scheme) // 3 for client in CLIENTS}
  inboxes = [open_inbox(server, scheme) for server in range(1, 6)]
  for client, columns in secrets.items():
    random = jnp.asarray(random_words((2, 4), scheme))
    shares = scheme.share_with(jnp.asarray(columns), random)
    for inbox, words in zip(inboxes, np.asarray(shares), strict=True):
      server = inboxes.index(inbox) + 1
      header = Header.decode(encode_share(client, server, scheme))
      inbox.receive(shared.encode_share(header, words, scheme))
  central = SumInbox(ROUND, scheme, NUM_VALUES, CLIENTS, ATTEMPT)
  for server in (5, 1, 3, 4):
    shares = [inboxes[server - 1].payloads[client] for client in CLIENTS]
    words = np.sum(shares, axis=0, dtype=np.uint64) % scheme.field.modulus
    header = Header.decode(encode_sum(server, scheme=scheme))
    digest = shared.client_set_digest(inboxes[server - 1].payloads)
    message = shared.encode_sum(header, 3, digest, words, scheme)
    central.receive(message)
  opened = scheme.reconstruct(jnp.asarray(central.words_NxW), central.present)
  expected = np.sum(list(secrets.values()), axis=0) % scheme.field.modulus
  np.testing.assert_array_equal(opened, expected)
