"""Tests of fps_jax.pruning.scores."""

import jax
import numpy as np
import pytest

from fps_jax.pruning import scores

PARAMS = np.float32([0.5, -2.0, 0.0])


def test_initial_magnitudes_are_a_copy_that_outlives_the_model():
  params = jax.numpy.asarray(PARAMS)
  ranked = scores.fixed('initial_magnitude', params, jax.random.key(0))
  params.delete()
  np.testing.assert_array_equal(ranked, PARAMS)


def test_saliency_is_the_initial_magnitude_until_a_round_has_been():
  ranked = scores.fixed('saliency', PARAMS, jax.random.key(0))
  np.testing.assert_array_equal(ranked, PARAMS)


def test_saliency_is_the_magnitude_of_weight_times_update():
  found = scores.saliency(PARAMS, np.float32([-4.0, 0.25, 9.0]))
  np.testing.assert_array_equal(found, [2.0, 0.5, 0.0])


def test_magnitude_fixes_nothing_and_an_unknown_name_is_refused():
  assert scores.fixed('magnitude', PARAMS, jax.random.key(0)) is None
  with pytest.raises(ValueError, match="score='luck' is not one of"):
    scores.fixed('luck', PARAMS, jax.random.key(0))
  with pytest.raises(ValueError, match='float64'):
    scores.fixed('random', PARAMS.astype(float), jax.random.key(0))


@pytest.mark.parametrize(
  'changes', [{'mask': 'local'}, {'server': 'dense'}, {'regrow_every': 2}]
)
def test_ranks_of_before_training_go_with_no_mask_that_follows_it(changes):
  usual = {'mask': 'shared', 'server': 'sparse', 'regrow_every': 0}
  scores.check('random', **usual)
  scores.check('magnitude', **{**usual, **changes})
  (name,) = changes
  with pytest.raises(ValueError, match=f"score='random'.*{name}="):
    scores.check('random', **{**usual, **changes})
