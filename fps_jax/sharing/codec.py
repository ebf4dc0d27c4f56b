"""Quantisation: floats to field words and back, by stochastic rounding.

A value x becomes q = x / step rounded down or up at random so that its mean is
exact: q = floor(x / step) + 1 with probability x / step - floor(x / step). The
words of up to `max_clients` clients can be added in the field without wrapping,
which is checked when a codec is built, not when a sum is already wrong. Rounds
call it in `SumProtocol.lift`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.rng import bits_16
from fps_jax.core.types import Array, Key
from fps_jax.sharing import chacha
from fps_jax.sharing.coder import OfField
from fps_jax.sharing.field import PrimeField

_LAST_PLACE = 2**32 - 1
_SMALLEST_STEP = float(np.finfo(np.float32).tiny)
_LARGEST_CLIP = float(np.finfo(np.float32).max)


def levels_of(value_bits: int) -> int:
  """Returns the largest magnitude of a rounded value: 2^(value_bits - 1) - 1.

  Raises:
    ValueError: if `value_bits` is not an integer in [2, 16].
  """
  arrays.check_integer('value_bits', value_bits, 2, 16)
  return 2 ** (value_bits - 1) - 1


def round_randomly(scaled: Array, key: Key, first: Array | int) -> Array:
  """Returns integers next to values, at random, with the values for means.

  Args:
    scaled: float32, of any shape.
    key: of the vector that the values are part of; consumed. One of JAX's, with
      which a simulation is reproducible, or uint32 [8] of ChaCha20.
    first: place of the first value in that vector, a multiple of 4, or of 16
      with ChaCha20; each value is rounded by the draw of its place. May be
      traced.

  Returns:
    float32, of the same shape.

  Raises:
    ValueError: if the values are not float32, or `first` is negative.
  """
  arrays.check('scaled', scaled, np.float32)
  arrays.check_integer('first', first, 0, _LAST_PLACE)
  floor = jnp.floor(scaled)
  # Not floor(scaled + draw): that sum would lose the fraction's low bits.
  draws = _draws_16(key, first, scaled.size)
  draw = draws.reshape(scaled.shape).astype(jnp.float32)
  # Halves, so that rounding the chance to 16 bits is itself without bias.
  return floor + (draw + 0.5 < (scaled - floor) * 2**16)


def _draws_16(key: Key, first: Array | int, size: int) -> Array:
  """Returns uniform draws from 0 .. 2^16 - 1, uint32 [size]."""
  if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    return bits_16(key, first, size)
  arrays.check('key', key, np.uint32, (chacha.KEY_WORDS,))
  words = chacha.keystream(
    key,
    jnp.zeros(chacha.NONCE_WORDS, jnp.uint32),
    jnp.uint32(first) // chacha.BLOCK_WORDS,
    -(-size // chacha.BLOCK_WORDS),
  )
  return words[:size] & 0xFFFF


@dataclasses.dataclass(frozen=True)
class Codec(OfField):
  """Fixed-point coding of client values for summation in a field.

  Guarantees:
    - the sum of up to `max_clients` encoded vectors is exactly the sum of the
      rounded values; decoding it rounds to float32, so sums of levels and
      counts are exact up to 2^24;
    - each value within +-clip is rounded to one of its two neighbouring
      multiples of `step`, so a sum over C clients is off by less than C * step;
    - its mean is off by at most 2^-17 of a step (the draw has 16 bits) and
      2^-22 of the value (the division is in float32).

  Attributes:
    field: the field that sums are formed in.
    clip: largest magnitude that is represented, > 0; larger values are
      clipped to it, which `count_clipped` reports.
    value_bits: bits of a value, sign included, in [2, 16].
    max_clients: most clients that are ever summed, >= 1.
    max_count: largest sample count of one client, >= 1.

  Raises:
    ValueError: if an attribute is out of range, or a sum could wrap.
  """

  field: PrimeField
  clip: float
  value_bits: int
  max_clients: int
  max_count: int

  def __post_init__(self):
    arrays.check_integer('max_clients', self.max_clients)
    arrays.check_integer('max_count', self.max_count)
    if not (self.step >= _SMALLEST_STEP and self.clip <= _LARGEST_CLIP):
      raise ValueError(
        f'clip={self.clip} must be above 0 and finite: in float32, at least '
        f'{_SMALLEST_STEP * self.levels:.3g} and at most {_LARGEST_CLIP:.3g}'
      )
    if self.max_clients < 1 or self.max_count < 1:
      raise ValueError(
        f'max_clients={self.max_clients} and max_count={self.max_count} must '
        'be at least 1'
      )
    p = self.field.modulus
    largest = self.max_clients * self.levels
    if 2 * largest >= p:
      raise ValueError(
        f'a sum of {self.max_clients} clients x {self.levels} levels '
        f'(value_bits={self.value_bits}) reaches {largest}, beyond (p - 1) / 2 '
        f'= {p // 2}, and would wrap: lower value_bits, sum fewer clients or '
        'use a larger prime'
      )
    if self.max_clients * self.max_count >= p:
      raise ValueError(
        f'a sum of {self.max_clients} sample counts of up to {self.max_count} '
        f'can reach {self.max_clients * self.max_count}, beyond p - 1 = '
        f'{p - 1}, and would wrap: use a larger prime, fewer clients or '
        'coarser weights (sharing.largest_weight)'
      )

  @property
  def levels(self) -> int:
    """Largest magnitude of a rounded value: 2^(value_bits - 1) - 1."""
    return levels_of(self.value_bits)

  @property
  def step(self) -> float:
    """Distance between neighbouring representable values."""
    return self.clip / self.levels

  @property
  def largest_word(self) -> int:
    """Largest integer that a word can stand for and float32 can hold."""
    largest = self.field.modulus // 2
    return largest - largest % 2 ** max(0, largest.bit_length() - 24)

  def encode(
    self,
    values: Array,
    key: Key,
    first: Array | int = 0,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Encodes float32 values; shape is kept.

    Args:
      values: float32; clipped to +-clip. A value that is not finite is encoded
        as 0: the caller must look for them first.
      key: of the vector that the values are part of; consumed.
      first: place of the first value in that vector, a multiple of 4; each
        value is rounded by the draw of its place. May be traced.
      breaks_range: bool [], True for a client that does not clip: its values
        are only bounded by `largest_word`, and nobody who sees no more than
        shares could keep it from that.

    Returns:
      uint32 field elements, each standing for an integer in +-levels.

    Raises:
      ValueError: if the values are not float32, or `first` is negative.
    """
    arrays.check('values', values, np.float32)
    finite = jnp.where(jnp.isfinite(values), values, 0.0)
    limit = jnp.where(breaks_range, self.largest_word, self.levels)
    limit = limit.astype(jnp.float32)
    scaled = jnp.clip(finite / self.step, -limit, limit)
    rounded = round_randomly(scaled, key, first)
    return self.field.from_signed(rounded.astype(jnp.int32))

  def decode(self, words: Array) -> Array:
    """Decodes a sum of encoded values; uint32 elements to float32."""
    self.field.check('words', words)
    return self.field.to_signed(words).astype(jnp.float32) * self.step

  def count_clipped(self, values: Array) -> Array:
    """Returns how many values lie outside +-clip, as int32 []."""
    arrays.check('values', values, np.float32)
    return jnp.sum(jnp.abs(values) > self.clip, dtype=jnp.int32)
