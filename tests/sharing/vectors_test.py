"""Replays `vectors.json`, which other code made, on the fast path."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import on_host, randomness
from fps_jax.sharing.audit import Auditor, SharingError
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import bits
from fps_jax.sharing.messages.header import Header, Kind
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir
from tests.sharing import make_vectors

VECTORS = json.loads(make_vectors.PATH.read_text())


def name_of(case: dict) -> str:
  scheme = '{num_servers}-{threshold}-{secrets_per_polynomial} mod {prime}'
  return ' '.join([scheme.format(**case), case.get('name', '')]).strip()


HONEST = pytest.mark.parametrize('case', VECTORS['honest'], ids=name_of)
AUDITED = pytest.mark.parametrize('case', VECTORS['audited'], ids=name_of)


def scheme_of(case: dict) -> Shamir:
  return Shamir(
    PrimeField(case['prime']),
    case['num_servers'],
    case['threshold'],
    case['secrets_per_polynomial'],
  )


def as_words(texts: list[str]) -> np.ndarray:
  """Returns uint32 [keys, 8]."""
  return np.frombuffer(bytes.fromhex(''.join(texts)), '<u4').reshape(-1, 8)


def key_of_round(case: dict) -> np.ndarray:
  root = randomness.root_key(case['run_seed'])
  np.testing.assert_array_equal(root, *as_words([case['root_key']]))
  key = randomness.round_key(root, case['round'], case['attempt'])
  np.testing.assert_array_equal(key, *as_words([case['round_key']]))
  return key


@functools.partial(jax.jit, static_argnums=0)
def combine(field, sums_NxW, coins_Qx8):
  # Of a scheme, only the field and N matter here: fewer programs to compile.
  auditor = Auditor(Shamir(field, len(sums_NxW), 1), (1,))
  coefficients = auditor.coefficients(coins_Qx8, 0, sums_NxW.shape[1])
  return auditor.combine(sums_NxW, coefficients)


def test_committed_file_is_what_its_program_makes() -> None:
  assert make_vectors.PATH.read_text() == make_vectors.make()


def test_every_scheme_and_every_verdict_occurs() -> None:
  names = {name_of(case) for case in VECTORS['honest']}
  assert len(names) == len(make_vectors.PRIMES) * len(make_vectors.SIZES)
  verdicts = [case['wrong'] for case in VECTORS['audited']]
  assert {0, 1, 2} <= {len(wrong) for wrong in verdicts if wrong is not None}
  assert None in verdicts


@pytest.mark.parametrize('case', VECTORS['headers'])
def test_header_is_these_bytes(case: dict) -> None:
  numbers = dict(case)
  names = 'num_servers', 'threshold', 'secrets_per_polynomial', 'prime'
  *scheme, seeded = numbers.pop('scheme', (0,) * 5)
  encoded = bytes.fromhex(numbers.pop('header'))
  header = Header(
    **numbers | {'kind': Kind(case['kind'])},
    **dict(zip(names, scheme, strict=True)),
    seeded=bool(seeded),
  )
  assert header.encode() == encoded
  assert Header.decode(encoded) == header


def test_headers_are_of_every_kind() -> None:
  assert {case['kind'] for case in VECTORS['headers']} == set(Kind)


@HONEST
def test_seeds_are_derived_from_the_run_seed(case: dict) -> None:
  key = key_of_round(case)
  for client in case['clients']:
    seeds = randomness.keys(
      key, Purpose.SHARE, scheme_of(case).num_random, client['client']
    )
    np.testing.assert_array_equal(seeds, as_words(client['seeds']))


@pytest.mark.parametrize('drawer', ['in a program', 'on the host'])
@pytest.mark.parametrize('prime', make_vectors.PRIMES)
def test_first_shares_are_drawn_from_the_seeds(prime: int, drawer: str) -> None:
  clients = [
    client
    for case in VECTORS['honest']
    for client in case['clients']
    if case['prime'] == prime
  ]
  # All at once, to compile once.
  seeds = as_words([seed for client in clients for seed in client['seeds']])
  arguments = (0, make_vectors.NUM_COLUMNS, PrimeField(prime))
  if drawer == 'on the host':
    words = on_host.uniform(seeds, *arguments)
  else:
    uniform = jax.jit(lambda seeds: randomness.uniform(seeds, *arguments))
    words = uniform(seeds)
  expected = [row for c in clients for row in c['shares'][: len(c['seeds'])]]
  assert words.tolist() == expected


@pytest.mark.slow
@HONEST
def test_shares_and_their_sum_and_what_it_opens_to(case: dict) -> None:
  scheme, clients = scheme_of(case), case['clients']
  expected = np.uint32([client['shares'] for client in clients])
  # Columns are shared one by one: those of both clients at once. Not compiled
  # as a whole, which would take a second a scheme.
  secrets = np.hstack([np.uint32(client['secrets']) for client in clients])
  random = np.hstack(expected[:, : scheme.num_random])
  shares = scheme.share_with(jnp.asarray(secrets), jnp.asarray(random))
  np.testing.assert_array_equal(shares, np.hstack(expected))
  sums = scheme.field.add(*jnp.split(shares, len(clients), axis=1))
  assert sums.tolist() == case['sums']
  for opened in case['opened']:
    found = scheme.open_shares(sums, scheme.opening(opened['servers']))
    assert found.tolist() == opened['secrets']


@HONEST
def test_share_is_packed_into_these_bytes(case: dict) -> None:
  words = np.uint32(case['clients'][0]['shares'][-1])
  packed = bytes.fromhex(case['packed'])
  num_bits = PrimeField(case['prime']).bits
  assert bits.pack_words(words, num_bits) == packed
  unpacked = bits.unpack_words(packed, len(words), num_bits)
  np.testing.assert_array_equal(unpacked, words)


@AUDITED
def test_audit_reaches_the_verdict(case: dict) -> None:
  auditor = Auditor(scheme_of(case), tuple(case['present']))
  key, field = key_of_round(case), auditor.scheme.field
  coins = randomness.keys(key, Purpose.CHECK, auditor.num_checks)
  checks = np.asarray(combine(field, np.uint32(case['sums']), coins))
  assert checks.tolist() == case['checks']
  if case['wrong'] is None:
    with pytest.raises(SharingError, match='contradict each other'):
      auditor.find_wrong_servers(checks)
  else:
    assert auditor.find_wrong_servers(checks) == tuple(case['wrong'])
