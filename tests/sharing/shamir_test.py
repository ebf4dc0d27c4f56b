"""Tests of `fps_jax.sharing.shamir`: correct, private, linear, and picky."""

import functools
import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.sharing import on_host, randomness, reference
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

LARGEST = 2**31 - 1
# (N, k, l), of which every view can be enumerated in a field of 7 or 11.
PRIVATE_SIZES = [(3, 2, 1), (4, 2, 1), (5, 3, 1), (5, 4, 2), (5, 3, 2)]
PRIVATE = pytest.mark.parametrize(
  ('p', 'size'), [(p, size) for p in (7, 11) for size in PRIVATE_SIZES]
)


def make(p: int, num_servers: int, threshold: int, split: int = 1) -> Shamir:
  return Shamir(PrimeField(p), num_servers, threshold, split)


def worst_words(p: int, rows: int, columns: int = 40) -> np.ndarray:
  """Returns uint32 [rows, columns]: all 0, all p - 1, mixtures, then random."""
  rng = np.random.default_rng(rows)
  words = rng.integers(p, size=(rows, columns), dtype=np.uint32)
  words[:, 0], words[:, 1] = 0, p - 1
  words[:, 2:10] = rng.choice(np.uint32([0, 1, p - 1]), (rows, 8))
  return words


def share_worst(scheme: Shamir) -> tuple[np.ndarray, np.ndarray]:
  """Returns secrets uint32 [L, M] and their shares uint32 [N, M]."""
  words = worst_words(scheme.field.modulus, scheme.threshold)
  split = scheme.secrets_per_polynomial
  shares = scheme.share_with(jnp.asarray(words[:split]), words[split:])
  assert shares.dtype == jnp.uint32
  return words[:split], np.asarray(shares)


def subsets(scheme: Shamir, smallest: int) -> Iterator[tuple[int, ...]]:
  """Yields all sets of at least that many servers."""
  for size in range(smallest, scheme.num_servers + 1):
    yield from itertools.combinations(scheme.server_points, size)


def seeds(num_seeds: int, client: int = 0) -> np.ndarray:
  key = randomness.round_key(randomness.root_key(3), 1)
  return randomness.keys(key, randomness.Purpose.SHARE, num_seeds, client)


@functools.cache
def all_shares(p: int, size: tuple[int, int, int]) -> np.ndarray:
  """Returns the shares of all secrets under every randomness.

  Returns:
    uint32 [N, p^l, p^(k - l)]: server, secrets, randomness.
  """
  num_servers, threshold, split = size
  grid = np.indices(threshold * (p,), dtype=np.uint32).reshape(threshold, -1)
  shares = jax.jit(make(p, *size).share_with)(grid[:split], grid[split:])
  return np.asarray(shares).reshape(num_servers, p**split, -1)


def views_are_independent(shares: np.ndarray, servers: tuple[int, ...]) -> bool:
  """Returns whether what `servers` hold is distributed alike for all secrets.

  Args:
    shares: uint32 [N, secrets, randomness], all of them.
    servers: rows of the servers that pool their shares.
  """
  views = np.zeros(shares.shape[1:], np.int64)
  for server in servers:
    views = views * (shares.max() + 1) + shares[server]
  views.sort(axis=1)
  return bool((views == views[0]).all())


@PRIVATE
def test_any_k_minus_l_shares_say_nothing_of_the_secrets(
  p: int, size: tuple[int, int, int]
) -> None:
  shares, (num_servers, threshold, split) = all_shares(p, size), size
  for servers in itertools.combinations(range(num_servers), threshold - split):
    assert views_are_independent(shares, servers)


@PRIVATE
def test_that_test_sees_that_any_one_share_more_says_something(
  p: int, size: tuple[int, int, int]
) -> None:
  shares, (num_servers, threshold, split) = all_shares(p, size), size
  pooled = threshold - split + 1
  for servers in itertools.combinations(range(num_servers), pooled):
    assert not views_are_independent(shares, servers)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('p', 'num_servers'),
  [(LARGEST, n) for n in range(1, 11)] + [(2**22 - 3, n) for n in (3, 10)],
)
def test_any_k_shares_reconstruct(p: int, num_servers: int) -> None:
  majority = num_servers // 2 + 1
  thresholds = [(1, 1), (majority, 1), (majority, min(2, majority))]
  thresholds += [(num_servers, 1), (num_servers, num_servers)]
  for threshold, split in sorted(set(thresholds)):
    scheme = make(p, num_servers, threshold, split)
    secrets, shares = share_worst(scheme)
    chosen = list(itertools.combinations(scheme.server_points, threshold))
    # Compiling pays off for many alone.
    compiles = jax.jit if len(chosen) > 40 else lambda function: function
    open_shares = compiles(scheme.open_shares)
    for present in chosen:
      # What absent servers hold must not matter, in the field or not.
      held = np.full_like(shares, 2**32 - 1)
      held[np.array(present) - 1] = shares[np.array(present) - 1]
      opened = open_shares(jnp.asarray(held), scheme.opening(present))
      assert opened.dtype == jnp.uint32
      np.testing.assert_array_equal(opened, secrets)


@pytest.mark.parametrize('p', [11, 2**30 + 3, LARGEST])
@pytest.mark.parametrize(
  ('num_servers', 'threshold', 'split'),
  [(1, 1, 1), (4, 1, 1), (3, 2, 1), (5, 3, 1), (6, 6, 1), (6, 5, 3), (4, 4, 4)],
)
def test_shares_are_values_of_one_polynomial_in_python_ints(
  p: int, num_servers: int, threshold: int, split: int
) -> None:
  scheme = make(p, num_servers, threshold, split)
  assert scheme.secret_points == tuple(-i % p for i in range(split))
  _, shares = share_worst(scheme)
  words = worst_words(p, threshold)
  assert scheme.num_random == threshold - split
  np.testing.assert_array_equal(shares[: scheme.num_random], words[split:])
  points = (*scheme.secret_points, *scheme.server_points[: scheme.num_random])
  for column, share in zip(words.T.tolist(), shares.T.tolist(), strict=True):
    known = dict(zip(points, column, strict=True))
    assert share == [
      reference.interpolate(known, point, p) for point in scheme.server_points
    ]


def test_sums_of_shares_with_weights_are_shares_of_the_sum() -> None:
  scheme = make(LARGEST, 5, 4, 2)
  clients = 9
  words_KxCxM = worst_words(LARGEST, 4 * clients).reshape(4, clients, -1)
  weights_C = worst_words(LARGEST, clients)[:, 30]
  weights_C[:3] = 0, 1, LARGEST - 1

  def add(rows_CxM, weights_C):
    products = weights_C.astype(object)[:, None] * rows_CxM.astype(object)
    return (products.sum(0) % LARGEST).astype(np.uint32)

  share = jax.jit(jax.vmap(scheme.share_with, (1, 1), 1))
  shares_NxCxM = np.asarray(share(words_KxCxM[:2], words_KxCxM[2:]))
  for weights in (weights_C, np.ones_like(weights_C)):
    sums_KxM = jnp.stack([add(rows, weights) for rows in words_KxCxM])
    sums_NxM = jnp.stack([add(rows, weights) for rows in shares_NxCxM])
    expected = scheme.share_with(sums_KxM[:2], sums_KxM[2:])
    np.testing.assert_array_equal(sums_NxM, expected)
    for present in subsets(scheme, 4):
      opened = scheme.reconstruct(sums_NxM, present)
      np.testing.assert_array_equal(opened, sums_KxM[:2])


@pytest.mark.slow
def test_shares_are_those_of_the_words_that_seeds_expand_to() -> None:
  plain, seeded = (
    Shamir(PrimeField(LARGEST), 5, 4, 2, seeded) for seeded in (False, True)
  )
  secrets = worst_words(LARGEST, 2)
  words = on_host.uniform(seeds(2), 0, 40, plain.field)
  expected = plain.share_with(jnp.asarray(secrets), words)
  for scheme in (plain, seeded):
    shares = scheme.share(jnp.asarray(secrets), seeds(2))
    np.testing.assert_array_equal(shares, expected)


@pytest.mark.slow
def test_share_hides_equal_secrets_with_words_of_their_own() -> None:
  scheme = make(LARGEST, 4, 3)
  secrets = jnp.full((1, 1000), 5, jnp.uint32)
  share = jax.jit(scheme.share)
  first, again, other = (
    np.asarray(share(secrets, seeds(2, client))) for client in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  # Of 4000 shares, a few may be equal by chance: about 4000^2 / 2^32 of them.
  assert len(np.unique(first)) > 3990
  assert np.mean(first == other) < 0.01
  np.testing.assert_array_equal(scheme.reconstruct(other, (1, 3, 4)), secrets)


@pytest.mark.parametrize('size', [(4, 2, 1), (5, 3, 1), (5, 4, 2), (4, 3, 3)])
def test_check_matrix_is_zero_on_consistent_shares_alone(
  size: tuple[int, int, int],
) -> None:
  p, (num_servers, threshold, _) = 7, size
  scheme = make(p, *size)
  words = np.indices(num_servers * (p,)).reshape(num_servers, -1)
  shares = all_shares(p, size).reshape(num_servers, -1)
  for present in subsets(scheme, threshold):
    matrix = scheme.check_matrix(present)
    assert matrix.dtype == np.uint32
    assert matrix.shape == (num_servers - threshold, num_servers)
    is_code = ~(matrix.astype(int) @ words % p).any(0)
    assert not (matrix.astype(int) @ shares % p).any()
    # Consistent where present, anything where not: there are no others.
    absent = num_servers - len(present)
    assert is_code.sum() == p ** (threshold + absent)
    assert not matrix[:, np.setdiff1d(scheme.server_points, present) - 1].any()


@pytest.mark.parametrize('size', [(5, 3, 1), (6, 4, 2)])
def test_check_matrix_finds_any_change_of_worst_case_shares(
  size: tuple[int, int, int],
) -> None:
  scheme = make(LARGEST, *size)
  _, shares = share_worst(scheme)
  check = jax.jit(scheme.field.matmul)
  for present in subsets(scheme, scheme.threshold):
    matrix = scheme.check_matrix(present)
    assert not check(matrix, shares).any()
    for server in scheme.server_points:
      wrong = shares.copy()
      wrong[server - 1] = (wrong[server - 1] + np.uint64(1)) % LARGEST
      noticed = np.asarray(check(matrix, wrong)).any(0)
      can_be = server in present and len(present) > scheme.threshold
      assert noticed.tolist() == 40 * [can_be]


@pytest.mark.parametrize('split', [1, 3])
def test_one_compiled_opening_serves_every_7_of_10_servers(split: int) -> None:
  scheme = make(LARGEST, 10, 7, split)
  secrets, shares = share_worst(scheme)
  open_shares = jax.jit(scheme.open_shares)
  for present in itertools.combinations(range(1, 11), 7):
    opened = open_shares(shares, scheme.opening(present))
    np.testing.assert_array_equal(opened, secrets)
  assert open_shares._cache_size() == 1


@pytest.mark.slow
def test_results_are_the_same_eager_jit_and_vmap() -> None:
  scheme = make(LARGEST, 5, 4, 2)
  secrets_CxLxM = jnp.asarray(worst_words(LARGEST, 6).reshape(3, 2, 40))
  seeds_CxTx8 = jnp.stack([seeds(2, client) for client in range(3)])

  def share_and_open(secrets_LxM, seeds_Zx8, opening):
    shares = scheme.share(secrets_LxM, seeds_Zx8)
    return shares, scheme.open_shares(shares, opening)

  opening = scheme.opening((1, 3, 4, 5))
  compiled = jax.jit(share_and_open)
  together = jax.jit(jax.vmap(share_and_open, (0, 0, None)))
  batch = together(secrets_CxLxM, seeds_CxTx8, opening)
  np.testing.assert_array_equal(batch[1], secrets_CxLxM)
  for c in range(3):
    for function in (share_and_open, compiled):
      one = function(secrets_CxLxM[c], seeds_CxTx8[c], opening)
      np.testing.assert_array_equal(one[0], batch[0][c])
      np.testing.assert_array_equal(one[1], batch[1][c])


def digest_of_sharded_sharing() -> str:
  """Shares and opens on all devices of this process, columns split over them.

  Returns:
    The number of devices and a digest of the shares and of what they open to.
  """
  scheme, devices = make(LARGEST, 5, 4, 2), np.array(jax.devices())
  by_column = NamedSharding(
    Mesh(devices, ('columns',)), PartitionSpec(None, 'columns')
  )
  secrets = jax.device_put(worst_words(LARGEST, 2, 8 * 48), by_column)
  shares = jax.jit(scheme.share, out_shardings=by_column)(secrets, seeds(2))
  opening = scheme.opening((1, 3, 4, 5))
  opened = jax.jit(scheme.open_shares)(shares, opening)
  assert shares.sharding.num_devices == len(devices)
  np.testing.assert_array_equal(opened, secrets)
  digest = hashlib.sha256(np.asarray(shares)).hexdigest()
  return f'{len(devices)} {digest}'


@pytest.mark.slow
def test_eight_devices_share_as_one_does() -> None:
  script = (
    'from tests.sharing import shamir_test; '
    'print(shamir_test.digest_of_sharded_sharing())'
  )
  environment = os.environ | {
    'PYTHONPATH': os.pathsep.join(sys.path),
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
  }
  command = [sys.executable, '-c', script]
  done = subprocess.run(
    command, env=environment, capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  num_devices, digest = done.stdout.split()
  assert num_devices == '8'
  assert digest == digest_of_sharded_sharing().split()[1]


@pytest.mark.parametrize(
  ('p', 'size', 'message'),
  [
    (11, (3, 4, 1), r'threshold=4 must be in \[1, num_servers=3\]'),
    (11, (3, 0, 1), r'threshold=0 must be in \[1, num_servers=3\]'),
    (11, (3, -1, 1), r'threshold=-1 must be in \[1, num_servers=3\]'),
    (11, (0, 0, 1), r'threshold=0 must be in \[1, num_servers=0\]'),
    (11, (5, 3, 4), r'secrets_per_polynomial=4 must be in \[1, threshold=3\]'),
    (11, (5, 3, 0), r'secrets_per_polynomial=0 must be in \[1, threshold=3\]'),
    (11, (11, 2, 1), 'num_servers=11 and secrets_per_polynomial=1 need 12 po'),
    (7, (5, 4, 3), 'polynomial=3 need 8 points, more than the field prime 7: '),
    (2, (2, 2, 1), 'need 3 points, more than the field prime 2: use a larger'),
  ],
)
def test_numbers_that_do_not_fit_raise(
  p: int, size: tuple[int, int, int], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    make(p, *size)


def test_a_field_of_p_elements_serves_p_points() -> None:
  for p, *size in [(2, 1, 1, 1), (3, 2, 2, 1), (7, 6, 6, 1), (7, 4, 3, 3)]:
    scheme = make(p, *size)
    secrets, shares = share_worst(scheme)
    opened = scheme.reconstruct(jnp.asarray(shares), scheme.server_points)
    np.testing.assert_array_equal(opened, secrets)


@pytest.mark.parametrize(
  ('present', 'message'),
  [
    ((1, 2), '2 of 5 servers answer, but threshold=3 are .*: at most 2 may be'),
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
  for refuse in (scheme.choose_servers, scheme.opening, scheme.check_matrix):
    with pytest.raises(ValueError, match=message):
      refuse(present)
  with pytest.raises(ValueError, match=message):
    scheme.reconstruct(jnp.zeros((5, 2), jnp.uint32), present)


@pytest.mark.parametrize(
  ('missing', 'message'),
  [
    ((1, 2, 3), '2 of 5 servers answer, but threshold=3 are needed: at most 2'),
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


def test_the_lowest_k_of_the_present_servers_reconstruct() -> None:
  scheme = make(LARGEST, 5, 3)
  assert scheme.choose_servers((5, 1, 4, 3)) == (1, 3, 4)
  assert scheme.present_without(()) == (1, 2, 3, 4, 5)
  assert scheme.present_without((5, 1)) == (2, 3, 4)
  secrets, shares = share_worst(scheme)
  for present in [(5, 4, 3, 2, 1), (4, 1, 5, 2), [3, 1, 2]]:
    opened = scheme.reconstruct(jnp.asarray(shares), present)
    np.testing.assert_array_equal(opened, secrets)


def test_rows_that_do_not_fit_are_refused() -> None:
  scheme = make(LARGEST, 5, 4, 2)
  secrets, shares = share_worst(scheme)
  with pytest.raises(ValueError, match='3 rows of shares for num_servers=5'):
    scheme.reconstruct(jnp.asarray(shares[:3]), (1, 2, 3, 4))
  for random in (shares[:1], shares[:3]):
    message = rf'random_ZxM is uint32 \[{len(random)}, 40\], must be .*2, 40'
    with pytest.raises(ValueError, match=message):
      scheme.share_with(jnp.asarray(secrets), jnp.asarray(random))


def test_columns_hold_all_values() -> None:
  scheme = make(LARGEST, 5, 4, 2)
  assert [scheme.num_columns(n) for n in (0, 1, 7, 8)] == [0, 1, 4, 4]
