"""Votes of clients who add noise: their size, their noise, what they cost."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.privacy.central import Adaptation
from fps_jax.privacy.distributed import DistributedPrivacy, Shared
from fps_jax.privacy.mechanism import make_mechanism
from fps_jax.privacy.noisy_codec import NoisyCodec
from fps_jax.privacy.wrapping import Words
from fps_jax.sharing.field import PrimeField

PRIME = 2**31 - 1
WORDS = Words(10, 1, dimension=5, rounds=3, prime=PRIME)
MECHANISM = make_mechanism(1.5, 8, WORDS, wrap_probability=2**-40)


def make(deviation: float) -> DistributedPrivacy:
  codec = NoisyCodec(PrimeField(PRIME), MECHANISM)
  return DistributedPrivacy(codec, 10, Adaptation(0.5, 0.2, deviation))


def test_client_and_its_vote_are_no_longer_than_the_bound():
  privacy = make(1.0)
  rows_CxM = np.float32([[3, 4, 0, 0], [0, 0, 0, 0.5], [np.nan, 0, 0, 0]])
  bounds = privacy.bound(jnp.asarray(rows_CxM), jnp.float32(2.0))
  votes_C = np.asarray(bounds.votes_C, np.float64)
  assert votes_C[1] == -votes_C[0] == -votes_C[2] > 0
  lengths_C = np.linalg.norm(np.nan_to_num(rows_CxM), axis=1)
  values_C = lengths_C * np.asarray(bounds.scales_C, np.float64)
  norms_C = np.hypot(values_C, votes_C)
  assert np.all(norms_C <= 1 + 1e-6)
  # The longest takes all of it.
  assert norms_C[0] > 0.999


def test_noise_of_votes_is_of_the_deviation_that_is_asked_for():
  for deviation in (0.8, 1.0, 4.0):
    privacy = make(deviation)
    votes_C = privacy.bound(jnp.zeros((1, 4)), jnp.float32(1)).votes_C
    noise = math.sqrt(8 * MECHANISM.variance) / MECHANISM.words.levels
    assert noise / (2 * votes_C[0]) == pytest.approx(deviation, rel=1e-6)


def test_votes_that_leave_nothing_for_values_are_refused():
  with pytest.raises(ValueError, match=r'raise the deviation above 0\.75'):
    make(0.7)


def test_clip_follows_the_sum_of_votes():
  """Of 10, 6 are there: 5 within the clip, 1 beyond; the rest count as half."""
  privacy = make(1.0)
  vote = float(privacy.bound(jnp.zeros((1, 4)), jnp.float32(1)).votes_C[0])
  sum_M = jnp.float32([9, 9, 9, 9, (5 - 1) * vote, 9])
  follow = privacy.next_clip(jnp.float32(2), sum_M, 5, jnp.float32(6))
  assert follow == pytest.approx(2 * math.exp(-0.2 * (7 / 10 - 0.5)))
  nobody = privacy.next_clip(jnp.float32(2), sum_M, 5, jnp.float32(0))
  assert nobody == 2


@pytest.mark.parametrize('block', [1, 2, 4])
@pytest.mark.parametrize('more', [0, 1])
def test_values_are_shared_in_the_least_blocks_that_hold_them(more, block):
  shared = Shared(more, block)
  for num_kept in range(1, 13):
    least = next(
      size
      for size in range(99)
      if size % block == 0 and size >= num_kept + more
    )
    assert shared(num_kept) == least
    assert least - num_kept <= shared.padding
