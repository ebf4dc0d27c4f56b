"""The rules give what those of ByzFL do, where that library is installed.

It is not among the test dependencies, for it needs PyTorch. Its Krum sums over
n - f - 1 neighbours, and that of the paper, like ours, over n - f - 2.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax import defences
from tests.helpers import defence_cases

byzfl = pytest.importorskip('byzfl')

NUM_CLIENTS, NUM_MALICIOUS = 11, 3
PRESENT = np.ones(NUM_CLIENTS, bool)


def cohorts() -> list[np.ndarray]:
  """Returns updates [C, M], f of them far away, of ten seeds."""
  result = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    updates = rng.normal(size=(NUM_CLIENTS, 6)) + 1
    updates[rng.permutation(NUM_CLIENTS)[:NUM_MALICIOUS]] -= 10
    result.append(np.float32(updates))
  return result


def aggregates(name, num_malicious=NUM_MALICIOUS, pre_steps=(), **args):
  """Returns the aggregates of the cohorts."""
  defence = defences.make(name, num_malicious, pre_steps, args)
  if defence.aggregate is not None:
    aggregate = jax.jit(defence.aggregate)
    return [aggregate(updates, PRESENT) for updates in cohorts()]
  weigh = jax.jit(defence.weigh)
  grams = [defence_cases.gram(updates, PRESENT) for updates in cohorts()]
  return [
    weigh(jnp.float32(gram), PRESENT, jax.random.key(0)) @ updates
    for gram, updates in zip(grams, cohorts(), strict=True)
  ]


def check(found, expected, atol=1e-5):
  """Asserts that aggregates are those of a rule of ByzFL."""
  for aggregate, updates in zip(found, cohorts(), strict=True):
    # It works in the precision of what it is given.
    np.testing.assert_allclose(
      aggregate, expected(np.float64(updates)), atol=atol, rtol=1e-5
    )


def test_krum_is_that_of_one_neighbour_less():
  check(aggregates('krum'), byzfl.Krum(f=NUM_MALICIOUS + 1))


def test_multi_krum_of_far_outliers_chooses_the_others():
  check(aggregates('multi_krum'), byzfl.MultiKrum(f=NUM_MALICIOUS))


def test_multi_krum_averages_the_lowest_scores():
  # One neighbour less, and then one client more, of the same scores.
  theirs = byzfl.MultiKrum(f=NUM_MALICIOUS + 1)
  defence = jax.jit(defences.make('multi_krum', NUM_MALICIOUS).weigh)
  for updates in cohorts():
    vectors = np.float64(updates)
    gram = jnp.float32(defence_cases.gram(updates, PRESENT))
    chosen = np.asarray(defence(gram, PRESENT, jax.random.key(0)))
    best = theirs(vectors) * (NUM_CLIENTS - NUM_MALICIOUS - 1)
    last = chosen @ vectors * (NUM_CLIENTS - NUM_MALICIOUS) - best
    gaps = np.linalg.norm(vectors - last, axis=1)
    assert gaps.min() < 1e-4 and chosen[gaps.argmin()] > 0


def test_geometric_median():
  args = {'iterations': 200, 'smoothing': 1e-6}
  found = aggregates('geometric_median', geometric_median=args)
  check(found, byzfl.GeometricMedian(nu=1e-9, T=200), atol=1e-4)


def test_every_iteration_of_the_geometric_median():
  for iterations in (1, 2, 3):
    args = {'iterations': iterations, 'smoothing': 1e-6}
    found = aggregates('geometric_median', geometric_median=args)
    check(found, byzfl.GeometricMedian(nu=1e-9, T=iterations), atol=1e-4)


def test_trimmed_mean():
  check(aggregates('trimmed_mean'), byzfl.TrMean(f=NUM_MALICIOUS))


def test_median():
  check(aggregates('median'), byzfl.Median())


def test_nnm():
  mean = aggregates('mean', pre_steps=('nnm',))
  check(mean, lambda vectors: byzfl.NNM(f=NUM_MALICIOUS)(vectors).mean(axis=0))
  step = jax.jit(lambda gram: defences.PRE_STEPS['nnm'](
    gram, PRESENT, NUM_MALICIOUS, None
  ).matrix_CxC)  # fmt: skip
  rows = [step(updates @ updates.T) @ updates for updates in cohorts()]
  check(rows, byzfl.NNM(f=NUM_MALICIOUS))
