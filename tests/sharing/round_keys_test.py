"""What a round draws on: every key once, and none that nothing asks for."""

import numpy as np

from fps_jax.sharing import randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import Faults
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir

FIELD = PrimeField(2**31 - 1)
CODEC = Codec(FIELD, clip=0.25, value_bits=8, max_clients=50, max_count=600)
ROOT = randomness.root_key(seed=6)


def test_every_key_is_used_once() -> None:
  scheme = Shamir(FIELD, 7, 4)
  faults = Faults(servers_lie=True, inconsistent_clients=(70_000,))
  auditor = Auditor(scheme, scheme.server_points, checks_clients=True)
  audited = ShamirSum(
    CODEC, scheme, scheme.server_points, auditor=auditor, faults=faults
  )
  assert audited.auditor is auditor
  make_keys = audited.make_keys
  clients = np.array([70_000, 0, 3, -1], np.int32)
  rounds = [
    make_keys(ROOT, number, clients, (2, 5), attempt)
    for number, attempt in ((0, 0), (1, 0), (1, 1), (0, 2))
  ]
  assert rounds[0].dealings.seeds_Zx8.shape == (4, 3, 8)
  assert rounds[0].dealings.blinds_Kx8.shape == (4, 4, 8)
  coins = ('client_coins_Qx8', 'sketch_coins_Qx8', 'coins_Qx8')
  for name in coins:
    assert getattr(rounds[0], name).shape == (auditor.num_checks, 8)
  assert rounds[0].lies_Nx8.shape == (7, 8)
  assert np.flatnonzero(rounds[0].is_lying_N).tolist() == [1, 4]
  is_consistent = rounds[0].dealings.is_consistent
  assert is_consistent.tolist() == [False, True, True, True]
  keys = np.concatenate(
    [
      key.reshape(-1, 8)
      for keys in rounds
      for key in (
        *keys.dealings[:2],
        *(getattr(keys, name) for name in coins),
        keys.lies_Nx8,
      )
    ]
  )
  assert len(np.unique(keys, axis=0)) == len(keys)
  # A client's keys do not depend on who else takes part.
  alone = make_keys(ROOT, 1, clients[2:3])
  np.testing.assert_array_equal(
    alone.dealings.seeds_Zx8[0], rounds[1].dealings.seeds_Zx8[2]
  )
  # Without an audit there is nothing to draw for one.
  honest = ShamirSum(CODEC, scheme, scheme.server_points)
  keys = honest.make_keys(ROOT, 0, clients)
  assert keys.dealings.blinds_Kx8.shape == (4, 0, 8)
  assert len(keys.lies_Nx8) == 0
  assert all(len(getattr(keys, name)) == 0 for name in coins)


def test_lies_are_of_the_seed_whatever_the_root() -> None:
  scheme = Shamir(FIELD, 5, 3)
  faults = Faults(servers_lie=True, seed=6)
  lying = ShamirSum(CODEC, scheme, scheme.server_points, faults=faults)
  key = randomness.round_key(randomness.root_key(seed=6), 2, attempt=1)
  expected = randomness.keys(key, randomness.Purpose.LIE, 5)
  clients = np.arange(3)
  shares = []
  for root in (ROOT, randomness.fresh_root_key(), randomness.root_key(seed=7)):
    keys = lying.make_keys(root, 2, clients, (4,), 1)
    np.testing.assert_array_equal(keys.lies_Nx8, expected)
    shares.append(keys.dealings.seeds_Zx8.tobytes())
  assert len(set(shares)) == 3
