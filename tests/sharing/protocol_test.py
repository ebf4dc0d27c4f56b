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
def lift_fn(lift, lift_count):
  """Returns a function to many contributions, each with keys of its own."""

  @jax.jit
  def lift_all(values_CxM, counts_C, key):
    keys_Cx2 = jax.random.split(key, (len(counts_C), 2))
    lifted = jax.vmap(lift)(values_CxM, keys_Cx2[:, 0], keys_Cx2[:, 1])
    return lifted, jax.vmap(lift_count)(counts_C[:, None], keys_Cx2[:, 1])

  return lift_all


def lift_all(scheme: SumProtocol, values_CxM: np.ndarray):
  """Returns contributions of all clients' values and of their counts."""
  lift = lift_fn(scheme.lift, scheme.lift_count)
  return lift(values_CxM, COUNTS_C, jax.random.key(5))


def add_and_open(scheme: SumProtocol, lifted, alive, opening):
  """Returns the opened sum of lifted values and that of their counts."""
  values, counts = lifted
  sums = scheme.add(scheme.zeros(SIZE), values, alive, opening)
  count_sums = scheme.add(scheme.zeros(1), counts, alive, opening)
  return scheme.open(sums, opening), scheme.open_count(count_sums, opening)


@functools.cache
def open_fn(*functions):
  return jax.jit(functools.partial(add_and_open, SumProtocol(*functions)))


def open_sum(scheme: SumProtocol, lifted, alive=ALIVE_C, opening=None):
  """Does the same compiled, by default from the scheme's own servers."""
  opening = scheme.opening if opening is None else opening
  compiled = open_fn(*scheme._replace(opening=None))
  return [np.asarray(total) for total in compiled(lifted, alive, opening)]


def ideal_sums():
  """Returns the opened sums of `ideal`, and the rounded values added up."""
  scheme = PROTOCOLS['ideal']
  lifted = lift_all(scheme, VALUES_CxM)
  rounded_CxM = np.asarray(CODEC.field.to_signed(lifted[0][:, 0]))
  return open_sum(scheme, lifted), rounded_CxM[ALIVE_C].sum(0)


@ALL
def test_opened_sum_is_the_sum_of_values(name: str) -> None:
  scheme = PROTOCOLS[name]
  total, count = open_sum(scheme, lift_all(scheme, VALUES_CxM))
  assert total.shape == (SIZE,)
  assert count.shape == (1,)
  assert total.dtype == count.dtype == np.float32
  if name == 'none':
    expected, error = VALUES_CxM[ALIVE_C].sum(0, np.float64), 1e-6
  else:
    clipped = np.clip(VALUES_CxM[ALIVE_C], -CODEC.clip, CODEC.clip)
    expected, error = clipped.sum(0, np.float64), ALIVE_C.sum() * CODEC.step
  assert np.abs(total - expected).max() < error
  assert count[0] == COUNTS_C[ALIVE_C].sum()


def test_ideal_sum_is_the_sum_of_rounded_values() -> None:
  (total, _), rounded_M = ideal_sums()
  np.testing.assert_array_equal(
    total, rounded_M.astype(np.float32) * np.float32(CODEC.step)
  )


@pytest.mark.parametrize(('num_servers', 'threshold'), SHAMIR_SIZES)
def test_shamir_opens_the_ideal_sum_whichever_servers_survive(
  num_servers: int, threshold: int
) -> None:
  (expected, expected_count), _ = ideal_sums()
  numbers = range(1, num_servers + 1)
  lifted = lift_all(shamir(num_servers, threshold, numbers), VALUES_CxM)
  assert lifted[0].shape == (CLIENTS, num_servers, SIZE)
  assert lifted[1].shape == (CLIENTS, num_servers, 1)
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
      held = [np.array(shares) for shares in lifted]
      for shares in held:
        shares[:, absent] = FIELD.modulus - 1
      opening = shamir(num_servers, threshold, present, reveal).opening
      total, count = open_sum(scheme, held, opening=opening)
      np.testing.assert_array_equal(total, expected)
      np.testing.assert_array_equal(count, expected_count)


@ALL
def test_dead_client_does_not_influence_the_sum(name: str) -> None:
  scheme = PROTOCOLS[name]
  expected = open_sum(scheme, lift_all(scheme, VALUES_CxM))
  values = VALUES_CxM.copy()
  values[~ALIVE_C] = np.float32([[np.nan], [np.inf], [-np.inf], [1e38]])
  lifted = lift_all(scheme, values)
  # Nor does one whose message is garbage, in range or not.
  garbage = [np.array(contribution) for contribution in lifted]
  for contribution in garbage:
    dead = contribution[~ALIVE_C]
    filler = np.nan if name == 'none' else 2**32 - 1
    contribution[~ALIVE_C] = np.full_like(dead, filler)
  for other in (lifted, [jnp.asarray(x) for x in garbage]):
    for total, wanted in zip(open_sum(scheme, other), expected, strict=True):
      np.testing.assert_array_equal(total, wanted)


@ALL
def test_live_client_does_influence_the_sum(name: str) -> None:
  scheme = PROTOCOLS[name]
  lifted = lift_all(scheme, VALUES_CxM)
  total, count = open_sum(scheme, lifted)
  more, larger = open_sum(scheme, lifted, np.ones(CLIENTS, bool))
  assert (total != more).mean() > 0.9
  assert larger[0] == COUNTS_C.sum() > count[0]


@ALL
def test_sum_without_clients_is_zero(name: str) -> None:
  scheme = PROTOCOLS[name]
  opening = scheme.opening
  assert scheme.open(scheme.zeros(4), opening).tolist() == [0, 0, 0, 0]
  assert scheme.open_count(scheme.zeros(1), opening).tolist() == [0]
  lifted = lift_all(scheme, VALUES_CxM)
  total, count = open_sum(scheme, lifted, np.zeros(CLIENTS, bool))
  assert not total.any()
  assert not count.any()


@EXACT
def test_order_and_grouping_of_clients_do_not_matter(name: str) -> None:
  scheme = PROTOCOLS[name]
  values, counts = lift_all(scheme, VALUES_CxM)
  expected, expected_count = open_sum(scheme, (values, counts))
  order = np.random.default_rng(0).permutation(CLIENTS)

  @jax.jit
  def open_grouped(values, counts, opening):
    opened = []
    for groups in ([order], np.split(order, [5, 6]), np.split(order, 4)):
      sums, count_sums = scheme.zeros(SIZE), scheme.zeros(1)
      for rows in groups:
        sums = scheme.add(sums, values[rows], ALIVE_C[rows], opening)
        count_sums = scheme.add(
          count_sums, counts[rows], ALIVE_C[rows], opening
        )
      opened.append(
        (scheme.open(sums, opening), scheme.open_count(count_sums, opening))
      )
    return opened

  opened = open_grouped(values, counts, scheme.opening)
  assert len(opened) == 3
  for total, count in opened:
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(count, expected_count)


@pytest.mark.parametrize('name', ['ideal', 'shamir-sum'])
def test_jit_changes_no_bit(name: str) -> None:
  scheme = PROTOCOLS[name]
  lifted = lift_all(scheme, VALUES_CxM)
  eager = add_and_open(scheme, lifted, ALIVE_C, scheme.opening)
  for total, expected in zip(open_sum(scheme, lifted), eager, strict=True):
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize('reveal', protocol.REVEALS)
def test_servers_hold_rows_only_while_updates_are_secret(reveal: str) -> None:
  scheme = PROTOCOLS[f'shamir-{reveal}']
  rows = {'sum': 3, 'updates': 1}[reveal]
  assert scheme.zeros(SIZE).shape == (rows, SIZE)
  values, _ = lift_all(scheme, VALUES_CxM)
  # A client sends a share to each server whatever is revealed later, and a
  # share is not the word it hides.
  words, _ = lift_all(PROTOCOLS['ideal'], VALUES_CxM)
  assert values.shape == (CLIENTS, 3, SIZE)
  assert np.mean(values == words) < 0.01
  sums = scheme.add(scheme.zeros(SIZE), values, ALIVE_C, scheme.opening)
  assert sums.shape == (rows, SIZE)


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
