"""Tests of `fps_jax.jobs.inversion.views`."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.jobs.inversion import views
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch

pytestmark = pytest.mark.slow

_FIELD = PrimeField(2**31 - 1)
_CODEC = Codec(_FIELD, clip=1.0, value_bits=8, max_clients=3, max_count=1)
_PACKED = Shamir(_FIELD, num_servers=5, threshold=4, secrets_per_polynomial=2)
_OPENED = views.opened(_CODEC, _PACKED)
_SEED = 7


def updates_of(num_clients: int) -> np.ndarray:
  rng = np.random.default_rng(0)
  # An odd length, which packing pads.
  return rng.uniform(-1, 1, (num_clients, 513)).astype(np.float32)


def test_plain_view_is_the_sum():
  updates_CxD = updates_of(3)
  seen_D = views.plain().see(updates_CxD, _SEED)
  assert seen_D == pytest.approx(updates_CxD.sum(axis=0), abs=1e-6)


@pytest.mark.parametrize('num_clients', [1, 3])
def test_opened_view_is_the_sum_to_the_rounding(num_clients):
  updates_CxD = updates_of(num_clients)
  seen_D = np.asarray(_OPENED.see(updates_CxD, _SEED))
  error_D = np.abs(seen_D - updates_CxD.sum(axis=0))
  assert 0 < error_D.max() < num_clients * _CODEC.step
  levels_D = seen_D / _CODEC.step
  assert levels_D == pytest.approx(np.round(levels_D), abs=1e-3)


def test_shares_of_t_servers_are_decoded_to_nothing():
  updates_CxD = updates_of(1)
  view = views.below_t(_CODEC, _PACKED)
  seen_D = np.asarray(view.see(updates_CxD, _SEED))
  opposite_D = np.asarray(view.see(-updates_CxD, _SEED))
  # Uniform over the field, whose values a codec of 8 bits never reaches.
  half = _FIELD.modulus // 2 * _CODEC.step
  assert 0.9 < np.abs(seen_D).max() / half <= 1
  quartiles = np.quantile(seen_D / half, (0.25, 0.5, 0.75))
  assert quartiles == pytest.approx([-0.5, 0, 0.5], abs=0.1)
  for seen in (seen_D, opposite_D):
    assert abs(np.corrcoef(seen, updates_CxD[0])[0, 1]) < 0.15


def test_shares_of_k_minus_1_servers_are_relations_of_packed_values():
  updates_CxD = updates_of(1)
  view = views.one_below_k(_CODEC, _PACKED)
  seen_V = view.see(updates_CxD, _SEED)
  opened_D = _OPENED.see(updates_CxD, _SEED)
  assert seen_V.shape == (257,)
  expected_V = jax.jit(view.expect)(opened_D[None])
  assert seen_V == pytest.approx(np.asarray(expected_V), abs=1e-5)
  # Of the servers 3, 4 and 5: the second value less twice the first.
  opened_D = np.asarray(opened_D)
  by_hand = opened_D[1::2] - 2 * opened_D[:-1:2]
  assert np.asarray(seen_V)[:256] == pytest.approx(by_hand, abs=1e-5)


def test_schemes_without_such_a_view_are_refused():
  with pytest.raises(ValueError, match=r'has no random word'):
    views.below_t(_CODEC, Shamir(_FIELD, 3, 2, 2))
  with pytest.raises(ValueError, match=r'tells k - 1 servers nothing'):
    views.one_below_k(_CODEC, Shamir(_FIELD, 3, 2, 1))
  small = PrimeField(509)
  codec = Codec(small, clip=1.0, value_bits=8, max_clients=1, max_count=1)
  with pytest.raises(ValueError, match=r'beyond \(p - 1\) / 2 = 254'):
    views.one_below_k(codec, Shamir(small, 5, 4, 2))


@pytest.mark.parametrize('modulus', [3, 11, 101])
def test_small_fraction_is_the_least_of_all(modulus):
  for element in range(modulus):
    pairs = [
      (abs(b) + a, b % modulus)
      for a in range(1, modulus)
      for b in range(-modulus, modulus)
      if (b - a * element) % modulus == 0
    ]
    b, a = views.small_fraction(element, modulus)
    assert (b - a * element) % modulus == 0
    assert abs(b) + a == min(pairs)[0]


def test_noise_has_nothing_to_do_with_updates():
  updates_CxD = updates_of(2)
  view = views.noise()
  seen_D = view.see(updates_CxD, _SEED)
  assert seen_D.tolist() == view.see(0 * updates_CxD, _SEED).tolist()
  assert seen_D.tolist() != view.see(updates_CxD, _SEED + 1).tolist()
  assert seen_D.shape == (513,)


def test_sketch_and_range_check_are_what_servers_open_for_a_defence():
  """Of shares of 14 bits and one secret a word, as servers do."""
  codec = Codec(_FIELD, clip=3.0, value_bits=14, max_clients=3, max_count=1)
  updates_CxD, key = updates_of(2), jax.random.key(0)
  total_D = updates_CxD.sum(axis=0)
  words_1xD = codec.encode(jnp.array(total_D), jax.random.key(1))[None]
  random_2xD = jax.random.bits(jax.random.key(2), (2, 513), jnp.uint32) >> 2
  scheme = Shamir(_FIELD, num_servers=5, threshold=3)
  shares_NxD = scheme.share_with(words_1xD, random_2xD)
  sums_NxV = jnp.concatenate(
    [
      Sketch(16, _FIELD).apply(shares_NxD, key, 0),
      RangeCheck(_FIELD).apply(shares_NxD, jax.random.fold_in(key, 1), 0),
    ],
    axis=1,
  )
  opened = scheme.open_shares(sums_NxV, scheme.opening((1, 3, 5)))
  sums_V = codec.decode(opened[0])
  assert sums_V.shape == (16 + 32,)
  # Entries are in half of the check's sums, and once in the sketch.
  scales_V = np.repeat([1, math.sqrt(2 / 16)], [16, 32])
  view = views.sketched(16, key)
  for seen in (
    view.see(updates_CxD, _SEED),
    view.expect(jnp.array(updates_CxD)),
  ):
    # Each of 33 rounded values, or of 513, is off by less than a step.
    off_V = np.abs(sums_V * scales_V - seen)
    assert np.all(off_V[:16] < 33 * codec.step)
    assert np.all(off_V[16:] < 513 * scales_V[16:] * codec.step)
  assert np.abs(seen[:16]).max() > 10 * 33 * codec.step
  assert np.abs(seen[16:]).max() > 10 * 33 * codec.step


def test_noise_of_a_sum_has_its_deviation_and_updates_the_length_of_the_clip():
  updates_CxD = updates_of(3)
  quiet = views.noised(0.0)
  sum_D = np.asarray(quiet.see(updates_CxD, _SEED))
  lengths_Cx1 = np.linalg.norm(updates_CxD, axis=1, keepdims=True)
  assert sum_D == pytest.approx((updates_CxD / lengths_Cx1).sum(0), abs=1e-6)
  np.testing.assert_array_equal(quiet.expect(updates_CxD), sum_D)
  noise_D = views.noised(0.5).see(updates_CxD, _SEED) - sum_D
  assert np.std(noise_D) == pytest.approx(0.5, rel=0.1)
  other_D = views.noised(0.5).see(updates_CxD, _SEED + 1) - sum_D
  assert abs(np.corrcoef(noise_D, other_D)[0, 1]) < 0.15
