"""Tests of `fps_jax.sharing.protocol`: every scheme forms the same sum."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import protocol, randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.floats import Floats
from fps_jax.sharing.protocol import Faults, SumProtocol
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.schemes.ideal import IdealSum
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir

Size = tuple[int, int, int]  # (N, k, l)
FIELD = PrimeField(2**31 - 1)
CODEC = Codec(FIELD, clip=0.25, value_bits=8, max_clients=50, max_count=600)
NOBODY = Faults()
CLIENTS, SIZE = 12, 30
ROOT = randomness.root_key(seed=6)

VALUES_CxM = np.random.default_rng(0).uniform(-0.3, 0.3, (CLIENTS, SIZE))
VALUES_CxM = VALUES_CxM.astype(np.float32)
COUNTS_C = np.random.default_rng(1).integers(601, size=CLIENTS, dtype=np.int32)
ALIVE_C = np.arange(CLIENTS) % 3 != 1
IS_COUNT = np.arange(SIZE) == 7  # This entry carries the sample count.


@functools.cache
def shamir(
  size: Size, reveal: str = 'sum', codec: Codec = CODEC, faults: Faults = NOBODY
) -> SumProtocol:
  """Returns the protocol of (N, k, l), with all servers present."""
  scheme = Shamir(codec.field, *size)
  return ShamirSum(codec, scheme, scheme.server_points, reveal, faults=faults)


PROTOCOLS = {
  'none': SumProtocol(Floats()),
  'ideal': IdealSum(CODEC),
  'shamir-sum': shamir((3, 2, 1)),
  'shamir-updates': shamir((3, 2, 1), 'updates'),
  'packed-sum': shamir((5, 4, 2)),
}
ALL = pytest.mark.parametrize('name', list(PROTOCOLS))


def make_keys(scheme: SumProtocol, root: np.ndarray = ROOT, clients=CLIENTS):
  """Returns the keys of clients 0, 1, ... in a round; None without sharing."""
  if scheme.make_keys is None:
    return None
  return scheme.make_keys(root, 3, np.arange(clients))


@functools.cache
def lift_fn(lift):
  """Returns a function to many contributions, each with a key of its own."""

  # Sharing takes long to optimise and is exact either way.
  @jax.jit
  def lift_all(values_CxM, is_count, counts_C, key, dealings, first_column):
    keys_C = jax.random.split(key, len(counts_C))
    return jax.vmap(lift, (0, None, 0, 0, 0, None))(
      values_CxM, is_count, counts_C, keys_C, dealings, first_column
    )

  return lift_all


def lift_all(
  scheme: SumProtocol, values_CxM=VALUES_CxM, counts_C=COUNTS_C, root=ROOT
):
  """Returns the contributions of all clients [C, ...]."""
  keys = make_keys(scheme, root, len(counts_C))
  is_count = IS_COUNT[: values_CxM.shape[1]]
  dealings = keys.dealings if keys else None
  arguments = (values_CxM, is_count, counts_C, jax.random.key(5), dealings)
  return lift_fn(scheme.lift)(*arguments, jnp.int32(0))


def add_and_open(scheme: SumProtocol, lifted, alive, opening):
  """Returns float32 [M], the sum of what is lifted."""
  sums = scheme.add(scheme.zeros(lifted.shape[-1]), lifted, alive, opening)
  opened = scheme.open(sums, opening)
  is_count = IS_COUNT[: len(opened)]
  return jnp.where(is_count, scheme.decode_count(opened), scheme.decode(opened))


@functools.cache
def open_fn(scheme: SumProtocol):
  return jax.jit(functools.partial(add_and_open, scheme))


def open_sum(scheme: SumProtocol, lifted, alive=ALIVE_C, opening=None):
  """Does the same compiled, by default from the scheme's own servers."""
  opening = scheme.opening if opening is None else opening
  return np.asarray(open_fn(scheme)(lifted, alive, opening))


@pytest.mark.slow
@ALL
def test_opened_sum_is_the_sum_of_values(name: str) -> None:
  scheme = PROTOCOLS[name]
  total = open_sum(scheme, lift_all(scheme))
  assert total.shape == (SIZE,)
  assert total.dtype == np.float32
  if name == 'none':
    expected, error = VALUES_CxM[ALIVE_C].sum(0, np.float64), 1e-6
  else:
    clipped = np.clip(VALUES_CxM[ALIVE_C], -CODEC.clip, CODEC.clip)
    expected, error = clipped.sum(0, np.float64), ALIVE_C.sum() * CODEC.step
  assert np.abs(total - expected)[~IS_COUNT].max() < error
  assert total[IS_COUNT].tolist() == [COUNTS_C[ALIVE_C].sum()]


def test_ideal_sum_is_the_sum_of_rounded_values() -> None:
  scheme = PROTOCOLS['ideal']
  lifted_Cx1xM = lift_all(scheme)
  assert lifted_Cx1xM.shape == (CLIENTS, 1, SIZE)
  integers = np.asarray(FIELD.to_signed(lifted_Cx1xM[:, 0]))[ALIVE_C].sum(0)
  expected = integers.astype(np.float32) * np.float32(CODEC.step)
  total = open_sum(scheme, lifted_Cx1xM)
  np.testing.assert_array_equal(total[~IS_COUNT], expected[~IS_COUNT])
  assert total[IS_COUNT] == integers[IS_COUNT]


@pytest.mark.slow
@pytest.mark.parametrize('size', [(3, 2, 1), (5, 3, 1), (5, 4, 2), (6, 5, 3)])
def test_shamir_opens_the_ideal_sum_whichever_servers_survive(
  size: Size,
) -> None:
  expected = open_sum(PROTOCOLS['ideal'], lift_all(PROTOCOLS['ideal']))
  num_servers, threshold, split = size
  numbers = range(1, num_servers + 1)
  lifted = lift_all(shamir(size))
  assert lifted.shape == (CLIENTS, num_servers, SIZE // split)
  for reveal in protocol.REVEALS:
    assert shamir(size, reveal).values_per_column == split
    for num_present in range(threshold, num_servers + 1):
      for present in itertools.combinations(numbers, num_present):
        # What the other servers hold must not matter.
        held = np.array(lifted)
        held[:, np.setdiff1d(numbers, present) - 1] = FIELD.modulus - 1
        scheme = Shamir(FIELD, *size)
        opening = ShamirSum(CODEC, scheme, present, reveal).opening
        total = open_sum(shamir(size, reveal), held, opening=opening)
        np.testing.assert_array_equal(total, expected)


@pytest.mark.slow
@ALL
def test_dead_client_does_not_influence_the_sum(name: str) -> None:
  scheme = PROTOCOLS[name]
  expected = open_sum(scheme, lift_all(scheme))
  values = VALUES_CxM.copy()
  values[~ALIVE_C] = np.float32([[np.nan], [np.inf], [-np.inf], [1e38]])
  lifted = lift_all(scheme, values)
  # Nor does one whose message is garbage, in the field or not.
  garbage = np.array(lifted)
  garbage[~ALIVE_C] = np.nan if name == 'none' else 2**32 - 1
  for other in (lifted, garbage):
    np.testing.assert_array_equal(open_sum(scheme, other), expected)


@ALL
def test_live_client_does_influence_the_sum(name: str) -> None:
  scheme = PROTOCOLS[name]
  lifted = lift_all(scheme)
  total, more = (
    open_sum(scheme, lifted, alive) for alive in (ALIVE_C, ALIVE_C | True)
  )
  assert (total != more).mean() > 0.9
  assert more[IS_COUNT] == COUNTS_C.sum() > total[IS_COUNT]


@ALL
def test_value_beneath_the_count_does_not_matter(name: str) -> None:
  scheme = PROTOCOLS[name]
  values = VALUES_CxM.copy()
  values[:, IS_COUNT] = np.resize(np.float32([np.nan, 9, -np.inf]), (12, 1))
  np.testing.assert_array_equal(
    open_sum(scheme, lift_all(scheme, values)),
    open_sum(scheme, lift_all(scheme)),
  )


@ALL
def test_sum_without_clients_is_zero(name: str) -> None:
  scheme = PROTOCOLS[name]
  total = open_sum(scheme, lift_all(scheme), np.zeros(CLIENTS, bool))
  assert total.tolist() == SIZE * [0]


@pytest.mark.parametrize('name', ['shamir-updates', 'packed-sum'])
def test_order_and_grouping_of_clients_do_not_matter(name: str) -> None:
  scheme = PROTOCOLS[name]
  lifted = lift_all(scheme)
  expected = open_sum(scheme, lifted)
  order = np.random.default_rng(0).permutation(CLIENTS)
  groupings = ([order], np.split(order, [5, 6]))

  @jax.jit
  def open_grouped(lifted, opening):
    opened = []
    for groups in groupings:
      sums = scheme.zeros(lifted.shape[-1])
      for rows in groups:
        sums = scheme.add(sums, lifted[rows], ALIVE_C[rows], opening)
      opened.append(scheme.open(sums, opening))
    return [
      jnp.where(IS_COUNT, scheme.decode_count(x), scheme.decode(x))
      for x in opened
    ]

  for total in open_grouped(lifted, scheme.opening):
    np.testing.assert_array_equal(total, expected)


@pytest.mark.slow
def test_jit_changes_no_bit() -> None:
  scheme = PROTOCOLS['packed-sum']
  lifted = lift_all(scheme)
  eager = add_and_open(scheme, lifted, ALIVE_C, scheme.opening)
  np.testing.assert_array_equal(open_sum(scheme, lifted), eager)


@pytest.mark.parametrize('reveal', protocol.REVEALS)
def test_shares_hide_values_and_count_and_are_added_as_shares(
  reveal: str,
) -> None:
  scheme = PROTOCOLS[f'shamir-{reveal}']
  # A client sends a share to each server whatever is revealed later, and a
  # share is not the word it hides.
  lifted, words = lift_all(scheme), lift_all(PROTOCOLS['ideal'])
  assert lifted.shape == (CLIENTS, 3, SIZE)
  assert np.mean(lifted == words) < 0.01
  assert not np.any(lifted[..., IS_COUNT] == words[..., IS_COUNT])
  # Servers add their own shares, unless central opens every update.
  opening = scheme.opening
  sums = jax.jit(scheme.add)(scheme.zeros(SIZE), lifted, ALIVE_C, opening)
  added = {'sum': lifted, 'updates': words}[reveal]
  expected = np.asarray(added)[ALIVE_C].sum(0, np.uint64) % FIELD.modulus
  np.testing.assert_array_equal(sums, expected)


@pytest.mark.slow
def test_tiles_are_parts_of_one_sharing_by_the_clients_seeds() -> None:
  scheme, width, tile_size = shamir((5, 4, 2)), 16, 32
  # Multiples of the step, which are not rounded.
  levels = np.random.default_rng(2).integers(-127, 128, 2 * tile_size)
  values = (levels * CODEC.step).astype(np.float32).reshape(2, -1)
  is_count, key = np.zeros(tile_size, bool), jax.random.key(0)
  dealing = jax.tree.map(lambda rows: rows[4], make_keys(scheme).dealings)
  lift = jax.jit(scheme.lift)
  tiles = [
    lift(values[tile], is_count, jnp.int32(0), key, dealing, width * tile)
    for tile in range(2)
  ]
  # Consecutive values make a column; client 4's seeds of round 3 share it.
  secrets = FIELD.from_signed(jnp.int32(levels)).reshape(-1, 2).T
  round_key = randomness.round_key(ROOT, 3)
  seeds = randomness.keys(round_key, Purpose.SHARE, 2, owners=4)
  share = Shamir(FIELD, 5, 4, 2).share
  share = jax.jit(share)
  expected = share(secrets, seeds)
  np.testing.assert_array_equal(jnp.concatenate(tiles, axis=1), expected)


@pytest.mark.parametrize(
  ('size', 'reveal'), [((3, 2, 1), 'sum'), ((5, 4, 2), 'updates')]
)
def test_largest_sums_and_counts_decode_exactly(
  size: Size, reveal: str
) -> None:
  clients, largest_count = 8, 65_535
  edge = functools.partial(
    Codec, PrimeField(2**19 - 1), 0.5, 16, max_count=largest_count
  )
  with pytest.raises(ValueError, match=r'9 clients x 32767 levels .* wrap'):
    edge(max_clients=clients + 1)
  with pytest.raises(ValueError, match='of up to 65536 can reach 524288'):
    edge(max_clients=clients, max_count=largest_count + 1)
  codec = edge(max_clients=clients)
  scheme = shamir(size, reveal, codec)
  values = np.full((clients, SIZE), codec.clip, np.float32)
  values[:, 1::2] *= -1
  values[:, 0] = 2 * codec.clip
  counts = np.full(clients, largest_count, np.int32)
  total = open_sum(scheme, lift_all(scheme, values, counts), counts > 0)
  expected = np.sign(values[0]) * np.float32(clients * codec.levels)
  expected *= np.float32(codec.step)
  expected[IS_COUNT] = clients * largest_count
  np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize('name', ['shamir-sum', 'packed-sum'])
def test_entropy_changes_the_shares_but_not_the_sum(name: str) -> None:
  scheme = PROTOCOLS[name]
  expected = open_sum(PROTOCOLS['ideal'], lift_all(PROTOCOLS['ideal']))
  roots = [
    randomness.make_root_key(entropy, 6) for entropy in ('seed', 'os', 'os')
  ]
  lifted = [np.asarray(lift_all(scheme, root=root)) for root in roots]
  np.testing.assert_array_equal(lifted[0], lift_all(scheme))
  for first, second in itertools.combinations(lifted, 2):
    assert np.mean(first == second) < 0.01
  for shares in lifted:
    np.testing.assert_array_equal(open_sum(scheme, shares), expected)


@pytest.mark.slow
def test_faults_are_where_they_are_said_to_be() -> None:
  honest = shamir((5, 4, 2))
  assert honest.distort is None
  lifted = np.asarray(lift_all(honest))
  scheme = shamir((5, 4, 2), faults=Faults(True, inconsistent_clients=(3, 8)))
  wrong = lifted.copy()
  wrong[[3, 8], -1] = (wrong[[3, 8], -1] + np.uint64(1)) % FIELD.modulus
  np.testing.assert_array_equal(lift_all(scheme), wrong)

  sums = honest.add(honest.zeros(lifted.shape[-1]), lifted, ALIVE_C, None)
  sums = np.asarray(sums)
  keys = scheme.make_keys(ROOT, 3, np.arange(CLIENTS), (2, 5))
  reported = np.asarray(jax.jit(scheme.distort)(sums, keys))
  assert reported.max() < FIELD.modulus
  np.testing.assert_array_equal(reported[[0, 2, 3]], sums[[0, 2, 3]])
  assert (reported[[1, 4]] != sums[[1, 4]]).all()


@ALL
def test_only_a_codec_clips(name: str) -> None:
  count = PROTOCOLS[name].count_clipped(jnp.asarray(VALUES_CxM))
  assert count.dtype == jnp.int32
  beyond = int((np.abs(VALUES_CxM) > CODEC.clip).sum())
  assert beyond > 0
  assert count == (0 if name == 'none' else beyond)


SCHEME = Shamir(FIELD, 3, 2)
NO_AUDIT = "reveal='updates' opens every client's words .* use reveal='sum'"


@pytest.mark.parametrize(
  ('parts', 'message'),
  [
    ({'reveal': 'all'}, r"reveal='all' is not one of \('sum', 'updates'\)"),
    (
      {'shamir': Shamir(PrimeField(2**19 - 1), 3, 2)},
      'the codec uses the prime 2147483647, the sharing scheme 524287',
    ),
    ({'present': (2,)}, '1 of 3 servers answer, but threshold=2'),
    ({'present': (2, 2), 'reveal': 'updates'}, r'\(2, 2\) must be distinct'),
    ({'present': (1, 4)}, r'servers \(1, 4\) must be distinct numbers'),
    ({'reveal': 'updates', 'auditor': Auditor(SCHEME, (1, 2, 3))}, NO_AUDIT),
    ({'reveal': 'updates', 'faults': Faults(True)}, NO_AUDIT),
  ],
)
def test_parts_that_do_not_fit_raise(
  parts: dict[str, Any], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    ShamirSum(CODEC, **{'shamir': SCHEME, 'present': (1, 2)} | parts)
