"""What parties refuse, by name, and that a round goes on without it."""

import dataclasses

import numpy as np
import pytest

from fps_jax.deploy import sealing
from fps_jax.deploy.messages import Occasion
from fps_jax.deploy.server import Ledger, Rules, Server
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import shared
from fps_jax.sharing.messages.header import Header, Kind, scheme_numbers
from fps_jax.sharing.shamir import Shamir

SCHEME = Shamir(PrimeField(2**19 - 1), 5, 4, 2)
NUM_VALUES, COHORT, MODEL = 9, [2, 3, 5, 7], b'm' * 16
OCCASION = Occasion('study', 0, b'r' * 16, round=4)
SIGNING = {client: sealing.make_signing_key() for client in (*COHORT, 8)}
OPENING = sealing.make_opening_key()
SERVER = 5


def share_of(client: int) -> np.ndarray:
  """Returns what a client shares with the server."""
  size = SCHEME.num_columns(NUM_VALUES + 1)
  generator = np.random.default_rng(client)
  return generator.integers(0, SCHEME.field.modulus, size, np.uint32)


def message_of(client: int, occasion: Occasion = OCCASION, **changes) -> bytes:
  """Returns a client's message before it is sealed."""
  header = Header(
    kind=Kind.SHARE,
    round=occasion.round,
    attempt=occasion.attempt,
    sender=client,
    receiver=SERVER,
    num_values=NUM_VALUES,
    **scheme_numbers(SCHEME),
  )
  header = dataclasses.replace(header, **changes)
  return shared.encode_share(header, share_of(client), SCHEME)


def sealed_of(
  client: int,
  occasion: Occasion = OCCASION,
  cohort=COHORT,
  model=MODEL,
  key=None,
  **changes,
) -> bytes:
  """Returns a client's sealed message."""
  return sealing.seal(
    message_of(client, occasion, **changes),
    occasion.label(client, SERVER, cohort, model),
    sealing.sealing_key(key or OPENING),
    SIGNING[client],
  )


def make_server(tmp_path) -> Server:
  """Returns an aggregation server, whose ledger is in a folder."""
  return Server(
    SERVER,
    {'study': Rules(SCHEME, min_contributors=2, seeds=(0,))},
    OPENING,
    {c: sealing.verifying_key(key) for c, key in SIGNING.items()},
    Ledger(tmp_path / 'ledger'),
  )


@pytest.fixture
def server(tmp_path) -> Server:
  """An aggregation server that holds nothing yet."""
  return make_server(tmp_path)


def hold(server, messages, occasion=OCCASION, **changes):
  """Hands a server sealed messages, by client; returns its answer."""
  parts = {
    'cohort': COHORT,
    'digest': MODEL,
    'num_values': NUM_VALUES,
    'senders': list(messages),
    'sealed': list(messages.values()),
  }
  return server.answer('hold', occasion.request(**{**parts, **changes}))


def add(server, clients, occasion=OCCASION, cohort=COHORT):
  """Asks a server for a sum; returns its answer."""
  request = occasion.request(cohort=list(cohort), clients=list(clients))
  return server.answer('sum', request)


def hold_all(server, occasion=OCCASION):
  """Hands a server what the whole cohort shares."""
  sealed = {client: sealed_of(client, occasion) for client in COHORT}
  assert hold(server, sealed, occasion) == {'held': COHORT, 'refused': []}


def words_of(answer):
  """Returns the clients and the words of a sum."""
  _, number, digest, words = shared.decode_sum(answer['sum'], SCHEME)
  return number, digest, words


def test_sum_is_of_the_clients_that_were_asked_for(server):
  hold_all(server)
  number, digest, words = words_of(add(server, [2, 5, 7]))
  total = sum(share_of(client).astype(int) for client in (2, 5, 7))
  assert (number, digest) == (3, shared.client_set_digest([2, 5, 7]))
  np.testing.assert_array_equal(words, total % SCHEME.field.modulus)


REFUSED = {
  'replayed from another round': (
    lambda: sealed_of(2, dataclasses.replace(OCCASION, round=3)),
    'signature of client 2',
  ),
  'replayed from another attempt': (
    lambda: sealed_of(2, dataclasses.replace(OCCASION, attempt=1)),
    'signature of client 2',
  ),
  'replayed from before a restart': (
    lambda: sealed_of(2, dataclasses.replace(OCCASION, start=1)),
    'signature of client 2',
  ),
  'of another cohort': (
    lambda: sealed_of(2, cohort=[2, 3]),
    'signature of client 2',
  ),
  'of another study': (
    lambda: sealed_of(2, dataclasses.replace(OCCASION, study='other')),
    'signature of client 2',
  ),
  'of another seed': (
    lambda: sealed_of(2, dataclasses.replace(OCCASION, seed=1)),
    'signature of client 2',
  ),
  'of another model': (
    lambda: sealed_of(2, model=b'n' * 16),
    'signature of client 2',
  ),
  'of another client': (lambda: sealed_of(3), 'signature of client 2'),
  'truncated': (lambda: sealed_of(2)[:-1], 'signature of client 2'),
  'of bytes': (lambda: b'no message', 'signature of client 2'),
  'to another key': (
    lambda: sealed_of(2, key=sealing.make_opening_key()),
    'another key than that of server 5',
  ),
  'with the header of another client': (
    lambda: sealed_of(2, sender=3),
    'says that it is of client 3',
  ),
  'with the header of another round': (
    lambda: sealed_of(2, round=3),
    'round=3, expected 4',
  ),
  'for another server': (
    lambda: sealed_of(2, receiver=4),
    'receiver=4, expected 5',
  ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_bad_message_is_refused_by_name_and_the_others_are_held(case, server):
  make, reason = REFUSED[case]
  answer = hold(server, {2: make(), 3: sealed_of(3), 5: sealed_of(5)})
  assert answer['held'] == [3, 5]
  (line,) = answer['refused']
  assert line.startswith('client 2: ')
  assert reason in line
  assert 'sum' in add(server, [3, 5])


def test_second_message_of_a_client_is_refused(server):
  hold_all(server)
  answer = hold(server, {2: sealed_of(2)})
  assert 'already sent' in answer['refused'][0]
  assert answer['held'] == COHORT


def test_client_that_is_not_of_the_cohort_is_refused(server):
  answer = hold(server, {8: sealed_of(8)})
  assert answer == {
    'held': [],
    'refused': ['client 8: it is not of the cohort'],
  }


def test_client_without_a_pinned_key_is_refused(server):
  answer = hold(server, {}, cohort=[2, 99])
  assert 'clients [99] of the cohort have no pinned key' in answer['refusal']


def test_stale_occasions_are_refused(server):
  hold_all(server)
  for change in ({'round': 3}, {'start': 0, 'round': 3, 'attempt': 1}):
    stale = dataclasses.replace(OCCASION, **change)
    assert 'not that which' in hold(server, {}, stale)['refusal']
    assert 'not that which' in add(server, COHORT, stale)['refusal']
  assert 'sum' in add(server, COHORT)


def test_sum_of_another_occasion_or_cohort_is_refused(server):
  hold_all(server)
  later = dataclasses.replace(OCCASION, attempt=1)
  assert 'not that which' in add(server, COHORT, later)['refusal']
  assert 'another one' in add(server, COHORT, cohort=COHORT[:3])['refusal']


def test_shares_of_another_model_are_not_added_to_those_of_the_first(server):
  hold_all(server)
  answer = hold(server, {}, digest=b'n' * 16)
  assert 'the model is another one' in answer['refusal']


def test_sum_of_too_few_is_refused(server):
  hold_all(server)
  assert 'fewer than' in add(server, [2])['refusal']


def test_sum_of_clients_without_a_share_is_refused(server):
  hold(server, {2: sealed_of(2), 3: sealed_of(3)})
  assert 'no share of clients [5]' in add(server, [2, 3, 5])['refusal']


def test_sum_of_a_client_twice_is_refused(server):
  hold_all(server)
  assert 'repeats' in add(server, [2, 2, 3])['refusal']


@pytest.mark.parametrize('change', [{'start': 1}, {'run': b'q' * 16}])
@pytest.mark.parametrize('restarts', [False, True])
def test_round_is_summed_over_one_set_of_clients(
  restarts, change, server, tmp_path
):
  """However often either server is restarted, and whatever is asked for."""
  hold_all(server)
  first = add(server, COHORT)
  again = dataclasses.replace(OCCASION, **change)
  if restarts:
    server = make_server(tmp_path)
  hold_all(server, again)
  assert 'summed over other clients' in add(server, [2, 3], again)['refusal']
  number, digest, _ = words_of(add(server, COHORT, again))
  assert (number, digest) == words_of(first)[:2]


def test_round_is_summed_of_one_model(server):
  """The same clients, but for one of whom another model is known."""
  hold_all(server)
  assert 'sum' in add(server, COHORT)
  again, other = dataclasses.replace(OCCASION, start=1), b'n' * 16
  sealed = {c: sealed_of(c, again, model=other) for c in COHORT}
  assert hold(server, sealed, again, digest=other)['held'] == COHORT
  assert 'another model' in add(server, COHORT, again)['refusal']


def test_damaged_ledger_is_refused(tmp_path):
  (tmp_path / 'ledger').write_text('half a li\n')
  with pytest.raises(ValueError, match=r'is damaged at .half a li.'):
    Ledger(tmp_path / 'ledger')


def test_line_of_a_ledger_that_was_cut_off_is_of_no_sum(tmp_path):
  path = tmp_path / 'ledger'
  Ledger(path).add(OCCASION, b'one')
  whole = path.read_text()
  path.write_text(f'{whole}0 5 6f')
  ledger = Ledger(path)
  assert path.read_text() == whole
  ledger.add(dataclasses.replace(OCCASION, round=5), b'two')
  with pytest.raises(ValueError, match='round 5 was summed over other clients'):
    Ledger(path).add(OCCASION, b'two')


@pytest.mark.parametrize(
  'change',
  [
    {'cohort': None},
    {'cohort': [2, '3']},
    {'cohort': [2, 2]},
    {'run': b'short'},
    {'round': -1},
    {'round': True},
    {'num_values': 2**40},
    {'senders': [2, 3]},
    {'study': 'other'},
    {'seed': 1},
    {'digest': b'short'},
  ],
)
def test_request_that_is_none_is_refused(change, server):
  sealed = {2: sealed_of(2)}
  assert 'refusal' in hold(server, sealed, **change)
  assert 'refusal' not in hold(server, sealed)


def test_unknown_leg_is_refused(server):
  assert 'none of a server' in server.answer('open', {})['refusal']


def _mutate(message: bytes, generator: np.random.Generator) -> bytes:
  """Returns a message with one of the things done to it that networks do."""
  changed, place = bytearray(message), int(generator.integers(len(message)))
  kind = generator.integers(5)
  if kind == 0:
    changed[place] ^= int(generator.integers(1, 256))
  elif kind == 1:
    del changed[place:]
  elif kind == 2:
    changed[place:place] = generator.bytes(int(generator.integers(1, 9)))
  elif kind == 3:
    del changed[place]
  else:
    end = min(place + 8, len(changed))
    changed[place:end] = bytes(255 - byte for byte in changed[place:end])
  return bytes(changed)


@pytest.mark.thorough
def test_no_mutation_of_10000_is_accepted_or_stops_the_server(server):
  """Mutated before and after they are sealed, as a link and a client may."""
  generator, wanted = np.random.default_rng(0), 10_000
  sealed, plain = sealed_of(2), message_of(2)
  label = OCCASION.label(2, SERVER, COHORT, MODEL)
  key = sealing.sealing_key(OPENING)
  batch = 500
  for start in range(0, wanted, batch):
    messages = [_mutate(sealed, generator) for _ in range(batch)]
    if start >= wanted // 2:
      # Of a client that signs what it likes, but words of which all are some.
      header = bytearray(plain)
      messages = []
      for _ in range(batch):
        header[:] = plain
        header[int(generator.integers(32))] ^= int(generator.integers(1, 256))
        messages.append(sealing.seal(bytes(header), label, key, SIGNING[2]))
    parts = {'senders': [2] * batch, 'sealed': messages}
    answer = hold(server, {}, **parts)
    assert answer['held'] == []
    assert len(answer['refused']) == batch
  hold_all(server)
  assert 'sum' in add(server, COHORT)
