"""Tests of `fps_jax.attacks.bounded_distance`: a search for gamma in NumPy."""

import itertools

import numpy as np
import pytest

from fps_jax.attacks.bounded_distance import DIRECTIONS
from tests.helpers.cohorts import (
  NUM_CLIENTS,
  NUM_STATES,
  NUM_VALUES,
  last_is_malicious,
  run,
  run_every,
)
from tests.helpers.references import attacks as reference

MEASURES = {
  'min_max': reference.largest_distance,
  'min_sum': reference.sum_of_distances,
}
CASES = list(itertools.product(MEASURES, DIRECTIONS))


@pytest.mark.parametrize(('name', 'direction'), CASES)
def test_distances_stay_within_the_bound_and_gamma_is_the_largest(
  name: str, direction: str
):
  measure = MEASURES[name]
  for honest, own, sent, _ in run_every(name, direction=direction):
    honest = honest.astype(float)
    bound = max(measure(update, honest) for update in honest)
    assert measure(sent[0].astype(float), honest) <= bound * (1 + 1e-5) + 1e-12
    expected = reference.furthest(honest, direction, measure)
    np.testing.assert_allclose(
      sent, np.tile(expected, (len(own), 1)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(('name', 'direction'), CASES)
def test_bound_is_reached_where_updates_differ_little(
  name: str, direction: str
):
  """Squares of the updates are a million times those of their differences."""
  rng = np.random.default_rng(1)
  values = 1 + rng.normal(size=NUM_VALUES)
  shape = (NUM_STATES, NUM_CLIENTS, NUM_VALUES)
  values = values + 1e-3 * rng.normal(size=shape)
  cohorts, measure = last_is_malicious(values), MEASURES[name]
  sent = run(cohorts, name, direction=direction).astype(float)
  for sent_CxM in sent:
    honest = sent_CxM[:-1]
    bound = max(measure(update, honest) for update in honest)
    assert measure(sent_CxM[-1], honest) == pytest.approx(bound, 1e-2)


@pytest.mark.parametrize(('name', 'direction'), CASES)
def test_mean_is_sent_without_a_direction_or_room(name: str, direction: str):
  for value in (0.0, 0.25):
    cohorts = last_is_malicious(np.array(value))
    sent = run(cohorts, name, direction=direction)
    np.testing.assert_allclose(sent, cohorts.updates, rtol=1e-6)
