"""Tests of `fps_jax.sharing.on_host`: tiles put together are the whole."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import on_host, randomness
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

SCHEMES = {
  'plain': Shamir(PrimeField(2**31 - 1), 3, 2),
  # 5 of 16 random words are drawn again.
  'packed': Shamir(PrimeField(11), 5, 4, 2),
  'without randomness': Shamir(PrimeField(2**22 - 3), 3, 2, 2),
}
EVERY = pytest.mark.parametrize('scheme', SCHEMES.values(), ids=SCHEMES)


def secrets_and_seeds(
  scheme: Shamir, num_columns: int, client: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(client)
  shape = (scheme.secrets_per_polynomial, num_columns)
  secrets = rng.integers(scheme.field.modulus, size=shape, dtype=np.uint32)
  secrets[:, ::3] = scheme.field.modulus - 1
  key = randomness.round_key(randomness.root_key(4), 2)
  purpose = randomness.Purpose.SHARE
  return secrets, randomness.keys(key, purpose, scheme.num_random, client)


def compile_whole(scheme: Shamir):
  """Returns the sharing that tiles are compared with; not worth optimising."""
  return jax.jit(scheme.share)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('tile_columns', 'num_columns'), [(16, 1), (16, 16), (16, 33), (48, 96)]
)
@EVERY
def test_tiles_put_together_are_the_shares(
  scheme: Shamir, tile_columns: int, num_columns: int
) -> None:
  secrets, seeds = secrets_and_seeds(scheme, num_columns)
  shared = list(on_host.share_in_tiles(scheme, secrets, seeds, tile_columns))
  full, remainder = divmod(num_columns, tile_columns)
  widths = full * [tile_columns] + [remainder] * (remainder > 0)
  assert [tile.shape for tile in shared] == [
    (scheme.num_servers - scheme.num_random, width) for width in widths
  ]
  assert {tile.dtype for tile in shared} == {jnp.dtype(jnp.uint32)}
  expected = compile_whole(scheme)(secrets, seeds)[scheme.num_random :]
  np.testing.assert_array_equal(jnp.concatenate(shared, axis=1), expected)


@pytest.mark.slow
@EVERY
def test_added_tiles_are_the_sums_of_shares(scheme: Shamir) -> None:
  num_columns, clients = 101, range(5)
  parts = [secrets_and_seeds(scheme, num_columns, c) for c in clients]
  held = [
    jnp.zeros((scheme.num_servers, width), jnp.uint32)
    for width in (32, 32, 32, 5)
  ]
  share = compile_whole(scheme)
  expected = jnp.zeros((scheme.num_servers, num_columns), jnp.uint32)
  for secrets, seeds in parts:
    held = on_host.add_in_tiles(scheme, held, secrets, seeds)
    expected = scheme.field.add(expected, share(secrets, seeds))
  assert [tile.shape[1] for tile in held] == [32, 32, 32, 5]
  np.testing.assert_array_equal(jnp.concatenate(held, axis=1), expected)
  opened = scheme.reconstruct(expected, scheme.server_points)
  total = sum(secrets.astype(np.uint64) for secrets, _ in parts)
  np.testing.assert_array_equal(opened, total % scheme.field.modulus)


def test_default_tile_is_whole_blocks_of_the_cipher() -> None:
  scheme = SCHEMES['plain']
  secrets, seeds = secrets_and_seeds(scheme, on_host.TILE_COLUMNS + 3)
  shared = list(on_host.share_in_tiles(scheme, secrets, seeds))
  assert [tile.shape[1] for tile in shared] == [on_host.TILE_COLUMNS, 3]
  expected = compile_whole(scheme)(secrets, seeds)[scheme.num_random :]
  np.testing.assert_array_equal(jnp.concatenate(shared, axis=1), expected)


def test_an_empty_vector_has_no_tiles() -> None:
  secrets, seeds = secrets_and_seeds(SCHEMES['plain'], 0)
  assert not list(on_host.share_in_tiles(SCHEMES['plain'], secrets, seeds))


@pytest.mark.parametrize('num_columns', [31, 33])
def test_sums_of_another_length_are_refused(num_columns: int) -> None:
  scheme = SCHEMES['plain']
  held = [jnp.zeros((scheme.num_servers, 16), jnp.uint32)] * 2
  secrets, seeds = secrets_and_seeds(scheme, num_columns)
  expected = f'hold 32 columns, the secrets have {num_columns}: give sums'
  with pytest.raises(ValueError, match=expected):
    on_host.add_in_tiles(scheme, held, secrets, seeds)


@pytest.mark.slow
def test_rounds_do_without_cryptography():
  code = (
    'import sys; import fps_jax.federated.round; '
    "sys.exit('cryptography' in sys.modules)"
  )
  subprocess.run([sys.executable, '-c', code], check=True)
