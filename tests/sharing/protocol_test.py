"""Tests of `fps_jax.sharing.protocol`: every scheme forms the same sum."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import protocol
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.shamir import Shamir

FIELD = PrimeField(2**31 - 1)
CODEC = Codec(FIELD, clip=0.25, value_bits=8, max_clients=50, max_count=600)
CLIENTS, SIZE = 12, 30
SHAMIR_SIZES = [(3, 2), (5, 3), (4, 4)]

VALUES_CxM = np.random.default_rng(0).uniform(-0.3, 0.3, (CLIENTS, SIZE))
VALUES_CxM = VALUES_CxM.astype(np.float32)
COUNTS_C = np.random.default_rng(1).integers(601, size=CLIENTS, dtype=np.int32)
ALIVE_C = np.arange(CLIENTS) % 3 != 1
IS_COUNT = np.arange(SIZE) == 7  # This entry carries the sample count.


def shamir(
  num_servers: int, threshold: int, present: Sequence[int], reveal: str = 'sum'
) -> SumProtocol:
  scheme = Shamir(FIELD, num_servers, threshold)
  return protocol.shamir_sum(CODEC, scheme, present, reveal)


PROTOCOLS = {
  'none': protocol.plain_sum(),
  'ideal': protocol.ideal_sum(CODEC),
  'shamir-sum': shamir(3, 2, (1, 3), 'sum'),
  'shamir-updates': shamir(3, 2, (1, 3), 'updates'),
}
ALL = pytest.mark.parametrize('name', list(PROTOCOLS))
EXACT = pytest.mark.parametrize(
  'name', ['ideal', 'shamir-sum', 'shamir-updates']
)


@functools.cache
def lift_fn(lift):
  """Returns a function to many contributions, each with a key of its own."""

  @jax.jit
  def lift_all(values_CxM, counts_C, key):
    keys_C = jax.random.split(key, len(counts_C))
    return jax.vmap(lift, (0, None, 0, 0))(
      values_CxM, IS_COUNT, counts_C, keys_C
    )

  return lift_all


def lift_all(scheme: SumProtocol, values_CxM: np.ndarray = VALUES_CxM):
  """Returns the contributions of all clients [C, ...]."""
  return lift_fn(scheme.lift)(values_CxM, COUNTS_C, jax.random.key(5))


def add_and_open(scheme: SumProtocol, lifted, alive, opening):
  """Returns float32 [M], the sum of what is lifted."""
  sums = scheme.add(scheme.zeros(SIZE), lifted, alive, opening)
  opened = scheme.open(sums, opening)
  return jnp.where(IS_COUNT, scheme.decode_count(opened), scheme.decode(opened))


@functools.cache
def open_fn(*functions):
  return jax.jit(functools.partial(add_and_open, SumProtocol(*functions)))


def open_sum(scheme: SumProtocol, lifted, alive=ALIVE_C, opening=None):
  """Does the same compiled, by default from the scheme's own servers."""
  opening = scheme.opening if opening is None else opening
  compiled = open_fn(*scheme._replace(opening=None))
  return np.asarray(compiled(lifted, alive, opening))


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


@pytest.mark.parametrize(('num_servers', 'threshold'), SHAMIR_SIZES)
def test_shamir_opens_the_ideal_sum_whichever_servers_survive(
  num_servers: int, threshold: int
) -> None:
  expected = open_sum(PROTOCOLS['ideal'], lift_all(PROTOCOLS['ideal']))
  numbers = range(1, num_servers + 1)
  lifted = lift_all(shamir(num_servers, threshold, numbers))
  assert lifted.shape == (CLIENTS, num_servers, SIZE)
  subsets = [
    present
    for size in range(threshold, num_servers + 1)
    for present in itertools.combinations(numbers, size)
  ]
  for reveal in protocol.REVEALS:
    scheme = shamir(num_servers, threshold, numbers, reveal)
    for present in subsets:
      # What the other servers hold must not be read.
      absent = np.setdiff1d(numbers, present) - 1
      held = np.array(lifted)
      held[:, absent] = FIELD.modulus - 1
      opening = shamir(num_servers, threshold, present, reveal).opening
      total = open_sum(scheme, held, opening=opening)
      np.testing.assert_array_equal(total, expected)


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


@EXACT
def test_order_and_grouping_of_clients_do_not_matter(name: str) -> None:
  scheme = PROTOCOLS[name]
  lifted = lift_all(scheme)
  expected = open_sum(scheme, lifted)
  order = np.random.default_rng(0).permutation(CLIENTS)
  groupings = ([order], np.split(order, [5, 6]), np.split(order, 4))

  @jax.jit
  def open_grouped(lifted, opening):
    opened = []
    for groups in groupings:
      sums = scheme.zeros(SIZE)
      for rows in groups:
        sums = scheme.add(sums, lifted[rows], ALIVE_C[rows], opening)
      opened.append(scheme.open(sums, opening))
    return [
      jnp.where(IS_COUNT, scheme.decode_count(x), scheme.decode(x))
      for x in opened
    ]

  for total in open_grouped(lifted, scheme.opening):
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize('name', ['ideal', 'shamir-sum'])
def test_jit_changes_no_bit(name: str) -> None:
  scheme = PROTOCOLS[name]
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
  sums = scheme.add(scheme.zeros(SIZE), lifted, ALIVE_C, opening)
  added = {'sum': lifted, 'updates': words}[reveal]
  expected = np.asarray(added)[ALIVE_C].sum(0, np.uint64) % FIELD.modulus
  np.testing.assert_array_equal(sums, expected)


@ALL
def test_only_a_codec_clips(name: str) -> None:
  count = PROTOCOLS[name].count_clipped(jnp.asarray(VALUES_CxM))
  assert count.dtype == jnp.float32
  beyond = int((np.abs(VALUES_CxM) > CODEC.clip).sum())
  assert beyond > 0
  assert count == (0 if name == 'none' else beyond)


@pytest.mark.parametrize(
  ('prime', 'present', 'reveal', 'message'),
  [
    (FIELD.modulus, (1, 2), 'all', r"reveal='all' is not one of \('sum', "),
    (
      2**19 - 1,
      (1, 2),
      'sum',
      'the prime 2147483647, the sharing scheme 524287',
    ),
    (FIELD.modulus, (2,), 'sum', '1 of 3 servers answer, but threshold=2'),
    (FIELD.modulus, (2, 2), 'updates', r'servers \(2, 2\) must be distinct'),
    (
      FIELD.modulus,
      (1, 4),
      'sum',
      r'servers \(1, 4\) must be distinct numbers',
    ),
  ],
)
def test_parts_that_do_not_fit_raise(
  prime: int, present: tuple[int, ...], reveal: str, message: str
) -> None:
  scheme = Shamir(PrimeField(prime), 3, 2)
  with pytest.raises(ValueError, match=message):
    protocol.shamir_sum(CODEC, scheme, present, reveal)
