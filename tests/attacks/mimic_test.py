"""Tests of `fps_jax.attacks.mimic`, against an eigenvalue problem in NumPy."""

import numpy as np
import pytest

from fps_jax.attacks import mimic
from tests.helpers.cohorts import (
  NUM_CLIENTS,
  NUM_STATES,
  NUM_VALUES,
  last_is_malicious,
  run,
  run_every,
)
from tests.helpers.references import attacks as reference


@pytest.mark.parametrize('target', mimic.TARGETS)
def test_what_is_sent_is_an_honest_update(target: str):
  for honest, _, sent, _ in run_every('mimic', target=target):
    assert (sent == sent[0]).all()
    copied = (honest == sent[0]).all(axis=1)
    assert copied.sum() == 1
    if target == 'first' or len(honest) < 3:
      # Two are as far from their mean as each other.
      assert copied[0]


def test_variance_copies_who_is_furthest_where_updates_vary_most():
  rng = np.random.default_rng(0)
  rotation = np.linalg.qr(rng.normal(size=(NUM_VALUES, NUM_VALUES)))[0]
  values = rng.normal(size=(NUM_STATES, NUM_CLIENTS, NUM_VALUES))
  values = (values * np.where(np.arange(NUM_VALUES) == 3, 3, 0.3)) @ rotation
  cohorts = last_is_malicious(values + 1)
  chosen = set()
  for sent_CxM in run(cohorts, 'mimic'):
    honest = sent_CxM[:-1]
    scores = reference.principal_scores(honest.astype(float))
    copied = (honest == sent_CxM[-1]).all(axis=1).argmax()
    assert scores[copied] >= 0.998 * scores.max()
    chosen.add(int(copied))
  assert len(chosen) == NUM_CLIENTS - 1


def test_the_mean_plays_no_role_in_who_is_copied():
  """The client furthest from 0 is not the one furthest from the others."""
  rows = np.zeros((NUM_CLIENTS, NUM_VALUES), np.float32)
  rows[:, :2] = [9.1, 0], [9, 0.1], [8, 5], [0, 0]
  for sign in (1, -1):
    sent = run(last_is_malicious(sign * rows), 'mimic')
    assert (sent[:, 3] == sign * rows[2]).all()


def test_of_equal_updates_any_is_copied():
  cohorts = last_is_malicious(np.array(1.0))
  sent = run(cohorts, 'mimic')
  np.testing.assert_array_equal(sent, cohorts.updates)
