"""The threat model's table "Who learns what", a test for each row.

Where the table says that a party has something, that is computed from what the
party has. Where it says "nothing more", what the party has is distributed alike
whatever the secret is, over all secrets and all randomness of a tiny field.
"""

import dataclasses
import itertools
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.federated import chunks, layout
from fps_jax.federated import round as federated_round
from fps_jax.federated.robust import weigh as weighing
from fps_jax.sharing import protocol, randomness
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import clear, positions, shared
from fps_jax.sharing.messages.header import Header, Kind, scheme_numbers
from fps_jax.sharing.schemes.ideal import IdealSum
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir
from fps_jax.sharing.sketches.projection import Projection
from tests.helpers import published, small, tiny_views

pytestmark = pytest.mark.slow

_TESTS = pathlib.Path(__file__).parents[2]
_PAGE = (_TESTS.parent / 'docs' / 'threat_model.md').read_text()
# Rows that tests of the parts show already.
_ELSEWHERE = {
  'sketches and range sums': (
    'jobs/inversion/views_test.py',
    'test_sketch_and_range_check_are_what_servers_open_for_a_defence',
  ),
  'products with the root update': (
    'sharing/projection_test.py',
    'test_sums_of_shares_open_to_the_exact_inner_product',
  ),
  'checks of clients': (
    'sharing/audit_clients_test.py',
    'test_blinded_checks_say_nothing_of_the_secrets',
  ),
  'coins of audits': (
    'sharing/audit_test.py',
    'test_checks_are_products_with_the_coins_whatever_the_tiles',
  ),
  'inconsistent clients': (
    'federated/audit_round_test.py',
    'test_inconsistent_client_is_named_and_left_out',
  ),
}
# (p, (N, k, l)), of which every view can be enumerated.
_TINY = [(5, (3, 2, 1)), (7, (4, 3, 2))]


@pytest.mark.parametrize(('p', 'size'), _TINY)
def test_row_update_of_a_client(p: int, size: tuple[int, int, int]) -> None:
  num_servers, threshold, split = size
  one, other, sums = tiny_views.two_clients(p, size)
  reported = (one + other) % p
  for servers in itertools.combinations(range(num_servers), threshold - split):
    held = [shares[server] for server in servers for shares in (one, other)]
    alone = tiny_views.view_of(p, *held)
    assert (alone == alone[0]).all()
    # With the central server, too, they have the sum and nothing more.
    together = tiny_views.view_of(p, *held, *reported[:threshold])
    first = np.unique(sums, return_index=True)[1]
    assert len(first) == p**split
    assert (together == together[first][sums]).all()
    assert len(np.unique(together[first], axis=0)) == p**split
  shares = tiny_views.all_shares(p, size)
  views = tiny_views.view_of(p, *shares[-threshold:])
  assert len(np.unique(views)) == views.size  # k servers: one secret each.


def test_row_relations_of_packed_values() -> None:
  """Of l = 2 values k - 1 servers know how they lie to each other."""
  p, size = _TINY[1]
  num_servers, threshold, _ = size
  shares = tiny_views.all_shares(p, size)
  pairs = np.indices((p, p)).reshape(2, -1)
  for servers in itertools.combinations(range(num_servers), threshold - 1):
    factors = set()
    view = shares[servers[0]] * p + shares[servers[1]]
    for seen in np.unique(view):
      first, second = pairs[:, np.any(view == seen, axis=1)]
      assert len(first) == p  # Of p^2: one relation is known.
      assert len(set(first)) == len(set(second)) == p
      # A line: the second is a factor times the first, and something known.
      slopes = np.diff(second[np.argsort(first)]) % p
      assert len(set(slopes)) == 1
      factors.add(slopes[0])
    assert len(factors) == 1  # Whatever they hold: it is public.


def test_row_sum_of_a_round() -> None:
  seen = published.plain()
  (mask_D,) = seen.masks_TxD
  opened_M = np.asarray(seen.codec.decode(seen.opened_M))[: mask_D.sum()]
  assert np.abs(opened_M).max() > 10 * seen.codec.step
  total = published.total_by_trial(published.mean_of(seen), seen)
  sum_M = published.mean_of(seen)[mask_D] * (total / seen.planner.max_count)
  np.testing.assert_allclose(sum_M, opened_M, atol=1e-3 * seen.codec.step)


def test_row_sample_count_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
  p, (num_servers, threshold, _) = 5, (3, 2, 1)
  monkeypatch.setattr(  # In place of a key's words: all there are.
    randomness,
    'uniform',
    lambda *_: jnp.arange(5, dtype=jnp.uint32)[None],
  )
  field = PrimeField(p)
  codec = Codec(field, clip=1.0, value_bits=2, max_clients=2, max_count=2)
  scheme = Shamir(field, num_servers, threshold)
  shared = ShamirSum(codec, scheme, (1, 2, 3))
  views = []
  for count in range(3):
    shares_NxW = shared.lift(
      jnp.zeros(p, jnp.float32),
      jnp.ones(p, bool),
      jnp.int32(count),
      jax.random.key(0),
      protocol.Dealing(None, None, True),
      0,
    )
    opened = shared.open(shares_NxW, scheme.opening((2, 3)))
    assert shared.decode_count(opened).tolist() == p * [count]
    views.append(np.sort(np.asarray(shares_NxW), axis=1))
  assert (views[0] == np.arange(p)).all()
  np.testing.assert_array_equal(views[1], views[0])
  np.testing.assert_array_equal(views[2], views[0])


def test_row_largest_sample_count() -> None:
  """A client is told what to scale by: its own count over the largest."""
  seen = published.plain()
  largest = seen.planner.num_examples.max()
  weights_C = chunks.sample_weights(seen.plan.cohort, seen.planner.max_count)
  own_C = seen.plan.cohort.num_examples[published.is_present(seen)]
  weights_C = np.asarray(weights_C)[published.is_present(seen)]
  np.testing.assert_allclose(own_C / weights_C, largest, rtol=1e-6)


def test_row_total_sample_count() -> None:
  seen = published.plain()
  total = seen.plan.cohort.num_examples[published.is_present(seen)].sum()
  assert published.opened_counts(seen) == [total]
  assert published.total_by_trial(published.mean_of(seen), seen) == total


def test_row_mask() -> None:
  """It is a function of the model before, and what is not 0 after tells it."""
  seen = published.plain()
  (mask_D,) = seen.masks_TxD
  unlike = np.flatnonzero((seen.after_D != 0) != mask_D)
  # Of what is kept, biases of units that nothing moved stay 0.
  assert len(unlike) < 5
  assert not np.any(seen.before_D[unlike])
  assert 0.2 < mask_D.mean() < 0.8


def _share_header(sender: int, num_values: int, scheme: Shamir) -> Header:
  return Header(
    Kind.SHARE, 3, sender, 1, num_values, **scheme_numbers(scheme), attempt=2
  )


def test_row_who_takes_part() -> None:
  """Messages to servers name the client, and theirs whom they added."""
  scheme, clients = Shamir(PrimeField(101), 3, 2), (4, 9)
  words = np.zeros(3, np.uint32)
  received = [
    shared.decode_share(
      shared.encode_share(_share_header(client, 2, scheme), words, scheme),
      scheme,
    )[0].sender
    for client in clients
  ]
  assert received == [4, 9]
  digest = shared.client_set_digest(received)
  header = dataclasses.replace(_share_header(1, 2, scheme), kind=Kind.SUM)
  message = shared.encode_sum(header, 2, digest, words, scheme)
  _, num_clients, told, _ = shared.decode_sum(message, scheme)
  # The central server drew the cohort, and finds who of it is in the sum.
  guesses = itertools.combinations((2, 4, 7, 9), num_clients)
  assert [g for g in guesses if shared.client_set_digest(g) == told] == [
    clients
  ]


def test_row_rounds_and_failed_attempts() -> None:
  scheme = Shamir(PrimeField(101), 3, 2)
  words = np.zeros(3, np.uint32)
  message = shared.encode_share(_share_header(4, 2, scheme), words, scheme)
  header, _ = shared.decode_share(message, scheme)
  assert (header.round, header.attempt) == (3, 2)


def test_row_tier_of_a_client() -> None:
  """How long a share is tells whose tier it is of."""
  plan, scheme = published.tiered().plan, Shamir(PrimeField(101), 3, 2)
  counts = layout.counts_at(plan.pruning.keep_counts_T, 1)
  for tier, num_values in enumerate(counts):
    header = _share_header(4, int(num_values), scheme)
    words = np.zeros(num_values + 1, np.uint32)
    message = shared.encode_share(header, words, scheme)
    received, _ = shared.decode_share(message, scheme)
    assert counts.index(received.num_values) == tier


def test_row_sample_count_of_a_tier() -> None:
  """That of a client alone in its tier is a difference of what is opened."""
  seen = published.tiered()
  cohort, (first_D, last_D) = seen.plan.cohort, seen.masks_TxD
  is_alone_C = published.is_present(seen) & (cohort.tiers == 0)
  (alone,) = cohort.num_examples[is_alone_C]
  others = cohort.num_examples[published.is_present(seen) & ~is_alone_C].sum()
  assert published.opened_counts(seen) == [alone + others, others]
  by_trial = [
    published.total_by_trial(published.mean_of(seen)[band_D], seen)
    for band_D in (first_D, last_D & ~first_D)
  ]
  assert by_trial == published.opened_counts(seen)


def test_row_weights_of_a_defence(monkeypatch: pytest.MonkeyPatch) -> None:
  """Servers are sent integers, which tell apart whom the defence trusts."""
  config = small.make_config(
    cohort__weighting='clients',
    defence__name='multi_krum',
    defence__num_malicious=2,
    defence__sketch_size=128,
    sharing__scheme='ideal',
  )
  steps, make_step = [], federated_round.make_step

  def recording(method):
    step = make_step(method)
    return lambda *parts: steps.append(parts) or step(*parts)

  monkeypatch.setattr(federated_round, 'make_step', recording)
  simulation = small.make(config)
  plan = simulation.plan(0)
  small.step(simulation, simulation.init_state(), plan)
  ((_, collected, _, opening),) = steps
  sent_C, _ = weighing.integer_weights(
    collected.sums.metrics.weights, weighing.most_weight(simulation.protocol)
  )
  present_C = plan.cohort.client_ids >= 0
  assert 2 <= np.count_nonzero(sent_C) < np.count_nonzero(present_C)
  # Servers multiply all that a client shares by them: so its count, of 1, too.
  opened_M = simulation.protocol.open(collected.sums.held, opening)
  assert int(opened_M[plan.pruning.keep_count]) == int(jnp.sum(sent_C))


def test_row_root_update_of_fltrust_trust() -> None:
  """Servers multiply by it, rounded to steps of the greatest entry's part."""
  root_M = jax.random.normal(jax.random.key(0), (64,))
  projection = Projection.fit(1, 1, 64, 127, PrimeField(2**31 - 1))
  multiples_M = projection.multiples(root_M, jax.random.key(1))
  step = float(projection.step(root_M))
  off_M = np.abs(np.asarray(multiples_M) * step - np.asarray(root_M))
  assert off_M.max() < step < 0.01 * np.abs(root_M).max()


def test_row_positions_of_a_clients_own_mask() -> None:
  sent_D = np.random.default_rng(0).random(40) < 0.2
  payload = positions.encode_positions(sent_D)
  read_D = positions.decode_positions(payload, 40, int(sent_D.sum()))
  np.testing.assert_array_equal(read_D, sent_D)


def _open(shared: protocol.SumProtocol, *clients: np.ndarray) -> np.ndarray:
  """Returns the words that open of what clients share.

  Args:
    shared: how it is summed.
    *clients: float32 [M] each, values; every client has 3 examples.
  """
  is_count = np.append(np.zeros(len(clients[0]), bool), True)
  dealing = protocol.Dealing(
    jnp.ones((1, 8), jnp.uint32), jnp.zeros((0, 8), jnp.uint32), True
  )

  def open_sum(values_CxM):
    lifted = [
      shared.lift(
        jnp.append(values_M, jnp.float32(0)),
        is_count,
        jnp.int32(3),
        jax.random.key(0),
        dealing,
        0,
      )
      for values_M in values_CxM
    ]
    sums = shared.zeros(lifted[0].shape[-1])
    alive = jnp.ones(len(lifted), bool)
    sums = shared.add(sums, jnp.stack(lifted), alive, shared.opening)
    return shared.open(sums, shared.opening)

  compiled = jax.jit(open_sum)
  return np.asarray(compiled(np.stack(clients)))


_CODEC = Codec(PrimeField(2**31 - 1), 1.0, 8, max_clients=4, max_count=4)
# Multiples of the codec's step, which it does not round.
_WHOLE = np.float32([-127, 0, 3, 64, 127])
_VALUES = _WHOLE * np.float32(_CODEC.step)


def test_row_value_that_one_client_alone_sends() -> None:
  is_own = np.array([True, True, False, False, True])
  both = [np.where(own, _VALUES, np.float32(0)) for own in (is_own, ~is_own)]
  opened = _open(IdealSum(_CODEC), *both)
  np.testing.assert_allclose(_CODEC.decode(opened[:-1]), _VALUES, atol=1e-6)


def test_row_update_with_reveal_updates() -> None:
  scheme = Shamir(_CODEC.field, 3, 2)
  shared = ShamirSum(_CODEC, scheme, (2, 3), reveal='updates')
  opened = _open(shared, _VALUES)
  np.testing.assert_allclose(_CODEC.decode(opened[:-1]), _VALUES, atol=1e-6)
  assert opened[-1] == 3


def test_row_update_with_scheme_none() -> None:
  message = clear.encode_update(Header(Kind.UPDATE, 0, 7, 0, 5), _WHOLE, 3)
  header, values, count = clear.decode_update(message)
  assert (header.sender, values.tolist(), count) == (7, _WHOLE.tolist(), 3)


def test_row_update_with_scheme_quantised() -> None:
  header = Header(Kind.QUANTISED_UPDATE, 0, 7, 0, 5)
  whole = _WHOLE.astype(np.int32)
  message = clear.encode_quantised_update(header, whole, 8, 3)
  header, values, _, count = clear.decode_quantised_update(message)
  assert (header.sender, values.tolist(), count) == (7, whole.tolist(), 3)


def test_client_that_is_one_of_two_has_the_others_update() -> None:
  """`min_contributors` counts clients, not honest ones."""
  own, other = _VALUES, _VALUES[::-1]
  opened = _open(IdealSum(_CODEC), own, other)
  left = np.asarray(_CODEC.decode(opened[:-1])) - own
  np.testing.assert_allclose(left, other, atol=1e-6)


def _rows() -> dict[str, list[str]]:
  """Returns the cells of each row of the table, by its name."""
  section = _PAGE.split('\n## Who learns what\n')[1].split('\n##')[0]
  lines = [line for line in section.splitlines() if line.startswith('|')]
  cells = [[c.strip() for c in line.strip('|').split('|')] for line in lines]
  return {row[0]: row[1:] for row in cells[2:]}


def _identifier(name: str) -> str:
  """Returns a row's name as part of that of its test."""
  plain = name.lower().replace("'", '').replace('`', '')
  return re.sub(r'\W+', '_', plain).strip('_')


def test_every_row_of_the_table_has_a_test_and_every_test_a_row() -> None:
  rows = _rows()
  here = {n for n in globals() if n.startswith('test_row_')}
  named = {f'test_row_{_identifier(row)}' for row in rows}
  elsewhere = {f'test_row_{_identifier(row)}' for row in _ELSEWHERE}
  assert _ELSEWHERE.keys() <= rows.keys()
  assert here | elsewhere == named
  assert not here & elsewhere
  for file, name in _ELSEWHERE.values():
    assert f'\ndef {name}(' in (_TESTS / file).read_text()
  assert all(len(cells) == 5 and all(cells) for cells in rows.values())
