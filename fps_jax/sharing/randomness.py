"""Secret and public randomness of the protocol, from ChaCha20.

Every 256-bit key is one block of the cipher under its parent, a pseudorandom
function of (number, number, number, purpose):

    root key -> round key -> key of (client, server) -> that server's share
                          -> key of a client's noise, where it adds any
                          -> public coins of each of the round's audits

so no key is used twice and none is longer-lived than its purpose. The root key
comes from the run's seed, which reproduces every share, or from the operating
system; either way the opened sums are the same, since shares cancel.

What servers that lie add does not cancel, and is no part of the protocol: its
keys come from the seed's root key, whatever the run's is. Other choices of the
simulation itself (`fps_jax.core.rng`) use other generators.
"""

import enum
import hashlib
import os

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import chacha, on_gpu
from fps_jax.sharing.field import PrimeField

ENTROPIES = ('seed', 'os')
_MAX_NUMBER = 2**32 - 1


@enum.unique
class Purpose(enum.IntEnum):
  """What a key is for: the same numbers never give one key to two uses."""

  ROUND = 1
  SHARE = 2
  BLIND = 3
  CHECK = 4
  LIE = 5
  CHECK_SKETCH = 6
  CHECK_CLIENT = 7
  ROUNDING = 8
  CENTRAL_NOISE = 9
  CLIENT_NOISE = 10
  ROTATION = 11


def root_key(seed: int) -> np.ndarray:
  """Returns the root key of a reproducible run, uint32 [8].

  Args:
    seed: the run's seed, in [0, 2^64).

  Raises:
    ValueError: if the seed is out of range.
  """
  arrays.check_integer('seed', seed, 0, 2**64 - 1)
  digest = hashlib.sha256(b'fps_jax sharing' + seed.to_bytes(8, 'little'))
  return np.frombuffer(digest.digest(), '<u4').astype(np.uint32)


def fresh_root_key() -> np.ndarray:
  """Returns a root key drawn from the operating system, uint32 [8]."""
  return np.frombuffer(os.urandom(32), '<u4').astype(np.uint32)


def make_root_key(entropy: str, seed: int) -> np.ndarray:
  """Returns the root key of a run, uint32 [8].

  Args:
    entropy: `'seed'`, reproducible, or `'os'`, from the operating system.
    seed: the run's seed, in [0, 2^64).

  Raises:
    ValueError: if `entropy` is unknown, or the seed out of range.
  """
  if entropy not in ENTROPIES:
    raise ValueError(f'entropy={entropy!r} is not one of {ENTROPIES}')
  return root_key(seed) if entropy == 'seed' else fresh_root_key()


def derive(
  key_8: np.ndarray,
  purpose: Purpose,
  number: int | np.ndarray = 0,
  first: int | np.ndarray = 0,
  second: int | np.ndarray = 0,
) -> np.ndarray:
  """Returns children of a key: the first half of one ChaCha20 block each.

  Args:
    key_8: uint32 [8].
    purpose: what the children are for.
    number: the block's counter, in [0, 2^32), as the other numbers; they are
      broadcast against each other.
    first: the first word of the block's nonce.
    second: the second one; `purpose` is the third.

  Returns:
    uint32 [..., 8]. Distinct (purpose, number, first, second) give independent
    keys.

  Raises:
    ValueError: if the key is not 8 words, or a number out of range: another
      one's key would be used twice.
  """
  arrays.check('key_8', key_8, np.uint32, (chacha.KEY_WORDS,))
  _check_numbers(number=number, first=first, second=second)
  numbers = np.broadcast_arrays(number, first, second, int(purpose))
  state = np.empty((*numbers[0].shape, 12), np.uint32)
  state[..., :8] = key_8
  state[..., 8:] = np.stack(numbers, axis=-1)
  return chacha.blocks_on_host(state)[..., : chacha.KEY_WORDS]


def round_key(
  root_8: np.ndarray, round_number: int, attempt: int = 0
) -> np.ndarray:
  """Returns the key of an attempt at a round, both from 0: uint32 [8].

  Raises:
    ValueError: as of `derive`.
  """
  _check_numbers(round_number=round_number, attempt=attempt)
  return derive(root_8, Purpose.ROUND, round_number, attempt)


def keys(
  round_key_8: np.ndarray,
  purpose: Purpose,
  num_keys: int,
  owners: int | np.ndarray = 0,
) -> np.ndarray:
  """Returns keys of owners for one purpose in a round.

  Args:
    round_key_8: uint32 [8].
    purpose: what they are for.
    num_keys: how many an owner has; key i is for server i + 1, where they are
      for servers.
    owners: the clients' numbers, or those of the servers, in [0, 2^32).

  Returns:
    uint32 [..., num_keys, 8], the leading axes those of `owners`.

  Raises:
    ValueError: as of `derive`, or if `num_keys` is negative.
  """
  arrays.check_integer('num_keys', num_keys, 0, _MAX_NUMBER)
  _check_numbers(owners=owners)
  places = np.arange(1, num_keys + 1)
  return derive(round_key_8, purpose, 0, np.asarray(owners)[..., None], places)


def uniform(
  keys_Zx8: Array | np.ndarray,
  first_word: Array | int,
  num_words: int,
  field: PrimeField,
) -> Array:
  """Returns exactly uniform field elements, a row a key.

  Element j of a row takes the low ceil(log2 p) bits of word j of the keystream
  with nonce (0, 0, 0); while they are not below p, those of word j with nonce
  (1, 0, 0), (2, 0, 0) and so on. Unlike `word % p`, no element is likelier than
  another, and element j does not depend on how many are drawn.

  Args:
    keys_Zx8: uint32 [Z, 8], each used for one vector alone.
    first_word: position of the first element, a multiple of 16; may be traced.
    num_words: elements a row.
    field: the field.

  Returns:
    uint32 [Z, num_words].

  Raises:
    ValueError: if `first_word` is known and not a multiple of 16, or arguments
      do not fit.
  """
  check_words(keys_Zx8, first_word, num_words)
  if not len(keys_Zx8):
    return jnp.zeros((0, num_words), jnp.uint32)

  def in_one_kernel(keys_Zx8: Array, first_word: Array) -> Array:
    ends = jnp.full(1, num_words, jnp.int32)
    return on_gpu.uniform_sums(
      keys_Zx8[None], ends, first_word, num_words, field
    )

  return on_gpu.where_it_compiles(
    in_one_kernel,
    lambda keys, first: _uniform(keys, first, num_words, field),
    jnp.asarray(keys_Zx8),
    jnp.uint32(first_word),
  )


def uniform_sums(
  keys_CxZx8: Array | np.ndarray,
  ends_C: Array,
  first_word: Array | int,
  num_words: int,
  field: PrimeField,
) -> Array:
  """Returns sums over clients of what `uniform` makes of each one's keys.

  Args:
    keys_CxZx8: uint32 [C, Z, 8], each used for one vector alone.
    ends_C: int32 [C], how many elements of each client's rows count, from the
      first; no more than there are.
    first_word: as of `uniform`.
    num_words: elements a row.
    field: the field.

  Returns:
    uint32 [Z, num_words].

  Raises:
    ValueError: as of `uniform`.
  """
  arrays.check('keys_CxZx8', keys_CxZx8, np.uint32, ('C', 'Z', 8))
  num_clients, num_rows, _ = keys_CxZx8.shape
  arrays.check('ends_C', ends_C, np.int32, (num_clients,))
  check_words(keys_CxZx8.reshape(-1, 8), first_word, num_words)
  if not num_clients * num_rows:
    return jnp.zeros((num_rows, num_words), jnp.uint32)

  def in_rows(keys_CxZx8: Array, ends_C: Array, first_word: Array) -> Array:
    words = _uniform(
      keys_CxZx8.reshape(-1, 8), first_word, num_words, field
    ).reshape(num_clients, num_rows, num_words)
    counts_CxW = jnp.arange(num_words) < ends_C[:, None]
    return field.sum(jnp.where(counts_CxW[:, None], words, jnp.uint32(0)))

  return on_gpu.where_it_compiles(
    lambda keys, ends, first: on_gpu.uniform_sums(
      keys, ends, first, num_words, field
    ),
    in_rows,
    jnp.asarray(keys_CxZx8),
    jnp.asarray(ends_C),
    jnp.uint32(first_word),
  )


def _uniform(
  keys_Zx8: Array, first_word: Array, num_words: int, field: PrimeField
) -> Array:
  """Returns the words of `uniform` by XLA alone, of one key or more."""
  low_bits = jnp.uint32(2**field.bits - 1)
  first_block = first_word // chacha.BLOCK_WORDS
  num_blocks = -(-num_words // chacha.BLOCK_WORDS)

  def draw(attempt: Array) -> Array:
    nonce = jnp.zeros(chacha.NONCE_WORDS, jnp.uint32).at[0].set(attempt)
    nonces = jnp.broadcast_to(nonce, (len(keys_Zx8), chacha.NONCE_WORDS))
    words = chacha.keystream(keys_Zx8, nonces, first_block, num_blocks)
    return words[:, :num_words] & low_bits

  def is_outside(carry: tuple[Array, Array]) -> Array:
    return jnp.any(carry[0] >= field.modulus)

  def redraw(carry: tuple[Array, Array]) -> tuple[Array, Array]:
    words, attempt = carry
    words = jnp.where(words < field.modulus, words, draw(attempt))
    return words, attempt + jnp.uint32(1)

  # p itself lies outside the field, so the first pass draws every word.
  nothing = jnp.full((len(keys_Zx8), num_words), field.modulus, jnp.uint32)
  return jax.lax.while_loop(is_outside, redraw, (nothing, jnp.uint32(0)))[0]


def _check_numbers(**numbers: int | np.ndarray) -> None:
  """Checks what goes into a key: other numbers would be taken modulo 2^32."""
  for name, value in numbers.items():
    values = np.asarray(value)
    if values.dtype.kind not in 'iu' and values.size:
      raise ValueError(
        f'{name}={value} is of type {values.dtype}, expected integers: make it '
        'so, as nothing is rounded to derive a key'
      )
    cure = 'number clients, rounds and attempts from 0'
    arrays.check_range(name, values, 0, _MAX_NUMBER, cure)


def check_words(
  keys_Zx8: Array | np.ndarray, first_word: Array | int, num_words: int
) -> None:
  """Checks the arguments of `uniform`, and raises ValueError as it does."""
  arrays.check('keys_Zx8', keys_Zx8, np.uint32, ('Z', chacha.KEY_WORDS))
  arrays.check_integer('num_words', num_words, 0)
  arrays.check_integer('first_word', first_word, 0, _MAX_NUMBER)
  if isinstance(first_word, int) and first_word % chacha.BLOCK_WORDS:
    raise ValueError(
      f'first_word={first_word} must be a multiple of {chacha.BLOCK_WORDS}, '
      'where a block of the cipher begins'
    )
