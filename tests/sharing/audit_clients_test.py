"""Tests of `fps_jax.sharing.audit`: clients that deal wrong shares."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir
from tests.helpers.audit_cases import (
  CLIENTS,
  COLUMNS,
  LARGEST,
  ROUND_KEY,
  Servers,
  Size,
  deal,
  make,
  plus,
)


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

  check_all = jax.jit(jax.vmap(check_client))
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_client_is_named_whichever_server_it_deals_a_wrong_share() -> None:
  scheme = make((5, 3, 1))
  for row in range(5):
    shares = deal(scheme).copy()
    shares[3, row, 0] = plus(shares[3, row, 0], 1, LARGEST)
    assert find_clients(scheme, check_clients(scheme)(shares)) == ((97,), ())


@pytest.mark.slow
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


@pytest.mark.slow
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
  auditor = Auditor(scheme, scheme.server_points, True)
  blinds = np.asarray(auditor.blind(jnp.asarray(grid))).T
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
