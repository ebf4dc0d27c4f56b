"""Noise that clients add themselves: nobody sees a sum without it.

Where the clip follows a quantile of norms (`central`), a client votes: whether
its contribution was within the clip is one value more of those that it shares.
It is positive or negative, and as large as leaves its sum the noise that is
asked for; the others are bounded by what is left of the norm. So votes are
rounded, get noise and are accounted for as all values are.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp

from fps_jax.core.types import Array, PlanArray
from fps_jax.privacy import clipping, rotation
from fps_jax.privacy.central import Adaptation, Bounds, CentralPrivacy
from fps_jax.privacy.noisy_codec import NoisyCodec


class Shared(NamedTuple):
  """How many values are shared for those that are kept.

  Attributes:
    more: values that are not of the update.
    block: what all together are a multiple of.
  """

  more: int = 0
  block: int = 1

  @property
  def padding(self) -> int:
    """How many more are shared than are kept, at most."""
    return self.more + self.block - 1

  def __call__(self, num_kept: Any) -> Any:
    """Returns it for so many that are kept; may be traced."""
    return -(-(num_kept + self.more) // self.block) * self.block


# Where nothing is added to what is kept.
AS_KEPT = Shared()


@dataclasses.dataclass(frozen=True)
class DistributedPrivacy:
  """What clients do to what they share, and what is undone of a sum.

  Guarantees:
    - contributions are no longer than the mechanism's bound, exactly;
    - their sum has the noise of all who contribute, and is only opened if they
      are as many as the noise is made for;
    - an update that is not finite counts as one of nothing, and nobody is told.

  Attributes:
    codec: of clients' values, with noise.
    cohort_size: what sums are divided by.
    adaptation: of the clip; None for a fixed one.

  Raises:
    ValueError: if votes leave nothing for values.
  """

  codec: NoisyCodec
  cohort_size: int
  adaptation: Adaptation | None = None

  def __post_init__(self) -> None:
    """Checks the attributes."""
    _ = self._longest

  @property
  def largest_count(self) -> int:
    """What one client shares for its sample count at most."""
    return 1

  @property
  def rotates(self) -> bool:
    """Whether values are rotated before they are rounded."""
    return self.codec.mechanism.words.block > 0

  @property
  def shared(self) -> Shared:
    """How many values are shared for those that are kept."""
    more = 0 if self.adaptation is None else 1
    return Shared(more, rotation.BLOCK if self.rotates else 1)

  @property
  def _noise(self) -> float:
    """The deviation of the noise of `min_honest`, where 1 is the bound."""
    mechanism = self.codec.mechanism
    return mechanism.noise_multiplier * mechanism.rounding_cost

  @property
  def _vote(self) -> float:
    """How far votes for and against are from each other."""
    assert self.adaptation is not None
    return self._noise / self.adaptation.deviation

  @property
  def _longest(self) -> float:
    """What is left of a norm of 1 for values besides a vote."""
    if self.adaptation is None:
      return 1.0
    return self._noise / self.adaptation.noise_of_values(self._noise)

  def bound(self, rows_CxM: Array, clip: Array) -> Bounds:
    """Returns what brings contributions to an L2 norm of at most 1.

    Args:
      rows_CxM: float32 [C, M].
      clip: float32 [].
    """
    scales_C, is_within_C = clipping.scales(rows_CxM, clip)
    counts_C = jnp.ones(len(rows_CxM), jnp.int32)
    if self.adaptation is None:
      return Bounds(scales_C / clip, counts_C)
    votes_C = jnp.where(is_within_C, self._vote / 2, -self._vote / 2)
    return Bounds(scales_C / clip * self._longest, counts_C, votes_C)

  def spread(self, values_CxW: Array, key_8: PlanArray, first: Array) -> Array:
    """Returns values of a tile, rotated where they are.

    Args:
      values_CxW: float32, from place `first` of each vector.
      key_8: uint32 [8], public, of the round.
      first: place of the first value, a multiple of a block where values are
        rotated.
    """
    if not self.rotates:
      return values_CxW
    return rotation.rotate(values_CxW, key_8, first)

  def gather(
    self, sum_M: Array, num_values: Array | int, key_8: PlanArray
  ) -> Array:
    """Returns a sum as it is without a rotation, float32 [M].

    Args:
      sum_M: float32 [M], what clients' sum decodes to, a multiple of a block
        where values are rotated.
      num_values: that a client contributes; may be traced.
      key_8: uint32 [8], public, of the round.
    """
    if not self.rotates:
      return sum_M
    is_value_M = jnp.arange(len(sum_M)) < num_values
    return rotation.rotate_back(jnp.where(is_value_M, sum_M, 0.0), key_8, 0)

  def mean(self, sum_M: Array, clip: Array) -> Array:
    """Returns the mean update of a sum of `gather`, with its noise.

    Args:
      sum_M: float32 [M].
      clip: float32 [].
    """
    mean_M = sum_M * clip / self.cohort_size
    return mean_M if self.adaptation is None else mean_M / self._longest

  def next_clip(
    self, clip: Array, sum_M: Array, num_values: Array | int, count: Array
  ) -> Array:
    """Returns the bound of the next round, float32 [].

    Args:
      clip: float32 [], of this round.
      sum_M: float32 [M], of `gather`.
      num_values: that a client contributes; may be traced.
      count: float32 [], clients of the sum; 0 where it is not opened.
    """
    if self.adaptation is None:
      return clip
    # Of those who are missing, half count as within.
    above_half = sum_M[num_values - 1] / (self._vote * self.cohort_size)
    next_clip = self.adaptation.next_clip(clip, above_half)
    return jnp.where(count > 0, next_clip, clip)


# Who adds noise to a sum.
Privacy = CentralPrivacy | DistributedPrivacy
