"""What is added up before it is shared is the same word at every server."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import randomness
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.floats import Floats
from fps_jax.sharing.protocol import Faults, SumProtocol
from fps_jax.sharing.schemes.ideal import IdealSum
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir

CODEC = Codec(PrimeField(2**22 - 3), 0.25, 8, max_clients=9, max_count=60)
ALIVE_C = np.array([True, False, True, True])
# Columns that each client sends: those of a lower tier, the first ones.
ENDS_C = np.int32([32, 32, 16, 0])


def shamir(size, **others) -> SumProtocol:
  scheme = Shamir(CODEC.field, *size)
  return ShamirSum(CODEC, scheme, scheme.server_points, **others)


@pytest.mark.parametrize(
  'scheme',
  [
    SumProtocol(Floats()),
    IdealSum(CODEC),
    shamir((3, 2, 1)),
    shamir((2, 1, 1)),
    shamir((5, 4, 2)),
  ],
)
def test_adding_words_first_changes_no_word_of_a_server(scheme: SumProtocol):
  num_values = 32 * scheme.values_per_column
  rng = np.random.default_rng(0)
  values_CxM = rng.uniform(-0.3, 0.3, (4, num_values)).astype(np.float32)
  counts_C = rng.integers(60, size=4, dtype=np.int32)
  dealings = None
  if scheme.make_keys is not None:
    root = randomness.root_key(1)
    dealings = scheme.make_keys(root, 0, np.arange(4)).dealings

  @jax.jit
  def compare(values_CxM, keys_C, first_column):
    encoded = values_CxM, np.arange(num_values) == 7, counts_C, keys_C
    lifted = jax.vmap(scheme.lift, (0, None, 0, 0, 0, None))(
      *encoded, dealings, first_column
    )
    start = scheme.add(scheme.zeros(32), lifted[:1], ALIVE_C[:1], None)
    is_sent_CxW = np.arange(32) < ENDS_C[:, None]
    sent = jnp.where(is_sent_CxW[:, None], lifted, 0)
    first = first_column * scheme.values_per_column
    words_CxM = jax.vmap(scheme.encode, (0, None, 0, 0, None))(*encoded, first)
    ends_C = jnp.where(ALIVE_C, ENDS_C, 0)
    added = scheme.add_words(start, words_CxM, dealings, first_column, ends_C)
    return added, scheme.add(start, sent, ALIVE_C, None)

  assert scheme.adds_words
  keys_C = jax.random.split(jax.random.key(5), 4)
  added, expected = compare(values_CxM, keys_C, 48)
  np.testing.assert_array_equal(added, expected)
  assert np.all(added != 0)


@pytest.mark.parametrize(
  'scheme',
  [
    shamir((3, 2, 1), reveal='updates'),
    shamir((3, 2, 1), faults=Faults(inconsistent_clients=(1,))),
  ],
)
def test_where_single_shares_are_seen_all_are_made(scheme: SumProtocol):
  assert not scheme.adds_words
