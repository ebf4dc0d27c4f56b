"""Arguments that fit functions of `fps_jax.sharing`, for tests of others."""

import jax
import numpy as np

from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

P = 2**19 - 1
FIELD = PrimeField(P)
SCHEME = Shamir(FIELD, 5, 4, 2)
AUDITOR = Auditor(SCHEME, SCHEME.server_points)
CODEC = Codec(FIELD, clip=0.25, value_bits=8, max_clients=9, max_count=60)
KEY = jax.random.key(0)
NUMBERS = (-1, 1.5, True)


def words(*shape: int) -> np.ndarray:
  return np.random.default_rng(0).integers(P, size=shape, dtype=np.uint32)


def outside(array: np.ndarray) -> tuple[np.ndarray, ...]:
  """Returns arrays whose last value is not below the prime."""
  changed = []
  for word in (P, 2**32 - 1):
    changed.append(array.copy())
    changed[-1].flat[-1] = word
  return tuple(changed)


ROOT = words(8)
SECRETS, RANDOM, SEEDS = words(2, 16), words(2, 16), words(2, 8)
SHARES = np.asarray(SCHEME.share_with(SECRETS, RANDOM))
FLOATS = np.float32([0.1, -0.2, 0.3])
