"""Noise that clients add themselves: nobody sees a sum without it."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from fps_jax.core.types import Array, PlanArray
from fps_jax.privacy import clipping, rotation
from fps_jax.privacy.central import Bounds, CentralPrivacy
from fps_jax.privacy.noisy_codec import NoisyCodec


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
  """

  codec: NoisyCodec
  cohort_size: int

  @property
  def largest_count(self) -> int:
    """What one client shares for its sample count at most."""
    return 1

  @property
  def rotates(self) -> bool:
    """Whether values are rotated before they are rounded."""
    return self.codec.mechanism.words.block > 0

  def num_values(self, num_kept: Any) -> Any:
    """Returns how many values are shared for so many that are kept."""
    return rotation.padded(num_kept) if self.rotates else num_kept

  def bound(self, rows_CxM: Array, clip: Array) -> Bounds:
    """Returns what brings contributions to an L2 norm of at most 1.

    Args:
      rows_CxM: float32 [C, M].
      clip: float32 [].
    """
    scales_C, _ = clipping.scales(rows_CxM, clip)
    return Bounds(scales_C / clip, jnp.ones(len(rows_CxM), jnp.int32))

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

  def mean(
    self, sum_M: Array, clip: Array, num_values: Array | int, key_8: PlanArray
  ) -> Array:
    """Returns the mean update of a sum, which has its noise, float32 [M].

    Args:
      sum_M: float32 [M], what clients' sum decodes to, a multiple of a block
        where values are rotated.
      clip: float32 [].
      num_values: that a client contributes; may be traced.
      key_8: uint32 [8], public, of the round.
    """
    if self.rotates:
      is_value_M = jnp.arange(len(sum_M)) < num_values
      sum_M = rotation.rotate_back(jnp.where(is_value_M, sum_M, 0.0), key_8, 0)
    return sum_M * clip / self.cohort_size


# Who adds noise to a sum.
Privacy = CentralPrivacy | DistributedPrivacy
