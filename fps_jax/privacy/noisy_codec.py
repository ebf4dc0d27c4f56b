"""What rounds encode values with where each client adds noise of its own.

The steps of P. Kairouz, Z. Liu and T. Steinke, The distributed discrete
Gaussian mechanism for federated learning with secure aggregation, ICML 2021,
from values that are clipped (and rotated, if they are) to words of a field.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key
from fps_jax.privacy import rounding
from fps_jax.privacy.discrete_gaussian import DiscreteGaussian
from fps_jax.privacy.mechanism import Mechanism
from fps_jax.sharing.codec import round_randomly
from fps_jax.sharing.coder import OfField
from fps_jax.sharing.field import PrimeField


class Draws(NamedTuple):
  """What one client draws on in a round.

  Attributes:
    rounding: key of its roundings.
    noise_8: uint32 [8], its secret key of ChaCha20, used for its noise alone.
    attempt: int32 [], which rounding of the vector is taken, from 0.
    is_within: bool [], whether its norm holds the bound.
  """

  rounding: Key
  noise_8: Array
  attempt: Array
  is_within: Array


@dataclasses.dataclass(frozen=True)
class NoisyCodec(OfField):
  """Modular coding of values whose sum is differentially private.

  A value of 1 is the clip: `levels` steps.

  Guarantees:
    - a sum's values are those of the rounded ones plus noise of every client,
      modulo p, as representatives in [-(p - 1) / 2, (p - 1) / 2];
    - what a client adds besides noise has a squared norm of at most
      `squared_norm` of the mechanism, whatever its values are: a rounding that
      does not hold it is sent as zeros;
    - counts carry no noise.

  Attributes:
    field: the field that sums are formed in.
    mechanism: noise, and what it is calibrated to.
    max_count: largest sample count of one client, >= 1.

  Raises:
    ValueError: if sums of counts could wrap, or the fields differ.
  """

  field: PrimeField
  mechanism: Mechanism
  max_count: int = 1

  def __post_init__(self):
    arrays.check_integer('max_count', self.max_count, 1)
    words, p = self.mechanism.words, self.field.modulus
    if words.prime != p:
      raise ValueError(
        f'the noise is made for the prime {words.prime}, the field has {p}: '
        'build both with one'
      )
    most = words.num_clients * self.max_count
    if max(most, self.noise.largest) >= p:
      raise ValueError(
        f'a sum of {words.num_clients} counts of up to {self.max_count}, or '
        f'noise of up to {self.noise.largest}, is beyond p - 1 = {p - 1}, and '
        'would wrap: use a larger prime or fewer clients'
      )

  @property
  def levels(self) -> int:
    """What the clip is in steps, and no rounded value is beyond."""
    return self.mechanism.words.levels

  @property
  def noise(self) -> DiscreteGaussian:
    """What each client draws for each value."""
    return DiscreteGaussian(self.mechanism.variance)

  def round(
    self,
    values: Array,
    key: Key,
    attempt: Array | int,
    first: Array | int = 0,
  ) -> Array:
    """Returns one of the roundings of values, int32, in steps.

    Args:
      values: float32 [W], part of one vector; what is not finite counts as 0.
      key: of the client's roundings.
      attempt: which rounding, from 0.
      first: place of the first value in that vector, a multiple of 4.

    Raises:
      ValueError: if arguments do not fit.
    """
    arrays.check('values', values, np.float32, ('W',))
    arrays.check_integer('attempt', attempt, 0)
    finite = jnp.where(jnp.isfinite(values), values, 0.0)
    scaled = jnp.clip(finite * self.levels, -self.levels, self.levels)
    key = jax.random.fold_in(key, attempt)
    return round_randomly(scaled, key, first).astype(jnp.int32)

  def is_within(self, squares_Cx2: Array) -> Array:
    """Returns which squared norms hold the bound, bool [C].

    Args:
      squares_Cx2: uint32, sums of `rounding.squares_of_integers`.
    """
    return rounding.is_within(squares_Cx2, self.mechanism.squared_norm)

  def encode(
    self,
    values: Array,
    key: Draws,
    first: Array | int = 0,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Encodes values with noise.

    Args:
      values: float32 [W], part of one vector.
      key: what the client draws on.
      first: place of the first value, a multiple of 16; may be traced.
      breaks_range: not read: all are held to the bound.

    Returns:
      uint32 field elements.

    Raises:
      ValueError: if arguments do not fit.
    """
    del breaks_range
    rounded = self.round(values, key.rounding, key.attempt, first)
    rounded = jnp.where(key.is_within, rounded, 0)
    with jax.named_scope('noise'):
      noise = self.noise.draw(key.noise_8, first, values.size)
    return self.field.add(
      self.field.from_signed(rounded), self.field.from_signed(noise)
    )

  def decode(self, words: Array) -> Array:
    """Decodes a sum of encoded values; uint32 elements to float32."""
    self.field.check('words', words)
    return self.field.to_signed(words).astype(jnp.float32) / self.levels

  def count_clipped(self, values: Array) -> Array:
    """Returns 0, int32 []: how much a client clips is its secret."""
    arrays.check('values', values, np.float32)
    return jnp.zeros((), jnp.int32)
