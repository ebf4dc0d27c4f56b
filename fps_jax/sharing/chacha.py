"""The ChaCha20 cipher's keystream: the cryptographic generator of all shares.

Compiled programs run this one, and do not call OpenSSL (`on_host`) back: on a
CPU that is faster alone, but threads of several devices would wait for Python's
lock, and no compilation cache keeps such a program.

Reference: Y. Nir and A. Langley, RFC 8439, sections 2.1 to 2.4.

Example:
  >>> import jax.numpy as jnp
  >>> key, nonce = jnp.arange(8, dtype=jnp.uint32), jnp.zeros(3, jnp.uint32)
  >>> keystream(key, nonce, 1, num_blocks=2).shape
  (32,)
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array

BLOCK_WORDS = 16
KEY_WORDS = 8
NONCE_WORDS = 3
STATE_WORDS = KEY_WORDS + 1 + NONCE_WORDS
_MAX_BLOCKS = 2**32
_COUNTER = 12  # Its place in a state.
_CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
_COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def keystream(
  key: Array,
  nonce: Array,
  first_block: Array | int,
  num_blocks: int,
) -> Array:
  """Returns words of the ChaCha20 keystream.

  Args:
    key: uint32 [..., 8], the 256-bit key as little-endian words.
    nonce: uint32 [..., 3], the 96-bit nonce; its leading axes are the key's.
    first_block: uint32 [], the block counter to start from; may be traced.
      `first_block + num_blocks` must not pass 2^32, where the counter ends.
    num_blocks: blocks of 16 words.

  Returns:
    uint32 [..., 16 * num_blocks].

  Raises:
    ValueError: if the counter is known to end, or arguments do not fit.
  """
  arrays.check('key', key, np.uint32, (..., KEY_WORDS))
  arrays.check('nonce', nonce, np.uint32, (*key.shape[:-1], NONCE_WORDS))
  arrays.check_integer('first_block', first_block, 0)
  arrays.check_integer('num_blocks', num_blocks, 0)
  known_first = first_block if isinstance(first_block, int) else 0
  if known_first + num_blocks > _MAX_BLOCKS:
    raise ValueError(
      f'{num_blocks} blocks from block {known_first} pass 2**32, where the '
      'counter ends: use another nonce'
    )
  counter_B = jnp.uint32(first_block) + jnp.arange(num_blocks, dtype=jnp.uint32)
  shape = (*key.shape[:-1], num_blocks)
  state = (
    *(jnp.broadcast_to(key[..., i, None], shape) for i in range(KEY_WORDS)),
    jnp.broadcast_to(counter_B, shape),
    *(jnp.broadcast_to(nonce[..., i, None], shape) for i in range(NONCE_WORDS)),
  )
  final = _mix(_initial(state))
  # Stacked, then transposed: in one step, XLA would write word by word.
  words = jnp.moveaxis(jax.lax.optimization_barrier(jnp.stack(final)), 0, -1)
  # As the words lie at the end: one addition compiles sooner than sixteen.
  constants = jnp.array(_CONSTANTS, jnp.uint32)
  constants = jnp.broadcast_to(constants, (*key.shape[:-1], len(_CONSTANTS)))
  first = jnp.concatenate([constants, key, nonce[..., :1], nonce], axis=-1)
  is_counter = jnp.arange(BLOCK_WORDS) == _COUNTER
  first = jnp.where(is_counter, counter_B[:, None], first[..., None, :])
  return (words + first).reshape(*shape[:-1], BLOCK_WORDS * num_blocks)


def blocks(state: Sequence[Array]) -> list[Array]:
  """Returns the 16 words of blocks, for each of the words 4 to 15 of a state.

  Args:
    state: 12 arrays uint32 of one shape: key, counter, nonce.
  """
  initial = _initial(state)
  return [a + b for a, b in zip(initial, _mix(initial), strict=True)]


def blocks_on_host(state: np.ndarray) -> np.ndarray:
  """Returns one block for each of many states, computed by NumPy.

  Args:
    state: uint32 [..., 12], the words 4 to 15 of the cipher's state: key,
      counter, nonce.

  Returns:
    uint32 [..., 16].

  Raises:
    ValueError: if the states are of another type or shape.
  """
  arrays.check('state', state, np.uint32, (..., STATE_WORDS))
  shape = state.shape[:-1]
  # At least one axis: NumPy warns of scalars that wrap.
  columns = state.reshape(-1, 12).T
  constants = np.array(_CONSTANTS, np.uint32)[:, None]
  initial = [*np.broadcast_to(constants, (4, columns.shape[1])), *columns]
  final = tuple(initial)
  for _ in range(10):
    final = _double_round(final)
  words = [a + b for a, b in zip(initial, final, strict=True)]
  return np.stack(words, axis=-1).reshape(*shape, BLOCK_WORDS)


def _initial(state: Sequence[Array]) -> tuple[Array, ...]:
  """Returns all 16 words of a state."""
  shape = state[0].shape
  constants = (jnp.full(shape, each, jnp.uint32) for each in _CONSTANTS)
  return (*constants, *state)


def _mix(initial: tuple[Array, ...]) -> tuple[Array, ...]:
  return jax.lax.fori_loop(
    0, 10, lambda _, words: _double_round(words), initial
  )


def _double_round(state: tuple[Any, ...]) -> tuple[Any, ...]:
  """Mixes columns, then diagonals; words are arrays of JAX or of NumPy."""
  words = list(state)
  for a, b, c, d in (*_COLUMNS, *_DIAGONALS):
    words[a], words[b], words[c], words[d] = _quarter_round(
      words[a], words[b], words[c], words[d]
    )
  return tuple(words)


def _quarter_round(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, ...]:
  """RFC 8439, section 2.1."""
  a = a + b
  d = _rotate(d ^ a, 16)
  c = c + d
  b = _rotate(b ^ c, 12)
  a = a + b
  d = _rotate(d ^ a, 8)
  c = c + d
  b = _rotate(b ^ c, 7)
  return a, b, c, d


def _rotate(x: Any, bits: int) -> Any:
  return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))
