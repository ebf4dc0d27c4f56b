"""From a config to the noise that clients add, and what it is worth."""

import functools
import math
from collections.abc import Sequence

from ml_collections import ConfigDict

from fps_jax.config.sections import sharing
from fps_jax.core.types import PruningPlan
from fps_jax.privacy import accounting, rotation
from fps_jax.privacy.accounting import Event, Ledger
from fps_jax.privacy.central import Adaptation
from fps_jax.privacy.distributed import DistributedPrivacy
from fps_jax.privacy.mechanism import (
  LEAST_DEVIATION,
  Mechanism,
  make_mechanism,
)
from fps_jax.privacy.noisy_codec import NoisyCodec
from fps_jax.privacy.wrapping import Words
from fps_jax.sharing.field import PrimeField


def make_privacy(
  config: ConfigDict,
  plans: Sequence[PruningPlan],
  adaptation: Adaptation | None,
) -> DistributedPrivacy:
  """Returns what clients do to their values.

  Args:
    config: the config of one variant, valid.
    plans: how many parameters each round keeps.
    adaptation: of the clip; None for a fixed one.

  Raises:
    ValueError: if no noise is enough for the epsilon, a clip that follows
      leaves none for values, or the field has too few bits.
  """
  field = PrimeField(config.sharing.prime)
  codec = NoisyCodec(field, _mechanism(config, plans))
  return DistributedPrivacy(codec, config.cohort.size, adaptation)


def make_ledger(config: ConfigDict, plans: Sequence[PruningPlan]) -> Ledger:
  """Returns what rounds spend; arguments and errors as of `make_privacy`."""
  mechanism, privacy = _mechanism(config, plans), config.privacy
  event = accounting.discrete_event(
    math.sqrt(mechanism.variance),
    mechanism.min_honest,
    math.sqrt(mechanism.squared_norm),
    mechanism.words.dimension,
    privacy.neighbours,
  )
  return Ledger(
    event, privacy.neighbours, privacy.delta, mechanism.noise_multiplier
  )


def _mechanism(config: ConfigDict, plans: Sequence[PruningPlan]) -> Mechanism:
  """Returns the noise of the round that keeps most, which all rounds have."""
  privacy, least = config.privacy, sharing.min_honest(config)
  shared = sharing.shared_values(config)
  dimension = shared(max(int(plan.keep_count) for plan in plans))
  words = Words(
    num_clients=config.cohort.size,
    levels=1,
    dimension=dimension,
    rounds=config.num_rounds,
    prime=config.sharing.prime,
    block=rotation.BLOCK if privacy.rotate else 0,
  )
  noise = privacy.noise_multiplier or _calibrated(
    privacy.neighbours,
    least,
    dimension,
    privacy.epsilon,
    privacy.delta,
    config.num_rounds,
  )
  return make_mechanism(noise, least, words, privacy.wrap_probability)


@functools.cache
def _calibrated(
  neighbours: str,
  least: int,
  dimension: int,
  epsilon: float,
  delta: float,
  num_rounds: int,
) -> float:
  """Returns the noise multiplier, for the coarsest steps that are taken."""

  def event(noise: float) -> Event:
    longest = math.sqrt(least) * LEAST_DEVIATION / noise
    return accounting.discrete_event(
      LEAST_DEVIATION, least, longest, dimension, neighbours
    )

  return accounting.calibrate(event, neighbours, epsilon, delta, num_rounds)
