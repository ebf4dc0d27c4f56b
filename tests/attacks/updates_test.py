"""Guarantees of every attack on updates, in every state of a small cohort."""

import re

import numpy as np
import pytest

from fps_jax.attacks import updates
from tests.helpers.cohorts import (
  NUM_CLIENTS,
  NUM_STATES,
  NUM_VALUES,
  USUAL,
  Cohorts,
  every_cohort,
  run,
)

EVERY = sorted(updates.UPDATE_ATTACKS)
# What they send depends on how many clients there are.
COUNTING = {'alie', 'ascent', 'hidden'}


def test_every_attack_is_tested():
  assert sorted(USUAL) == EVERY


@pytest.mark.parametrize('name', EVERY)
def test_rows_of_others_are_returned_bit_for_bit(name: str):
  cohorts = every_cohort()
  sent = run(cohorts, name)
  others = ~(cohorts.malicious & cohorts.present)
  np.testing.assert_array_equal(
    sent[others].view(np.uint32), cohorts.updates[others].view(np.uint32)
  )
  assert np.isfinite(sent[~others]).all()
  assert (sent[~others] != cohorts.updates[~others]).any()


@pytest.mark.parametrize('name', EVERY)
def test_rows_that_are_not_present_influence_nothing(name: str):
  cohorts = every_cohort()
  huge = np.where(np.isnan(cohorts.updates), np.float32(3e38), cohorts.updates)
  # Nor does it matter whether who is not present would be malicious.
  malicious = cohorts.malicious ^ ~cohorts.present
  changed = run(Cohorts(huge, malicious, cohorts.present), name)
  np.testing.assert_array_equal(
    changed[cohorts.present], run(cohorts, name)[cohorts.present]
  )


@pytest.mark.parametrize('name', sorted({*EVERY} - COUNTING))
def test_without_honest_what_the_malicious_trained_counts_as_honest(name: str):
  """As if two honest clients had trained the same."""
  trained = np.random.default_rng(0).normal(size=(NUM_STATES, 2, NUM_VALUES))
  updates_twice = np.float32(np.concatenate([trained, trained], axis=1))
  everyone = np.ones((NUM_STATES, NUM_CLIENTS), bool)
  first_two = everyone & (np.arange(NUM_CLIENTS) < 2)
  alone = run(Cohorts(updates_twice, everyone, first_two), name)
  joined = run(Cohorts(updates_twice, first_two, everyone), name)
  np.testing.assert_allclose(alone[:, :2], joined[:, :2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', EVERY)
def test_equal_arguments_and_keys_give_equal_results(name: str):
  cohorts = every_cohort()
  draws = [run(cohorts, name, seed) for seed in (1, 1, 2)]
  np.testing.assert_array_equal(draws[0], draws[1])
  replaced = cohorts.malicious & cohorts.present
  differs = (draws[0] != draws[2])[replaced].any()
  assert differs == (name in ('gaussian', 'wrap_around'))


def test_unknown_names_and_arguments_raise():
  with pytest.raises(ValueError, match=r"attack 'magic' is not one of \['al"):
    updates.make('magic')
  message = re.escape("attack 'ipm' takes the arguments ['epsilon']: ")
  with pytest.raises(ValueError, match=message):
    updates.make('ipm', factor=1.0)
  with pytest.raises(ValueError, match=r"the arguments \['limit'\]: missing"):
    updates.make('wrap_around')


NUMBERS = [
  ('alie', 'deviations'),
  ('ascent', 'reach'),
  ('gaussian', 'deviation_factor'),
  ('hidden', 'deviations'),
  ('ipm', 'epsilon'),
  ('scaling', 'factor'),
  ('sign_flip', 'scale'),
  ('wrap_around', 'limit'),
]


@pytest.mark.parametrize('value', [0.0, -1.0, np.inf, np.nan, 1e39])
@pytest.mark.parametrize(('attack', 'argument'), NUMBERS)
def test_numbers_out_of_range_raise(attack: str, argument: str, value: float):
  message = re.escape(f'{argument}={value} must be above 0 and finite')
  with pytest.raises(ValueError, match=message):
    updates.make(attack, **{argument: value})


@pytest.mark.parametrize(
  ('attack', 'argument'),
  [
    ('ascent', 'goal'),
    ('min_max', 'direction'),
    ('min_sum', 'direction'),
    ('mimic', 'target'),
  ],
)
def test_unknown_choices_raise(attack: str, argument: str):
  with pytest.raises(ValueError, match=f"{argument}='up' is not one of"):
    updates.make(attack, **{argument: 'up'})
