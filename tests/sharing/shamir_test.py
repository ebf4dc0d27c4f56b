"""Tests of `fps_jax.sharing.shamir`: correct, private, linear, and picky."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import reference
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

LARGEST = 2**31 - 1
SMALL = [(n, k) for n in range(1, 7) for k in range(1, n + 1)]
PRIVATE_SIZES = pytest.mark.parametrize(
  ('num_servers', 'threshold'), [(n, k) for n, k in SMALL if 2 <= k <= n <= 5]
)


def make(p: int, num_servers: int, threshold: int) -> Shamir:
  return Shamir(PrimeField(p), num_servers, threshold)


def worst_words(p: int, rows: int, columns: int = 40) -> np.ndarray:
  """Returns uint32 [rows, columns]: all 0, all p - 1, mixtures, then random."""
  rng = np.random.default_rng(rows)
  words = rng.integers(p, size=(rows, columns), dtype=np.uint32)
  words[:, 0], words[:, 1] = 0, p - 1
  words[:, 2:10] = rng.choice(np.uint32([0, 1, p - 1]), (rows, 8))
  return words


def share_worst(scheme: Shamir) -> tuple[np.ndarray, np.ndarray]:
  """Returns secrets uint32 [M] and their shares uint32 [N, M]."""
  words = worst_words(scheme.field.modulus, scheme.threshold)
  shares = jax.jit(scheme.share_with)(words[0], words[1:])
  assert shares.dtype == jnp.uint32
  return words[0], np.asarray(shares)


@functools.cache
def all_shares(p: int, num_servers: int, threshold: int) -> np.ndarray:
  """Returns the shares of every secret under every randomness.

  Returns:
    uint32 [N, p, p^(k - 1)]: server, secret, randomness.
  """
  grid = np.indices(threshold * (p,), dtype=np.uint32).reshape(threshold, -1)
  scheme = make(p, num_servers, threshold)
  shares = jax.jit(scheme.share_with)(grid[0], grid[1:])
  return np.asarray(shares).reshape(num_servers, p, -1)


def views_are_independent(shares: np.ndarray, servers: tuple[int, ...]) -> bool:
  """Returns whether what `servers` hold is distributed alike for all secrets.

  Args:
    shares: uint32 [N, p, randomness], all of them.
    servers: rows of the servers that pool their shares.
  """
  p = shares.shape[1]
  views = np.zeros(shares.shape[1:], np.int64)
  for server in servers:
    views = views * p + shares[server]
  views.sort(axis=1)
  return bool((views == views[0]).all())


@pytest.mark.parametrize(('num_servers', 'threshold'), SMALL)
def test_any_k_shares_reconstruct(num_servers: int, threshold: int) -> None:
  scheme = make(LARGEST, num_servers, threshold)
  secrets, shares = share_worst(scheme)
  numbers = range(1, num_servers + 1)
  openings, held = [], []
  for present in itertools.combinations(numbers, threshold):
    openings.append(scheme.opening(present))
    # What absent servers hold must not be read.
    absent = np.setdiff1d(numbers, present) - 1
    held.append(shares.copy())
    held[-1][absent] = LARGEST - 1
  opened = jax.jit(jax.vmap(scheme.open_shares))(
    np.stack(held), jax.tree.map(lambda *leaves: np.stack(leaves), *openings)
  )
  assert opened.dtype == jnp.uint32
  assert len(opened) == math.comb(num_servers, threshold)
  np.testing.assert_array_equal(opened, np.tile(secrets, (len(opened), 1)))


@pytest.mark.parametrize('p', [11, 1073741827, LARGEST])
def test_one_compiled_opening_serves_every_7_of_10_servers(p: int) -> None:
  scheme = make(p, 10, 7)
  secrets, shares = share_worst(scheme)
  num_traces = 0

  @jax.jit
  def open_shares(shares_NxM, opening):
    nonlocal num_traces
    num_traces += 1
    return scheme.open_shares(shares_NxM, opening)

  for present in itertools.combinations(range(1, 11), 7):
    opened = open_shares(shares, scheme.opening(present))
    np.testing.assert_array_equal(opened, secrets)
  assert num_traces == 1


def test_more_than_k_servers_may_answer_in_any_order() -> None:
  scheme = make(LARGEST, 5, 3)
  secrets, shares = share_worst(scheme)
  for present in [(5, 4, 3, 2, 1), (4, 1, 5, 2), (5, 3, 4), [3, 1, 2]]:
    opened = scheme.reconstruct(jnp.asarray(shares), present)
    np.testing.assert_array_equal(opened, secrets)
  assert scheme.choose_servers((5, 1, 4, 3)) == (1, 3, 4)


def test_one_wrong_share_reconstructs_another_secret() -> None:
  scheme = make(LARGEST, 5, 3)
  secrets, shares = share_worst(scheme)
  wrong = shares.copy()
  wrong[3] = (wrong[3] + np.uint64(1)) % LARGEST
  assert not np.any(scheme.reconstruct(wrong, (2, 4, 5)) == secrets)


@pytest.mark.parametrize('p', [7, 11])
@PRIVATE_SIZES
def test_any_k_minus_1_shares_say_nothing_of_the_secret(
  p: int, num_servers: int, threshold: int
) -> None:
  shares = all_shares(p, num_servers, threshold)
  for servers in itertools.combinations(range(num_servers), threshold - 1):
    assert views_are_independent(shares, servers)


@pytest.mark.parametrize('p', [7, 11])
@PRIVATE_SIZES
def test_that_test_sees_that_any_k_shares_tell_the_secret(
  p: int, num_servers: int, threshold: int
) -> None:
  shares = all_shares(p, num_servers, threshold)
  for servers in itertools.combinations(range(num_servers), threshold):
    assert not views_are_independent(shares, servers)


@pytest.mark.parametrize('p', [7, 11])
def test_that_test_sees_randomness_that_is_not_uniform(p: int) -> None:
  # Random words that are never 0, as a careless generator's would be.
  assert not views_are_independent(all_shares(p, 3, 2)[:, :, 1:], (2,))


@pytest.mark.parametrize('p', [7, 1073741827, LARGEST])
@pytest.mark.parametrize(
  ('num_servers', 'threshold'), [(1, 1), (4, 1), (3, 2), (5, 3), (6, 6)]
)
def test_share_with_equals_the_reference(
  p: int, num_servers: int, threshold: int
) -> None:
  scheme = make(p, num_servers, threshold)
  words = worst_words(p, threshold)
  shares = jax.jit(scheme.share_with)(words[0], words[1:])
  expected = [
    reference.share(secret, random, num_servers, p)
    for secret, *random in words.T.tolist()
  ]
  np.testing.assert_array_equal(shares, np.transpose(expected))
  present = range(num_servers, num_servers - threshold, -1)
  for share, secret in zip(expected, words[0].tolist(), strict=True):
    held = {number: share[number - 1] for number in present}
    assert reference.reconstruct(held, p) == secret


def test_sums_of_shares_are_shares_of_the_sum() -> None:
  scheme = make(LARGEST, 4, 3)
  field = scheme.field
  words_CxKxM = np.stack([worst_words(LARGEST, 3) for _ in range(9)])
  words_CxKxM[1::2] = LARGEST - 1

  @jax.jit
  def shares_of_sum_and_sums_of_shares(words_CxKxM):
    each = jax.vmap(scheme.share_with)(words_CxKxM[:, 0], words_CxKxM[:, 1:])
    total_KxM = field.sum(words_CxKxM)
    return scheme.share_with(total_KxM[0], total_KxM[1:]), field.sum(each)

  expected, sums = shares_of_sum_and_sums_of_shares(words_CxKxM)
  np.testing.assert_array_equal(sums, expected)
  secrets = words_CxKxM[:, 0].astype(np.uint64).sum(0) % LARGEST
  for present in itertools.combinations((1, 2, 3, 4), 3):
    opened = scheme.reconstruct(sums, present)
    np.testing.assert_array_equal(opened, secrets)


def test_share_hides_equal_secrets_with_words_of_their_own() -> None:
  scheme = make(LARGEST, 4, 3)
  secrets = jnp.full((1000,), 5, jnp.uint32)
  share = jax.jit(scheme.share)
  first, again, other = (
    np.asarray(share(secrets, jax.random.key(seed))) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  # Of 4000 shares, a few may be equal by chance: about 4000^2 / 2^32 of them.
  assert len(np.unique(first)) > 3990
  assert np.mean(first == other) < 0.01
  # The random words are the shares of servers 1 and 2.
  assert scheme.num_random == 2
  np.testing.assert_array_equal(scheme.share_with(secrets, other[:2]), other)
  np.testing.assert_array_equal(scheme.reconstruct(other, (1, 3, 4)), secrets)


def test_threshold_1_gives_every_server_the_secret() -> None:
  secrets = jnp.uint32([0, 1, LARGEST - 1])
  shares = jax.jit(make(LARGEST, 3, 1).share)(secrets, jax.random.key(0))
  np.testing.assert_array_equal(shares, np.tile(secrets, (3, 1)))


@pytest.mark.parametrize(
  ('p', 'num_servers', 'threshold', 'message'),
  [
    (11, 3, 4, r'threshold=4 must be in \[1, num_servers=3\]'),
    (11, 3, 0, r'threshold=0 must be in \[1, num_servers=3\]'),
    (11, 3, -1, r'threshold=-1 must be in \[1, num_servers=3\]'),
    (11, 0, 0, r'threshold=0 must be in \[1, num_servers=0\]'),
    (
      11,
      11,
      2,
      'num_servers=11 must be below the field prime 11: use a larger',
    ),
    (7, 9, 2, 'num_servers=9 must be below the field prime 7'),
    (2, 2, 2, 'num_servers=2 must be below the field prime 2'),
  ],
)
def test_numbers_that_do_not_fit_raise(
  p: int, num_servers: int, threshold: int, message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    make(p, num_servers, threshold)


@pytest.mark.parametrize('p', [2, 3, 7, 11])
def test_a_field_of_p_elements_serves_p_minus_1_servers(p: int) -> None:
  scheme = make(p, p - 1, p - 1)
  secrets, shares = share_worst(scheme)
  opened = scheme.reconstruct(jnp.asarray(shares), range(1, p))
  np.testing.assert_array_equal(opened, secrets)


@pytest.mark.parametrize(
  ('present', 'message'),
  [
    (
      (1, 2),
      '2 of 5 servers answer, but threshold=3 are needed: at most 2 may',
    ),
    ((), '0 of 5 servers answer, but threshold=3 are needed'),
    ((1, 2, 2), r'servers \(1, 2, 2\) must be distinct numbers from 1 to 5'),
    ((1, 2, 6), r'servers \(1, 2, 6\) must be distinct numbers from 1 to 5'),
    ((0, 1, 2), r'servers \(0, 1, 2\) must be distinct numbers from 1 to 5'),
  ],
)
def test_too_few_repeated_or_unknown_servers_raise(
  present: tuple[int, ...], message: str
) -> None:
  scheme = make(11, 5, 3)
  shares = jnp.zeros((5, 2), jnp.uint32)
  with pytest.raises(ValueError, match=message):
    scheme.reconstruct(shares, present)
  for refuse in (scheme.choose_servers, scheme.opening):
    with pytest.raises(ValueError, match=message):
      refuse(present)


@pytest.mark.parametrize(
  ('missing', 'present'),
  [((), (1, 2, 3, 4, 5)), ((2,), (1, 3, 4, 5)), ((5, 1), (2, 3, 4))],
)
def test_up_to_n_minus_k_servers_may_miss(
  missing: tuple[int, ...], present: tuple[int, ...]
) -> None:
  assert make(11, 5, 3).present_without(missing) == present


@pytest.mark.parametrize(
  ('missing', 'message'),
  [
    ((1, 2, 3), '2 of 5 servers answer, but threshold=3 are needed: at most 2'),
    ((1, 2, 3, 4, 5), '0 of 5 servers answer, but threshold=3 are needed'),
    ((2, 2), r'missing servers \(2, 2\) must be distinct .* num_servers=5'),
    ((6,), r'missing servers \(6,\) must be distinct .* num_servers=5'),
    ((0,), r'missing servers \(0,\) must be distinct .* num_servers=5'),
  ],
)
def test_too_many_repeated_or_unknown_missing_servers_raise(
  missing: tuple[int, ...], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    make(11, 5, 3).present_without(missing)


def test_shares_without_a_row_for_every_server_are_refused() -> None:
  scheme = make(LARGEST, 5, 3)
  shares = scheme.share_with(
    worst_words(LARGEST, 1)[0], worst_words(LARGEST, 2)
  )
  with pytest.raises(ValueError, match='3 rows of shares for num_servers=5'):
    scheme.reconstruct(shares[:3], (1, 2, 3))


def test_too_few_random_words_are_refused() -> None:
  scheme = make(LARGEST, 5, 3)
  with pytest.raises(ValueError, match='3 columns cannot be applied to 2 rows'):
    scheme.share_with(worst_words(LARGEST, 1)[0], worst_words(LARGEST, 1))
