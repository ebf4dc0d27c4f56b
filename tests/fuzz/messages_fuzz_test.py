"""Mutated messages: refused, or decoded to the one value that encodes to them.

Draws are seeded. Each message is flipped, cut, extended, spliced with another
or given the numbers of another header, up to three times over.
"""

import dataclasses
import struct
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from fps_jax.sharing.audit import Auditor, SharingError
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import shared
from fps_jax.sharing.messages.header import HEADER_BYTES, Kind
from fps_jax.sharing.messages.inbox import Inbox, SumInbox
from fps_jax.sharing.shamir import Shamir
from tests.helpers.messages import Example, example, make_header

NUM_MUTANTS = 10_000
SCHEMES = (
  Shamir(PrimeField(2**19 - 1), 5, 4, 2),
  Shamir(PrimeField(11), 3, 2, 1),
  Shamir(PrimeField(2**31 - 1), 7, 3, 1),
)
# Of the header: kind, seeded, N, k, l, p, round and attempt, sender, receiver,
# values.
FIELDS = (
  *((place, 'B') for place in (4, 5)),
  *((place, 'H') for place in (6, 8, 10)),
  *((place, 'I') for place in (12, 16, 20, 24, 28)),
)
# Many times what the longest message takes, far less than what one can claim.
MOST_BYTES = 2**20


def all_examples() -> list[Example]:
  return [
    example(kind, size, scheme)
    for kind in Kind
    for size in (1, 5, 40)
    for scheme in SCHEMES
  ]


def mutate(rng: np.random.Generator, message: bytes, other: bytes) -> bytes:
  """Returns a message that was changed in one of several ways."""
  changed = bytearray(message)
  how = rng.integers(8)
  if how == 0 and changed:
    for bit in rng.integers(8 * len(changed), size=rng.integers(1, 4)):
      changed[bit // 8] ^= 1 << bit % 8
  elif how == 1:
    del changed[rng.integers(len(changed) + 1) :]
  elif how == 2:
    changed += rng.bytes(rng.integers(1, 9))
  elif how == 3:
    cut = rng.integers(len(changed) + 1)
    changed[cut:] = other[rng.integers(len(other) + 1) :]
  elif how == 4:
    # The header of one message and the payload of another.
    changed[:HEADER_BYTES] = other[:HEADER_BYTES]
  elif how == 5 and len(changed) >= HEADER_BYTES:
    place, code = FIELDS[rng.integers(len(FIELDS))]
    largest = 2 ** (8 * struct.calcsize(code)) - 1
    value = rng.choice([0, 1, 2, 3, largest, rng.integers(largest)])
    struct.pack_into('<' + code, changed, place, int(value))
  elif how == 6 and changed:
    start, end = sorted(rng.integers(len(changed) + 1, size=2))
    changed[start:end] = rng.bytes(end - start)
  elif how == 7 and len(changed) > HEADER_BYTES:
    changed[rng.integers(HEADER_BYTES, len(changed))] ^= rng.integers(1, 256)
  return bytes(changed)


def mutants(
  rng: np.random.Generator, messages: list[bytes], count: int
) -> Iterator[tuple[int, bytes]]:
  """Yields changed messages with the number of what they were."""
  while count:
    number = int(rng.integers(len(messages)))
    message = messages[number]
    for _ in range(rng.integers(1, 4)):
      other = messages[rng.integers(len(messages))]
      message = mutate(rng, message, other)
    if message != messages[number]:
      count -= 1
      yield number, message


@pytest.mark.slow
def test_mutants_are_refused_or_the_encoding_of_what_they_decode_to() -> None:
  rng = np.random.default_rng(0)
  examples = all_examples()
  messages = [one.message for one in examples]
  num_decoded = 0
  tracemalloc.start()
  try:
    for number, message in mutants(rng, messages, NUM_MUTANTS):
      one = examples[number]
      try:
        parts = one.decode(message)
      except ValueError as error:
        assert str(error)
        continue
      num_decoded += 1
      assert one.encode(*parts) == message
    assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
  finally:
    tracemalloc.stop()
  # Some are other valid messages, or nothing beyond the header was looked at.
  assert 100 < num_decoded < NUM_MUTANTS / 2


def test_any_bytes_are_refused_by_every_decoder() -> None:
  rng = np.random.default_rng(1)
  examples = all_examples()
  for _ in range(1000):
    one = examples[rng.integers(len(examples))]
    with pytest.raises(ValueError):
      one.decode(rng.bytes(rng.integers(200)))
    with pytest.raises(ValueError):
      start = one.message[: rng.integers(4, 33)]
      one.decode(start + rng.bytes(3))


SCHEME = Shamir(PrimeField(2**31 - 1), 7, 3)
CLIENTS, VALUES = (3, 5, 8), 5


def sum_messages(
  shares_NxW: np.ndarray, round_number: int, attempt: int
) -> list[bytes]:
  digest = shared.client_set_digest(CLIENTS)
  return [
    shared.encode_sum(
      dataclasses.replace(
        make_header(Kind.SUM, VALUES, SCHEME),
        round=round_number,
        attempt=attempt,
        sender=server,
        receiver=0,
      ),
      len(CLIENTS),
      digest,
      shares_NxW[server - 1],
      SCHEME,
    )
    for server in SCHEME.server_points
  ]


@pytest.mark.slow
def test_no_mutant_changes_a_sum() -> None:
  rng = np.random.default_rng(2)
  secrets = rng.integers(SCHEME.field.modulus, size=(1, 6), dtype=np.uint32)
  random = rng.integers(SCHEME.field.modulus, size=(2, 6), dtype=np.uint32)
  shares = np.asarray(SCHEME.share_with(secrets, random))
  honest = sum_messages(shares, round_number=4, attempt=1)
  others = [
    *honest,
    *sum_messages(shares[::-1], round_number=3, attempt=1),
    *sum_messages(shares[::-1], round_number=4, attempt=0),
  ]
  num_taken = num_stopped = 0
  for number, mutant in mutants(rng, others, 1050):
    inbox = SumInbox(4, SCHEME, VALUES, CLIENTS, attempt=1)
    victim = number % len(honest)
    sent = [*honest[:victim], mutant, *honest[victim + 1 :]]
    for place in rng.permutation(len(sent)):
      before = inbox.words_NxW.copy(), inbox.present, inbox.disagreeing
      try:
        inbox.receive(sent[place])
      except ValueError:
        after = inbox.words_NxW, inbox.present, inbox.disagreeing
        np.testing.assert_array_equal(after[0], before[0])
        assert after[1:] == before[1:]
    auditor = Auditor(SCHEME, inbox.present)
    try:
      # Every column of the sums is a word of the code that checks are.
      wrong = auditor.find_wrong_servers(inbox.words_NxW.T)
    except SharingError:
      num_stopped += 1
      continue
    num_taken += bool(wrong)
    opening = auditor.opening_without(wrong).astype(object)
    opened = opening @ inbox.words_NxW.astype(object) % SCHEME.field.modulus
    assert opened.tolist() == secrets.tolist()
  # Some are taken for a sum, a wrong one; none of them stops this scheme.
  assert num_taken > 15
  assert num_stopped == 0


def test_no_mutant_takes_the_place_of_another_clients_message() -> None:
  rng = np.random.default_rng(3)
  scheme = SCHEMES[0]
  for receiver, kind in ((1, Kind.SEED), (5, Kind.SHARE)):
    payload = example(kind, VALUES, scheme).parts[1]
    encode = getattr(shared, f'encode_{kind.name.lower()}')
    messages = [
      encode(
        dataclasses.replace(
          make_header(kind, VALUES, scheme),
          round=4,
          attempt=1,
          sender=client,
          receiver=receiver,
        ),
        payload,
        scheme,
      )
      for client in CLIENTS
    ]
    for number, mutant in mutants(rng, messages, 500):
      inbox = Inbox(4, receiver, scheme, VALUES, CLIENTS, attempt=1)
      for place, message in enumerate(messages):
        if place != number:
          inbox.receive(message)
      before = dict(inbox.payloads)
      try:
        sender = inbox.receive(mutant)
      except ValueError:
        assert inbox.payloads.keys() == before.keys()
      else:
        assert sender == CLIENTS[number]
      for client, words in before.items():
        np.testing.assert_array_equal(inbox.payloads[client], words)
