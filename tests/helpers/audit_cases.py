"""Clients' shares and the servers' sums of them, for tests of the audit."""

import functools

import jax
import numpy as np

from fps_jax.sharing import on_host, randomness
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir

LARGEST = 2**31 - 1
TILE, NUM_TILES = 32, 2
# The columns behind the tiles in use hold leftovers, which nobody opens.
COLUMNS, IN_USE = 96, TILE * NUM_TILES
CLIENTS = 8
ROUND_KEY = randomness.round_key(randomness.root_key(8), 3)

Size = tuple[int, int, int]  # (N, k, l)
Servers = tuple[int, ...]


@functools.cache
def make(size: Size, p: int = LARGEST) -> Shamir:
  return Shamir(PrimeField(p), *size)


def draw_secrets(scheme: Shamir, round_number: int = 0) -> np.ndarray:
  """Returns the secrets of all clients in a round, uint32 [C, L, COLUMNS]."""
  shape = (CLIENTS, scheme.secrets_per_polynomial, COLUMNS)
  rng = np.random.default_rng(round_number)
  return rng.integers(scheme.field.modulus, size=shape, dtype=np.uint32)


@functools.cache
def deal(scheme: Shamir, round_number: int = 0) -> np.ndarray:
  """Returns the shares of all clients in a round, uint32 [C, N, COLUMNS]."""
  key = randomness.round_key(randomness.root_key(8), round_number)
  shares = []
  share = jax.jit(scheme.share_with)
  for client, secrets in enumerate(draw_secrets(scheme, round_number)):
    seeds = randomness.keys(key, Purpose.SHARE, scheme.num_random, client)
    words = on_host.uniform(seeds, 0, COLUMNS, scheme.field)
    shares.append(share(secrets, words))
  return np.stack(shares)


def add_clients(
  scheme: Shamir, round_number: int = 0, clients: int = CLIENTS
) -> np.ndarray:
  """Returns the servers' sums over the first clients, uint32 [N, COLUMNS]."""
  shares = deal(scheme, round_number)[:clients]
  total = shares.sum(0, np.uint64) % scheme.field.modulus
  return total.astype(np.uint32)


def plus(row: np.ndarray, error: np.ndarray | int, p: int) -> np.ndarray:
  return ((row + np.uint64(error)) % p).astype(np.uint32)
