"""Tests of `fps_jax.sharing.audit` by fault injection, and of its limits."""

import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import on_host, randomness
from fps_jax.sharing.audit import SOUNDNESS_BITS, Auditor, SharingError
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir
from tests.helpers.audit_cases import (
  CLIENTS,
  COLUMNS,
  IN_USE,
  LARGEST,
  NUM_TILES,
  ROUND_KEY,
  TILE,
  Servers,
  Size,
  add_clients,
  draw_secrets,
  make,
  plus,
)

SIZES = pytest.mark.parametrize(
  'size', [(7, 4, 1), (5, 3, 1), (10, 8, 4), (7, 5, 2), (7, 3, 1)]
)


def corrupt(
  scheme: Shamir, held_NxM: np.ndarray, servers: Servers, how: str
) -> np.ndarray:
  """Returns what is reported when some servers do not report their sum."""
  p, rows = scheme.field.modulus, np.array(servers) - 1
  wrong = held_NxM.copy()
  if how == 'one column':
    wrong[rows, IN_USE - 1] = plus(wrong[rows, IN_USE - 1], 1, p)
  elif how == 'everywhere':
    wrong[rows] = plus(wrong[rows], 1, p)
  elif how == 'another row':
    # That of the next server; two servers swap theirs.
    others = rows[::-1] if len(rows) == 2 else (rows + 1) % len(held_NxM)
    wrong[rows] = held_NxM[others]
  elif how == 'replay':
    wrong[rows] = add_clients(scheme, round_number=1)[rows]
  elif how == 'random words':
    rng = np.random.default_rng(len(servers))
    wrong[rows] = rng.integers(p, size=wrong[rows].shape, dtype=np.uint32)
  elif how == 'other clients':
    wrong[rows] = add_clients(scheme, clients=CLIENTS - 1)[rows]
  return wrong


CORRUPTIONS = (
  'one column', 'everywhere', 'another row', 'replay', 'other clients',
  'random words',
)  # fmt: skip


@functools.cache
def compiled(scheme: Shamir):
  """Returns `examine` and `open_shares`, each compiled once a scheme."""
  auditor = Auditor(scheme, scheme.server_points)
  examine = functools.partial(auditor.examine, tile_columns=TILE)
  # Exact however it is compiled, and most of the time would be compiling.
  return jax.jit(examine), jax.jit(scheme.open_shares)


def examine(
  scheme: Shamir, held: np.ndarray, num_tiles: int = NUM_TILES
) -> np.ndarray:
  num_checks = Auditor(scheme, scheme.server_points).num_checks
  coins = randomness.keys(ROUND_KEY, Purpose.CHECK, num_checks)
  checks = compiled(scheme)[0](held, coins, jnp.int32(num_tiles))
  return np.asarray(checks)


def audit(
  scheme: Shamir, held_NxM: np.ndarray, missing: Servers = ()
) -> tuple[Servers, np.ndarray]:
  """Returns the servers that are named and what the others open."""
  present = scheme.present_without(missing)
  held = held_NxM.copy()
  held[np.array(missing, int) - 1] = scheme.field.modulus - 1
  auditor = Auditor(scheme, present)
  wrong = auditor.find_wrong_servers(examine(scheme, held))
  opened = compiled(scheme)[1](held, auditor.opening_without(wrong))
  return wrong, np.asarray(opened)[:, :IN_USE]


def honest_sum(scheme: Shamir) -> np.ndarray:
  total = draw_secrets(scheme)[:, :, :IN_USE].sum(0, np.uint64)
  return total % scheme.field.modulus


def fault_sets(scheme: Shamir) -> Iterator[tuple[Servers, Servers]]:
  """Yields (wrong, missing), all with 2 wrong + missing <= N - k."""
  servers = scheme.server_points
  spare = scheme.num_servers - scheme.threshold
  for num_wrong in range(spare // 2 + 1):
    for num_missing in range(spare - 2 * num_wrong + 1):
      for wrong in itertools.combinations(servers, num_wrong):
        others = [server for server in servers if server not in wrong]
        for missing in itertools.combinations(others, num_missing):
          yield wrong, missing


@pytest.mark.slow
@pytest.mark.parametrize('how', ('nothing', *CORRUPTIONS))
@SIZES
def test_wrong_servers_are_named_and_left_out(size: Size, how: str) -> None:
  scheme = make(size)
  held, expected = add_clients(scheme), honest_sum(scheme)
  for wrong, missing in fault_sets(scheme):
    if bool(wrong) == (how != 'nothing'):
      reported = corrupt(scheme, held, wrong, how)
      found, opened = audit(scheme, reported, missing)
      assert found == wrong
      np.testing.assert_array_equal(opened, expected)
  assert [function._cache_size() for function in compiled(scheme)] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize('p', [251, 2**19 - 1])
@SIZES
def test_random_lies_are_named_or_noticed_up_to_the_answers_to_spare(
  size: Size, p: int
) -> None:
  """By as many servers as `num_correctable` and `num_detectable` say."""
  scheme = make(size, p)
  held, expected = add_clients(scheme), honest_sum(scheme)
  num_spare = scheme.num_servers - scheme.threshold
  for num_missing in range(num_spare):
    missing = scheme.server_points[:num_missing]
    present = scheme.present_without(missing)
    auditor = Auditor(scheme, present)
    assert auditor.num_detectable == num_spare - num_missing
    assert auditor.num_correctable == (num_spare - num_missing) // 2
    for num_wrong in range(1, auditor.num_detectable + 1):
      for wrong in itertools.combinations(present, num_wrong):
        reported = corrupt(scheme, held, wrong, 'random words')
        if num_wrong <= auditor.num_correctable:
          found, opened = audit(scheme, reported, missing)
          assert found == wrong
          np.testing.assert_array_equal(opened, expected)
        else:
          with pytest.raises(SharingError, match='contradict each other'):
            audit(scheme, reported, missing)


def test_with_no_answer_to_spare_every_lie_is_accepted() -> None:
  scheme = make((5, 3, 1))
  held = add_clients(scheme)
  for missing in itertools.combinations(scheme.server_points, 2):
    auditor = Auditor(scheme, scheme.present_without(missing))
    assert (auditor.num_correctable, auditor.num_detectable) == (0, 0)
    reported = corrupt(scheme, held, auditor.present, 'random words')
    found, opened = audit(scheme, reported, missing)
    assert found == ()
    assert (opened != honest_sum(scheme)).any()


@pytest.mark.parametrize('p', [2, 5, 11])
def test_combination_misses_a_wrong_vector_for_one_in_p_coefficients(
  p: int,
) -> None:
  """Over all coefficients of two columns, and all errors there."""
  pairs = np.uint32(list(itertools.product(range(p), repeat=2)))
  combined = np.asarray(PrimeField(p).dot(pairs, pairs))
  num_missed = (combined == 0).sum(axis=0)
  assert num_missed.tolist() == [p**2] + [p] * (p**2 - 1)


def test_one_word_that_is_wrong_is_enough() -> None:
  auditor = Auditor(make((7, 4, 1)), make((7, 4, 1)).server_points)
  checks = np.zeros((3, 7), np.uint32)
  checks[1, 4] = 1
  assert auditor.find_wrong_servers(checks) == (5,)
  # Each word has one wrong share, but they are those of two servers.
  checks[2, 0] = 1
  with pytest.raises(SharingError, match='at most 1 with 7 answers'):
    auditor.find_wrong_servers(checks)


@pytest.mark.parametrize('checks_clients', [False, True])
def test_audit_of_clients_is_a_cure_where_there_is_none_yet(
  checks_clients: bool,
) -> None:
  scheme = make((5, 4, 2))
  auditor = Auditor(scheme, scheme.server_points, checks_clients)
  checks = np.zeros((2, 5), np.uint32)
  checks[0, 4] = 1
  with pytest.raises(SharingError, match='lower the threshold') as raised:
    auditor.find_wrong_servers(checks)
  assert ("set sharing.audit='clients'" in str(raised.value)) != checks_clients


@pytest.mark.parametrize('p', [251, 2**19 - 1, 2**22 - 3])
def test_wrong_servers_are_named_in_smaller_fields(p: int) -> None:
  scheme = make((7, 4, 2), p)
  held, expected = add_clients(scheme), honest_sum(scheme)
  for server in scheme.server_points:
    reported = corrupt(scheme, held, (server,), 'one column')
    found, opened = audit(scheme, reported)
    assert found == (server,)
    np.testing.assert_array_equal(opened, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('size', 'num_wrong', 'num_missing', 'most'),
  [
    ((5, 4, 2), 1, 0, 'at most 0 with 5 answers and threshold=4'),
    ((5, 3, 1), 1, 1, 'at most 0 with 4 answers and threshold=3'),
    ((7, 4, 1), 2, 0, 'at most 1 with 7 answers and threshold=4'),
    ((5, 3, 1), 2, 0, 'at most 1 with 5 answers and threshold=3'),
    ((10, 8, 4), 2, 0, 'at most 1 with 10 answers and threshold=8'),
  ],
)
def test_more_wrong_servers_are_refused(
  size: Size, num_wrong: int, num_missing: int, most: str
) -> None:
  scheme = make(size)
  held = add_clients(scheme)
  # With an odd number of spare servers, even errors that suit one another.
  is_odd = (size[0] - size[1] - num_missing) % 2 == 1
  for how in CORRUPTIONS if is_odd else ('replay', 'other clients'):
    for wrong in itertools.combinations(scheme.server_points, num_wrong):
      others = [s for s in scheme.server_points if s not in wrong]
      missing = tuple(others[:num_missing])
      reported = corrupt(scheme, held, wrong, how)
      with pytest.raises(SharingError, match=most) as raised:
        audit(scheme, reported, missing)
      present = scheme.present_without(missing)
      message = f'the sums of servers {present} contradict each other'
      assert message in str(raised.value)


@pytest.mark.parametrize(
  ('size', 'wrong', 'missing', 'how', 'named'),
  [
    # The limits of all decoding: a report that is closer to another sum, and
    # one without a spare server, which is always that of some sum.
    ((5, 3, 1), (2, 4), (), 'everywhere', (3,)),
    ((10, 8, 4), (2, 8), (), 'another row', (10,)),
    ((5, 3, 1), (4,), (1, 2), 'everywhere', ()),
  ],
)
def test_errors_that_suit_each_other_go_unnoticed_beyond_the_bound(
  size: Size, wrong: Servers, missing: Servers, how: str, named: Servers
) -> None:
  scheme = make(size)
  held = corrupt(scheme, add_clients(scheme), wrong, how)
  found, opened = audit(scheme, held, missing)
  assert found == named
  assert (opened != honest_sum(scheme)).any()


def test_only_tiles_in_use_are_examined() -> None:
  scheme = make((5, 3, 1))
  held = add_clients(scheme)
  held[1, IN_USE:] = plus(held[1, IN_USE:], 1, LARGEST)
  auditor = Auditor(scheme, scheme.server_points)
  for num_tiles, found in ((0, ()), (NUM_TILES, ()), (NUM_TILES + 1, (2,))):
    checks = examine(scheme, held, num_tiles)
    assert auditor.find_wrong_servers(checks) == found


def test_checks_are_products_with_the_coins_whatever_the_tiles() -> None:
  scheme = make((10, 8, 4))
  auditor, held = Auditor(scheme, scheme.server_points), add_clients(scheme)
  coins = randomness.keys(ROUND_KEY, Purpose.CHECK, auditor.num_checks)
  coefficients = on_host.uniform(coins, 0, COLUMNS, scheme.field)
  expected = coefficients.astype(object) @ held.T.astype(object) % LARGEST
  assert examine(scheme, held, COLUMNS // TILE).tolist() == expected.tolist()
  checks = auditor.examine(jnp.asarray(held), coins, COLUMNS // 48, 48)
  assert checks.tolist() == expected.tolist()


def test_as_few_checks_as_soundness_takes() -> None:
  for p in (2, 5, 251, 2**17 - 1, 2**19 - 1, 2**20 - 3, 2**22 - 3, LARGEST):
    num_checks = Auditor(make((1, 1, 1), p), (1,)).num_checks
    assert p ** (num_checks - 1) < 2**SOUNDNESS_BITS <= p**num_checks
