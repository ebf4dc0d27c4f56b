"""Tests of `fps_jax.sharing.audit` by fault injection, and of its limits."""

import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from fps_jax.sharing import randomness
from fps_jax.sharing.audit import SOUNDNESS_BITS, Auditor, SharingError
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir

LARGEST = 2**31 - 1
TILE, NUM_TILES = 32, 2
# The columns behind the tiles in use hold leftovers, which nobody opens.
COLUMNS, IN_USE = 96, TILE * NUM_TILES
CLIENTS = 8
ROUND_KEY = randomness.round_key(randomness.root_key(8), 3)

Size = tuple[int, int, int]  # (N, k, l)
Servers = tuple[int, ...]
SIZES = pytest.mark.parametrize(
  'size', [(7, 4, 1), (5, 3, 1), (10, 8, 4), (7, 5, 2), (7, 3, 1)]
)


@functools.cache
def make(size: Size, p: int = LARGEST) -> Shamir:
  return Shamir(PrimeField(p), *size)


def draw_secrets(scheme: Shamir, round_number: int = 0) -> np.ndarray:
  """Returns the secrets of all clients in a round, uint32 [C, L, COLUMNS]."""
  shape = (CLIENTS, scheme.secrets_per_polynomial, COLUMNS)
  rng = np.random.default_rng(round_number)
  return rng.integers(scheme.field.modulus, size=shape, dtype=np.uint32)


@functools.cache
def deal(scheme: Shamir, round_number: int = 0) -> np.ndarray:
  """Returns the shares of all clients in a round, uint32 [C, N, COLUMNS]."""
  key = randomness.round_key(randomness.root_key(8), round_number)
  shares = []
  share = jax.jit(scheme.share_with, compiler_options=small.QUICK)
  for client, secrets in enumerate(draw_secrets(scheme, round_number)):
    seeds = randomness.keys(key, Purpose.SHARE, scheme.num_random, client)
    words = randomness.uniform_on_host(seeds, 0, COLUMNS, scheme.field)
    shares.append(share(secrets, words))
  return np.stack(shares)


def add_clients(
  scheme: Shamir, round_number: int = 0, clients: int = CLIENTS
) -> np.ndarray:
  """Returns the servers' sums over the first clients, uint32 [N, COLUMNS]."""
  shares = deal(scheme, round_number)[:clients]
  total = shares.sum(0, np.uint64) % scheme.field.modulus
  return total.astype(np.uint32)


def plus(row: np.ndarray, error: np.ndarray | int, p: int) -> np.ndarray:
  return ((row + np.uint64(error)) % p).astype(np.uint32)


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
  elif how == 'other clients':
    wrong[rows] = add_clients(scheme, clients=CLIENTS - 1)[rows]
  return wrong


CORRUPTIONS = (
  'one column', 'everywhere', 'another row', 'replay', 'other clients'
)  # fmt: skip


@functools.cache
def compiled(scheme: Shamir):
  """Returns `examine` and `open_shares`, each compiled once a scheme."""
  auditor = Auditor(scheme, scheme.server_points)
  examine = functools.partial(auditor.examine, tile_columns=TILE)
  # Exact however it is compiled, and most of the time would be compiling.
  quick_jit = functools.partial(jax.jit, compiler_options=small.QUICK)
  return quick_jit(examine), quick_jit(scheme.open_shares)


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


def test_one_word_that_is_wrong_is_enough() -> None:
  auditor = Auditor(make((7, 4, 1)), make((7, 4, 1)).server_points)
  checks = np.zeros((3, 7), np.uint32)
  checks[1, 4] = 1
  assert auditor.find_wrong_servers(checks) == (5,)
  # Each word has one wrong share, but they are those of two servers.
  checks[2, 0] = 1
  with pytest.raises(SharingError, match='at most 1 with 7 answers'):
    auditor.find_wrong_servers(checks)


@pytest.mark.parametrize('p', [251, 2**19 - 1, 2**22 - 3])
def test_wrong_servers_are_named_in_smaller_fields(p: int) -> None:
  scheme = make((7, 4, 2), p)
  held, expected = add_clients(scheme), honest_sum(scheme)
  for server in scheme.server_points:
    reported = corrupt(scheme, held, (server,), 'one column')
    found, opened = audit(scheme, reported)
    assert found == (server,)
    np.testing.assert_array_equal(opened, expected)


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
  coefficients = randomness.uniform_on_host(coins, 0, COLUMNS, scheme.field)
  expected = coefficients.astype(object) @ held.T.astype(object) % LARGEST
  assert examine(scheme, held, COLUMNS // TILE).tolist() == expected.tolist()
  checks = auditor.examine(jnp.asarray(held), coins, COLUMNS // 48, 48)
  assert checks.tolist() == expected.tolist()


def test_as_few_checks_as_soundness_takes() -> None:
  for p in (2, 5, 251, 2**17 - 1, 2**19 - 1, 2**20 - 3, 2**22 - 3, LARGEST):
    num_checks = Auditor(make((1, 1, 1), p), (1,)).num_checks
    assert p ** (num_checks - 1) < 2**SOUNDNESS_BITS <= p**num_checks


@functools.cache
def check_clients(scheme: Shamir):
  """Returns the function from shares [C, N, M] to blinded checks [C, Q, N]."""
  auditor = Auditor(scheme, scheme.server_points, checks_clients=True)
  coins = randomness.keys(ROUND_KEY, Purpose.CHECK, auditor.num_checks)
  blinds = [
    randomness.keys(ROUND_KEY, Purpose.BLIND, scheme.threshold, c)
    for c in range(CLIENTS)
  ]

  def check_client(shares_NxM, blinds_Kx8):
    coefficients = auditor.coefficients(coins, 0, COLUMNS)
    combined = auditor.combine(shares_NxM, coefficients)
    return scheme.field.add(auditor.blind(blinds_Kx8), combined)

  check_all = jax.jit(jax.vmap(check_client), compiler_options=small.QUICK)
  return lambda shares: np.array(check_all(shares, np.array(blinds)))


def find_clients(
  scheme: Shamir, checks: np.ndarray, present: Servers = ()
) -> tuple[Servers, Servers]:
  """Does `find_inconsistent_clients`; clients are numbered 100, 99, ...."""
  auditor = Auditor(scheme, present or scheme.server_points, True)
  by_client = {100 - c: words for c, words in enumerate(checks)}
  return auditor.find_inconsistent_clients(by_client)


def deal_wrong(scheme: Shamir) -> np.ndarray:
  """Returns shares of which clients 99, 98 and 96 dealt wrong ones."""
  p, shares = scheme.field.modulus, deal(scheme).copy()
  rng = np.random.default_rng(0)
  shares[1, 1, 50] = plus(shares[1, 1, 50], 1, p)
  shares[2, 1:3] = rng.integers(p, size=shares[2, 1:3].shape)
  shares[4] = rng.integers(p, size=shares[4].shape, dtype=np.uint32)
  return shares


@pytest.mark.parametrize('size', [(5, 3, 1), (7, 4, 1)])
def test_clients_that_deal_wrong_shares_are_named(size: Size) -> None:
  scheme = make(size)
  check = check_clients(scheme)
  assert find_clients(scheme, check(deal(scheme))) == ((), ())
  wrong = check(deal_wrong(scheme))
  assert find_clients(scheme, wrong) == ((96, 98, 99), ())
  # Whoever else is missing.
  for missing in range(4, scheme.num_servers + 1):
    present = scheme.present_without((missing,))
    assert find_clients(scheme, wrong, present) == ((96, 98, 99), ())


def test_a_client_is_named_whichever_server_it_deals_a_wrong_share() -> None:
  scheme = make((5, 3, 1))
  for row in range(5):
    shares = deal(scheme).copy()
    shares[3, row, 0] = plus(shares[3, row, 0], 1, LARGEST)
    assert find_clients(scheme, check_clients(scheme)(shares)) == ((97,), ())


@pytest.mark.parametrize('size', [(5, 3, 1), (7, 4, 1), (7, 3, 1)])
def test_a_server_that_lies_about_all_clients_is_named(size: Size) -> None:
  scheme = make(size)
  p, rng = scheme.field.modulus, np.random.default_rng(1)
  checks, wrong = map(check_clients(scheme), (deal(scheme), deal_wrong(scheme)))
  lies = rng.integers(p, size=checks.shape[:2], dtype=np.uint32)
  for error in (1, lies):
    for liar in scheme.server_points:
      honest, mixed = checks.copy(), wrong.copy()
      for words in (honest, mixed):
        words[:, :, liar - 1] = plus(words[:, :, liar - 1], error, p)
      assert find_clients(scheme, honest) == ((), (liar,))
      # Client 99's only wrong share is server 2's, which is left out itself.
      clients = (96, 98) if liar == 2 else (96, 98, 99)
      assert find_clients(scheme, mixed) == (clients, (liar,))


@pytest.mark.parametrize(
  ('num_lies', 'expected'),
  [(1, ((100,), ())), (4, ((97, 98, 99, 100), ())), (5, ((), (5,)))],
)
def test_a_server_that_lies_about_a_minority_has_it_left_out(
  num_lies: int, expected: tuple[Servers, Servers]
) -> None:
  scheme = make((5, 3, 1))
  checks = check_clients(scheme)(deal(scheme))
  checks[:num_lies, :, 4] = plus(checks[:num_lies, :, 4], 1, LARGEST)
  assert find_clients(scheme, checks) == expected


def test_a_lying_server_is_not_told_from_wrong_clients_with_one_spare() -> None:
  scheme = make((5, 4, 1))
  checks = check_clients(scheme)(deal(scheme))
  checks[:, :, 2] = plus(checks[:, :, 2], 1, LARGEST)
  assert find_clients(scheme, checks) == (tuple(range(93, 101)), ())


@pytest.mark.parametrize('size', [(5, 3, 1), (4, 4, 1)])
def test_nobody_is_named_without_clients_or_spare_servers(size: Size) -> None:
  scheme = make(size)
  assert find_clients(scheme, np.zeros((0, 2, 5), np.uint32)) == ((), ())
  any_words = np.arange(2 * size[0], dtype=np.uint32).reshape(1, 2, size[0])
  present = tuple(range(1, size[1] + 1))
  assert find_clients(scheme, any_words, present) == ((), ())


@pytest.mark.parametrize(('size', 'columns'), [((3, 2, 1), 2), ((3, 3, 2), 1)])
def test_blinded_checks_say_nothing_of_the_secrets(
  size: Size, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
  p, (_, threshold, split) = 5, size
  scheme = make(size, p)
  # In place of keys, the words that they would expand to: all there are.
  monkeypatch.setattr(randomness, 'uniform', lambda words, *_: words)
  grid = np.indices(threshold * (p,), dtype=np.uint32).reshape(threshold, -1)
  blinds = np.asarray(Auditor(scheme, (), True).blind(jnp.asarray(grid))).T
  grid = np.indices(threshold * columns * (p,), dtype=np.uint32)
  words = jnp.asarray(grid.reshape(threshold, columns, -1).swapaxes(0, 1))
  # Shares [W, N, secrets, randomness, 1], blinds [N, 1, 1, blinds].
  shares = np.stack([scheme.share_with(w[:split], w[split:]) for w in words])
  shares = shares.reshape(columns, size[0], p ** (split * columns), -1, 1)
  blinds = blinds[:, None, None]
  combined = np.tensordot([3, 2][:columns], shares.astype(int), 1)

  def is_independent(
    servers: Servers, words: np.ndarray, blinds: np.ndarray
  ) -> bool:
    """Returns whether the view of some servers is alike for all secrets."""
    view = np.zeros((shares.shape[2], 1, 1), int)
    for held in (*shares[:, servers].reshape(-1, *shares.shape[2:]), *words):
      view = view * p + held
    for server in servers:
      view = view * p + blinds[server]
    view = np.sort(view.reshape(len(view), -1), axis=1)
    return bool((view == view[0]).all())

  blinded, bare = (combined + blinds) % p, combined % p
  # What any t servers hold, and everybody's checks, which all can read.
  for servers in itertools.combinations(range(size[0]), scheme.num_random):
    assert is_independent(servers, blinded, blinds)
    assert not is_independent(servers, bare, np.zeros_like(blinds))
  # The checks fix l combinations of the secrets, which are then uniform.
  for row in scheme.opening(scheme.server_points).astype(int):
    for of_secret in np.tensordot(row, blinded, 1) % p:
      assert len(set(np.bincount(of_secret.ravel(), minlength=p))) == 1
