"""Randomness: every stream is named and derived from (seed, stream, ids).

A key never depends on a client's place in a chunk, on the chunk size or on the
number of devices, so that changing those changes no draw.

These generators make *simulations* reproducible. Neither NumPy's PCG64 nor
JAX's threefry is a cryptographic generator.
"""

import enum

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from fps_jax.core.types import Array, Key

# Seeds from here on would wrap, on the device, to smaller ones.
MAX_SEED = 2**32 - 1


@enum.unique
class Stream(enum.IntEnum):
  """What a random draw is for.

  Every stream has a fixed number of ids, but for those of a cohort: `COHORT`,
  `DROPOUT` and `BATCHES` have one more, the attempt's number, from an attempt
  at a round that is not the first. It is never 0: on the host, zeros at the end
  of ids may change nothing.
  """

  PARTITION = 0
  MODEL = 1
  COHORT = 2
  BATCHES = 3
  DROPOUT = 4
  UPDATE = 5
  REGROWTH = 6
  PROFILE = 7
  PROFILE_CHANGE = 8
  MALICIOUS = 9
  ATTACK = 10
  SKETCH = 11
  DEFENCE = 12
  ROOT_SET = 13
  ROOT_BATCHES = 14
  SERVER_DROPOUT = 15
  SERVER_LIE = 16
  ROOT_ROUNDING = 17
  RANGE_CHECK = 18
  AUGMENTATION = 19
  TEST_PARTITION = 20
  VALIDATION = 21
  MASK = 22
  ROUND_MASK = 23


def host_generator(seed: int, stream: Stream, *ids: int) -> np.random.Generator:
  """Returns the NumPy generator of a stream, for draws made on the host.

  Args:
    seed: the run's seed, in [0, 2^32).
    stream: what the draws are for.
    *ids: what tells this draw from others of the stream, such as the round
      and the client.
  """
  return np.random.default_rng([seed, int(stream), *ids])


def device_key(key: Key, stream: Stream, *ids: Array | int) -> Key:
  """Returns the JAX key of a stream, for draws made on the device.

  Args:
    key: the run's root key, `jax.random.key(seed)`; may be used again.
    stream: what the draws are for.
    *ids: int32 scalars that tell this draw from others of the stream.
  """
  for number in (int(stream), *ids):
    key = jax.random.fold_in(key, number)
  return key


def bits_16(key: Key, first: Array | int, size: int) -> Array:
  """Returns uniform draws from 0 .. 2^16 - 1, for a fourth of the usual work.

  A block of threefry has 64 bits, of which `jax.random.bits` makes one draw.
  Draw j does not depend on where the array begins.

  Args:
    key: the draws are those of this key alone; it is consumed.
    first: number of the first draw, a multiple of 4; may be traced.
    size: how many draws.

  Returns:
    uint32 [size].
  """
  num_blocks = -(-size // 4)
  blocks = jnp.uint32(first) // 4 + jnp.arange(num_blocks, dtype=jnp.uint32)
  counts = jnp.concatenate([blocks, jnp.zeros_like(blocks)])
  words = threefry_2x32(jax.random.key_data(key), counts)
  halves = [
    half
    for word in (words[:num_blocks], words[num_blocks:])
    for half in (word & 0xFFFF, word >> 16)
  ]
  # Stacked, then transposed: in one step, XLA would write draw by draw.
  draws = jax.lax.optimization_barrier(jnp.stack(halves))
  return draws.T.reshape(-1)[:size]
