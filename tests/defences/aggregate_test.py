"""Rules on a plain matrix of updates."""

import jax
import numpy as np
import pytest

from fps_jax import defences
from fps_jax.defences.aggregate import aggregate

UPDATES = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
ARGUMENTS = {
  'geometric_median': {'iterations': 8, 'smoothing': 1e-6},
  'centred_clipping': {'iterations': 5, 'radius_factor': 1.0},
  'norm_bound': {'factor': 1.0},
  'fltrust': {'max_scale': 10.0, 'root_update': UPDATES.mean(0)},
}


@pytest.mark.parametrize(
  'rule', [*defences.GRAM_RULES, *defences.COORDINATE_RULES]
)
def test_every_rule_there_is_aggregates_a_matrix(rule):
  """One huge row moves no rule far that bears one; it moves the mean."""
  poisoned = UPDATES.copy()
  poisoned[3] = 1e4
  result_M = aggregate(
    poisoned, rule, num_malicious=1, **ARGUMENTS.get(rule, {})
  )
  assert result_M.shape == (4,) and result_M.dtype == np.float32
  is_near = np.abs(result_M).max() < 10
  assert is_near == (rule != 'mean')


def test_mean_and_median_are_those_of_numpy():
  np.testing.assert_allclose(aggregate(UPDATES), UPDATES.mean(0), atol=1e-6)
  np.testing.assert_allclose(
    aggregate(UPDATES.tolist(), 'median', 1), np.median(UPDATES, 0), atol=1e-6
  )


@pytest.mark.slow
def test_pre_steps_are_taken_before_the_rule():
  """Buckets of all clients leave their mean, whatever the rule."""
  result_M = aggregate(
    UPDATES,
    'geometric_median',
    pre_steps={'bucketing': {'size': 9}},
    key=jax.random.key(3),
    **ARGUMENTS['geometric_median'],
  )
  np.testing.assert_allclose(result_M, UPDATES.mean(0), atol=1e-5)
  mixed_M = aggregate(UPDATES, 'krum', np.int64(1), pre_steps=('nnm',))
  assert np.abs(UPDATES - mixed_M).sum(1).min() > 1e-3


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'updates': [1.0, 2.0]}, r'updates are float64 \[2\], must be floats'),
    ({'updates': [['a']]}, 'must be floats'),
    ({'updates': np.zeros((0, 3))}, r'\[0, 3\], must be floats \[C, M\], at'),
    ({'updates': [[np.nan]]}, 'updates are not all finite in float32: leave'),
    ({'updates': [[1e39]]}, 'updates are not all finite in float32: leave'),
    ({'rule': 'medan'}, "defence 'medan' is not one of .* mean 'median'"),
    ({'rule': 'norm_bound'}, "'norm_bound' takes the arguments .*'factor'"),
    ({'rule': 'krum', 'num_malicious': 4}, "'krum' bears num_malicious=4 of"),
    ({'num_malicious': -1}, 'num_malicious=-1 must be a whole number'),
    ({'pre_steps': ('mix',)}, "pre-step 'mix' is not one of"),
    ({'pre_steps': ('bucketing',)}, "'bucketing' takes the arguments"),
    ({'root_update': UPDATES[0]}, "rule 'mean' takes no root_update"),
    (
      {'rule': 'fltrust', 'max_scale': 10.0},
      "rule 'fltrust' needs a root_update",
    ),
    (
      {'rule': 'fltrust', 'max_scale': 10.0, 'root_update': [1.0]},
      r'root_update has shape \(1,\), must have \(4,\)',
    ),
  ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    aggregate(**{'updates': UPDATES, **arguments})
