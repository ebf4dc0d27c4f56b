"""Tests of `fps_jax.defences.coordinate_rules` against loops."""

import jax
import numpy as np
import pytest

from fps_jax import defences
from fps_jax.defences import coordinate_rules
from tests.helpers import defence_cases
from tests.helpers.references import defences as reference


@pytest.mark.parametrize('name', sorted(defences.COORDINATE_RULES))
def test_aggregate_is_that_of_loops_over_those_present(name):
  cases = defence_cases.make()
  # Rules are given 0 for the absent, but must not use it.
  updates = np.where(cases.present[..., None], cases.updates, 0)
  found = jax.jit(jax.vmap(defences.COORDINATE_RULES[name]))(
    updates, cases.present, cases.num_malicious
  )
  for aggregate, values, present, f in zip(
    np.asarray(found), *cases, strict=True
  ):
    if present.any():
      expected = getattr(reference, name)(np.float64(values[present]), int(f))
      np.testing.assert_allclose(aggregate, expected, atol=1e-5, rtol=1e-5)


def test_at_the_bound_the_malicious_do_not_move_the_aggregate():
  honest = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
  for f, name in ((2, 'bulyan'), (4, 'trimmed_mean'), (4, 'median')):
    num_honest = {'bulyan': 9, 'trimmed_mean': 5, 'median': 5}[name]
    rule = jax.jit(defences.COORDINATE_RULES[name])
    present = np.ones(num_honest + f, bool)
    for far in (1e3, -1e6):
      values = np.concatenate(
        [honest[:num_honest], np.full((f, 2), far, np.float32)]
      )
      aggregate = np.asarray(rule(values, present, f))
      assert (aggregate >= honest[:num_honest].min(axis=0)).all()
      assert (aggregate <= honest[:num_honest].max(axis=0)).all()


def test_trimming_more_than_there_are_leaves_the_median():
  trimmed_mean = jax.jit(coordinate_rules.trimmed_mean)
  values = np.float32([[4], [1], [9], [2]])
  for size in (1, 2, 3, 4):
    present = np.arange(4) < size
    values_or_zero = np.where(present[:, None], values, 0)
    found = trimmed_mean(values_or_zero, present, 5)
    np.testing.assert_allclose(found, np.median(values[:size], axis=0))
