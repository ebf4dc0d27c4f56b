"""A central server that keeps all it relays, and tries to make sense of it."""

import jax
import numpy as np
import pytest

from fps_jax.deploy import sealing
from fps_jax.deploy.messages import Occasion
from fps_jax.sharing import randomness
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import bits, shared
from fps_jax.sharing.messages.header import (
  Header,
  Kind,
  scheme_numbers,
)
from fps_jax.sharing.shamir import Shamir

# Without seeds, so that every message is of words.
SCHEME = Shamir(PrimeField(2**19 - 1), 5, 4, 2, seeded=False)
NUM_WORDS, COHORT, NUM_TRIALS = 16, [0, 1], 300
OPENING = [sealing.make_opening_key() for _ in SCHEME.server_points]
SIGNING = [sealing.make_signing_key() for _ in COHORT]
# What one client's update is, and the other's: as unlike as can be.
UPDATES = np.zeros((2, 2, NUM_WORDS), np.uint32)
UPDATES[1] = SCHEME.field.modulus // 2
_share = jax.jit(SCHEME.share)
_open = jax.jit(lambda words: SCHEME.reconstruct(words, SCHEME.server_points))


def share(update: int, client: int, round_number: int) -> list[bytes]:
  """Returns a client's messages to all servers, not yet sealed."""
  seeds = randomness.keys(
    randomness.fresh_root_key(), randomness.Purpose.SHARE, SCHEME.num_random
  )
  words_NxW = np.asarray(_share(UPDATES[update], seeds))
  return [
    shared.encode_share(
      Header(
        kind=Kind.SHARE,
        round=round_number,
        sender=client,
        receiver=server,
        num_values=2 * NUM_WORDS - 1,
        **scheme_numbers(SCHEME),
      ),
      words_NxW[server - 1],
      SCHEME,
    )
    for server in SCHEME.server_points
  ]


def seal(messages: list[bytes], client: int, round_number: int) -> list[bytes]:
  """Returns what the central server relays."""
  occasion = Occasion('study', 0, b'r' * 16, round=round_number)
  return [
    sealing.seal(
      message,
      occasion.label(client, server, COHORT, b'm' * 16),
      sealing.sealing_key(OPENING[server - 1]),
      SIGNING[client],
    )
    for server, message in zip(SCHEME.server_points, messages, strict=True)
  ]


def guess(relayed: list[bytes]) -> int:
  """Returns which update is opened from the words at the messages' ends."""
  length = bits.packed_bytes(NUM_WORDS, SCHEME.field.bits)
  words_NxW = np.stack(
    [
      bits.unpack_words(message[-length:], NUM_WORDS, SCHEME.field.bits)
      for message in relayed
    ]
  ).astype(np.uint32)
  words_NxW %= np.uint32(SCHEME.field.modulus)
  opened = np.asarray(_open(words_NxW))
  errors = [np.sum(opened != update) for update in UPDATES]
  middle = SCHEME.field.modulus // 2
  # Nothing fits: the nearer one, going round.
  away = np.minimum(opened, SCHEME.field.modulus - opened).astype(float)
  return int(
    errors[1] < errors[0]
    or (errors[0] == errors[1] and away.mean() > middle / 2)
  )


@pytest.mark.slow
def test_relay_cannot_tell_two_clients_updates_apart():
  """It would by words alone, always: so the guess is none of straw."""
  generator = np.random.default_rng(0)
  right = {'in the clear': 0, 'sealed': 0}
  for number in range(NUM_TRIALS):
    update = int(generator.integers(2))
    clear = [share(update, 0, number), share(1 - update, 1, number)]
    sealed = [seal(clear[client], client, number) for client in COHORT]
    assert len({len(message) for each in sealed for message in each}) == 1
    right['in the clear'] += guess(clear[0]) == update
    right['sealed'] += guess(sealed[0]) == update
  assert right['in the clear'] == NUM_TRIALS
  # Five standard deviations of a coin.
  assert abs(right['sealed'] - NUM_TRIALS / 2) < 2.5 * NUM_TRIALS**0.5


def test_relay_sees_the_same_sums_whoever_has_which_update():
  """The other thing it has are sums, which are of both."""
  opened = []
  for update in (0, 1):
    messages = share(update, 0, 0), share(1 - update, 1, 0)
    words = [
      [shared.decode_share(message, SCHEME)[1] for message in each]
      for each in messages
    ]
    sums_NxW = np.add(*np.array(words, np.int64)) % SCHEME.field.modulus
    opened.append(np.asarray(_open(sums_NxW.astype(np.uint32))))
  np.testing.assert_array_equal(*opened)
