"""The central server's noise, and the clip that follows a quantile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fps_jax.privacy.central import Adaptation, CentralPrivacy, normal

KEY = np.arange(8, dtype=np.uint32)


draw = jax.jit(normal, static_argnums=(1, 2))


@pytest.fixture(scope='module')
def draws():
  return np.asarray(draw(KEY, 100_000, 0))


def test_noise_is_normal(draws):
  draws = draws.astype(np.float64)
  assert np.isfinite(draws).all()
  assert stats.kstest(draws, 'norm').pvalue > 0.01
  # Pairs of one block, and neighbours, have nothing to do with each other.
  for lag in (1, 8, 16):
    assert abs(np.mean(draws[lag:] * draws[:-lag])) < 4 / len(draws) ** 0.5
  assert 4 < np.abs(draws).max() < 6.77


def test_draws_do_not_depend_on_how_many_there_are_and_keys_differ(draws):
  np.testing.assert_array_equal(draw(KEY, 21, 0), draws[:21])
  np.testing.assert_array_equal(draw(KEY, 21, 7), draws[7 * 16 :][:21])
  assert not np.any(draw(KEY + np.uint32(1), 21, 0) == draws[:21])


def test_noise_of_a_sum_has_the_deviation_that_is_accounted_for(draws):
  privacy = CentralPrivacy(1.5, cohort_size=10, rounding=0.01)
  noise = jax.jit(privacy.noise, static_argnums=3)(2.0, 400, KEY, 21)
  # The longest that a rounded contribution may be: 2 + 0.01 * 20.
  np.testing.assert_allclose(noise, 1.5 * 2.2 * draws[16:][:21], rtol=1e-5)


def test_counting_norms_and_values_spend_what_both_are_accounted_for():
  """Both together are one Gaussian, scaled: inverse squares add up."""
  adaptation = Adaptation(0.5, 0.2, deviation=5.0)
  noise = adaptation.noise_of_values(3.0)
  assert noise > 3
  assert noise**-2 + (1 / (2 * 5.0)) ** 2 == pytest.approx(3.0**-2)
  with pytest.raises(ValueError, match='raise the deviation above 5'):
    adaptation.noise_of_values(10.0)


def make_adaptive(deviation=1e-6):
  return CentralPrivacy(1.0, 10, adaptation=Adaptation(0.5, 0.2, deviation))


def next_clips(privacy, counts, keys):
  """Returns the clips that follow one of 2, for each count and key."""
  follow = jax.jit(jax.vmap(privacy.next_clip, (None, 0, 0)))
  return np.asarray(follow(2.0, np.asarray(counts, np.float32), keys))


@pytest.mark.slow
def test_clip_follows_the_quantile_of_norms_by_andrew_et_al():
  privacy, clip = make_adaptive(), jnp.float32(2.0)
  rows = np.zeros((10, 3), np.float32)
  rows[:, 0] = np.arange(10) / 2 + 0.25  # 4 of them are within 2.
  counts_C = privacy.bound(jnp.asarray(rows), clip).counts_C
  count = jnp.sum(counts_C).astype(jnp.float32)
  assert int(privacy.num_clients(count)) == 10
  (found,) = next_clips(privacy, [count], KEY[None])
  assert found == pytest.approx(2 * np.exp(-0.2 * (0.4 - 0.5)), rel=1e-5)


def test_clients_that_are_missing_neither_raise_nor_lower_the_clip():
  within, without = 1 + 11, 1
  keys = np.stack([KEY, KEY])
  # One of each, half of those who report; then nobody.
  found = next_clips(make_adaptive(), [within + without, 0], keys)
  assert found[0] == pytest.approx(2.0, rel=1e-5)
  assert found[1] == 2


def test_count_of_norms_has_noise():
  keys = np.arange(400, dtype=np.uint32)[:, None] + KEY
  found = next_clips(make_adaptive(3.0), [10 + 4 * 11] * 400, keys)
  # exp(-0.2 (mean - 0.5)), so a count off by 3 moves the logarithm by 0.06.
  assert np.std(np.log(found / 2)) == pytest.approx(0.2 * 3 / 10, rel=0.1)


def test_cohort_whose_counts_would_be_rounded_is_refused():
  CentralPrivacy(1.0, 4094, adaptation=Adaptation(0.5, 0.2, 1.0))
  with pytest.raises(
    ValueError, match='cohort_size=4096: the word that counts'
  ):
    CentralPrivacy(1.0, 4096, adaptation=Adaptation(0.5, 0.2, 1.0))
