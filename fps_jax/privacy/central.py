"""Noise of the central server, which is trusted to add it to what it opens.

Clients shorten what they contribute (`clipping`), and the sum gets Gaussian
noise in proportion before it is divided by the number of clients that a round
has: a fixed one, so that who is missing shows nowhere.

The noise is made of ChaCha20's words and drawn as float32. That is not the
Gaussian distribution that is accounted for: it ends at 6.8 standard deviations,
and its last bits, or those of a sum of floats, may tell more than they should
(I. Mironov, On significance of the least significant bits for differential
privacy, CCS 2012). What clients add in `'distributed'` mode is exact.

The bound may follow a quantile of the clients' norms (G. Andrew, O. Thakkar, H.
B. McMahan, S. Ramaswamy, Differentially private learning with adaptive
clipping, NeurIPS 2021): each tells whether its contribution was within the
bound, in the word that counts it, and the sum of that gets noise as well.
"""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array, PlanArray
from fps_jax.privacy import clipping
from fps_jax.sharing import chacha

# What float32 counts exactly.
_MOST_COUNTED = 2**24


class Bounds(NamedTuple):
  """What bounds the contributions of a chunk's clients.

  Attributes:
    scales_C: float32 [C], what each multiplies its values by.
    counts_C: int32 [C], what each shares for its sample count.
    votes_C: float32 [C], what each shares after its values; None for nothing.
  """

  scales_C: Array
  counts_C: Array
  votes_C: Array | None = None


@dataclasses.dataclass(frozen=True)
class Adaptation:
  """How the bound follows a quantile of norms.

  Attributes:
    quantile: the part of clients that are to be within the bound, in (0, 1).
    learning_rate: of the bound's logarithm, above 0.
    deviation: of the noise of how many clients are, above 0.
  """

  quantile: float
  learning_rate: float
  deviation: float

  def noise_of_values(self, noise_multiplier: float) -> float:
    """Returns the noise multiplier that is left for values.

    A client changes values by the bound and, of the count, its own half above
    or below it (Andrew et al., theorem 1).

    Args:
      noise_multiplier: of both together, above 0.

    Raises:
      ValueError: if the count takes it all.
    """
    left = noise_multiplier**-2 - (2 * self.deviation) ** -2
    if left <= 0:
      raise ValueError(
        f'a count with noise of deviation {self.deviation:g} spends more than '
        f'a noise multiplier of {noise_multiplier:.4g} allows: raise the '
        f'deviation above {noise_multiplier / 2:.4g}, draw larger cohorts, or '
        'keep the clip as it is'
      )
    return left**-0.5

  def next_clip(self, clip: Array, above_half: Array) -> Array:
    """Returns the bound of the next round, float32 [].

    Args:
      clip: float32 [], of this round.
      above_half: float32 [], how many clients more than half of them are within
        the bound, by the size of a cohort; with noise.
    """
    too_many = above_half + 0.5 - self.quantile
    return clip * jnp.exp(-self.learning_rate * too_many)


@dataclasses.dataclass(frozen=True)
class CentralPrivacy:
  """What the central server does to a sum before it uses it.

  Guarantees:
    - contributions are no longer than the bound, exactly, before a codec rounds
      them, which `rounding` accounts for;
    - values get noise whose standard deviation is `noise_multiplier` times the
      longest that a rounded contribution may be;
    - an update that is not finite counts as one of nothing, and nobody is told.

  Attributes:
    noise_multiplier: of values, above 0.
    cohort_size: what sums are divided by.
    rounding: how far a codec moves one value at most; 0 without one.
    adaptation: of the bound; None for a fixed one.

  Raises:
    ValueError: if counts would not be exact.
  """

  noise_multiplier: float
  cohort_size: int
  rounding: float = 0.0
  adaptation: Adaptation | None = None

  def __post_init__(self) -> None:
    """Checks the attributes."""
    most = self.cohort_size * self.largest_count
    if most > _MOST_COUNTED:
      raise ValueError(
        f'cohort_size={self.cohort_size}: the word that counts clients and '
        f'those within the clip reaches {most}, beyond {_MOST_COUNTED}, and '
        'would be rounded: keep the clip as it is, or draw smaller cohorts'
      )

  @property
  def largest_count(self) -> int:
    """What one client shares for its sample count at most."""
    return 1 if self.adaptation is None else self._within + 1

  @property
  def _within(self) -> int:
    """What a client within the bound adds to its count."""
    return self.cohort_size + 1

  def bound(self, rows_CxM: Array, clip: Array) -> Bounds:
    """Returns what bounds contributions by L2 norm.

    Args:
      rows_CxM: float32 [C, M].
      clip: float32 [].
    """
    scales_C, is_within_C = clipping.scales(rows_CxM, clip)
    counts_C = jnp.ones(len(rows_CxM), jnp.int32)
    if self.adaptation is not None:
      counts_C += self._within * is_within_C
    return Bounds(scales_C, counts_C)

  def deviation(self, clip: Array, num_values: Array | int) -> Array:
    """Returns the standard deviation of the noise of a sum's values.

    Args:
      clip: float32 [].
      num_values: that a client contributes; may be traced.
    """
    longest = clip + self.rounding * jnp.sqrt(jnp.float32(num_values))
    return self.noise_multiplier * longest

  def noise(
    self, clip: Array, num_values: Array | int, key_8: PlanArray, size: int
  ) -> Array:
    """Returns what is added to the values of a sum, float32 [size].

    Args:
      clip: float32 [].
      num_values: that a client contributes; may be traced.
      key_8: uint32 [8], of the round.
      size: values of the sum.
    """
    # The first block is the count's.
    noise_M = normal(key_8, size, first_block=1)
    return self.deviation(clip, num_values) * noise_M

  def next_clip(self, clip: Array, count: Array, key_8: PlanArray) -> Array:
    """Returns the bound of the next round, float32 [].

    Args:
      clip: float32 [], of this round.
      count: float32 [], the sum of what clients share for their counts.
      key_8: uint32 [8], of the round.
    """
    if self.adaptation is None:
      return clip
    num_within = jnp.floor(count / self._within)
    num_clients = self.num_clients(count)
    noise = self.adaptation.deviation * normal(key_8, 1)[0]
    # Of those who are missing, half count as within.
    above_half = (num_within - num_clients / 2 + noise) / self.cohort_size
    next_clip = self.adaptation.next_clip(clip, above_half)
    return jnp.where(num_clients > 0, next_clip, clip)

  def num_clients(self, count: Array) -> Array:
    """Returns how many clients are counted, int32 []; `count` as above."""
    if self.adaptation is not None:
      count = count % self._within
    return count.astype(jnp.int32)


def normal(key_8: PlanArray, num_values: int, first_block: int = 0) -> Array:
  """Returns float32 draws of the standard normal distribution.

  Box and Muller's, of two words of ChaCha20's keystream for two draws.

  Args:
    key_8: uint32 [8], used for these draws alone.
    num_values: how many, at least 0.
    first_block: of the keystream, at least 0.

  Returns:
    float32 [num_values], of magnitude below 6.77.

  Raises:
    ValueError: if arguments do not fit.
  """
  arrays.check('key_8', key_8, np.uint32, (chacha.KEY_WORDS,))
  arrays.check_integer('num_values', num_values, 0)
  words = chacha.keystream(
    jnp.asarray(key_8),
    jnp.zeros(chacha.NONCE_WORDS, jnp.uint32),
    first_block,
    -(-num_values // chacha.BLOCK_WORDS),
  ).astype(jnp.float32)
  lengths, angles = jnp.split(words.reshape(-1, 2), 2, axis=1)
  # Half a word more, so that none is 0.
  radii = jnp.sqrt(-2 * jnp.log((lengths + 0.5) * 2.0**-32))
  turns = angles * (2 * math.pi / 2**32)
  pairs = jnp.concatenate(
    [radii * jnp.cos(turns), radii * jnp.sin(turns)], axis=1
  )
  return pairs.reshape(-1)[:num_values]
