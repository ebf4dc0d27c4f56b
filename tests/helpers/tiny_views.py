"""All that servers can hold of words of a tiny field."""

import functools

import jax
import numpy as np

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir


def all_shares(p: int, size: tuple[int, int, int]) -> np.ndarray:
  """Returns all shares of a word, int [N, p^l secrets, p^(k - l)]."""
  num_servers, threshold, split = size
  grid = np.indices(threshold * (p,), dtype=np.uint32).reshape(threshold, -1)
  scheme = Shamir(PrimeField(p), *size)
  shares = jax.jit(scheme.share_with)(grid[:split], grid[split:])
  return np.asarray(shares, int).reshape(num_servers, p**split, -1)


def view_of(p: int, *words: np.ndarray) -> np.ndarray:
  """Returns words that are seen together as one number, sorted by draws.

  Args:
    p: the prime.
    *words: int [secrets, draws] each, or what can be broadcast to it.
  """
  view = functools.reduce(lambda seen, word: seen * p + word, words)
  return np.sort(view, axis=1)


def two_clients(
  p: int, size: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the shares of both clients [N, pairs, draws], and pairs' sums."""
  shares = all_shares(p, size)
  num_servers, num_secrets, num_draws = shares.shape
  shape = (num_servers, num_secrets, num_secrets, num_draws, num_draws)
  flat = (num_servers, num_secrets**2, num_draws**2)
  one = np.broadcast_to(shares[:, :, None, :, None], shape).reshape(flat)
  other = np.broadcast_to(shares[:, None, :, None, :], shape).reshape(flat)
  digits = np.indices(size[2] * (p,)).reshape(size[2], -1)
  sums = (digits[:, :, None] + digits[:, None]) % p
  return one, other, np.ravel_multi_index(tuple(sums), size[2] * (p,)).ravel()
