"""Every public function of `fps_jax.attacks` refuses what does not fit."""

import jax
import numpy as np
import pytest

from fps_jax import attacks
from fps_jax.attacks import (
  ascent,
  bounded_distance,
  data,
  hidden,
  knowledge,
  malicious,
  mean_shift,
  mimic,
  simple,
  trusted_direction,
  updates,
)
from tests.helpers.inputs import Case, check, public_names

UPDATES = np.float32([[1, 2, 0], [3, 4, 0], [5, 6, 0], [7, 9, 0]])
MALICIOUS = np.array([True, False, False, True])
PRESENT = np.array([True, True, False, True])
IMAGES = np.zeros((4, 8, 8, 1), np.uint8)
LABELS = np.int32([0, 1, 2, 3])
KEY = jax.random.key(0)
KNOWN = knowledge.know(UPDATES, MALICIOUS, PRESENT)
NOT_POSITIVE = (0, -1.0, np.nan, np.inf, '1')
NO_CLASSES = (1, -1, 2.5, True)
ATTACKED = {
  'updates_CxM': UPDATES,
  'malicious_C': MALICIOUS,
  'present_C': PRESENT,
}


def with_number(function, name: str) -> Case:
  return Case(function, {name: 1.0}, wrong={name: NOT_POSITIVE})


CASES = {
  'knowledge.know': Case(
    knowledge.know,
    {**ATTACKED, 'num_values': 2},
    wrong={'num_values': (-1, 4, 1.5, True)},
    # The others are named.
    free=('updates_CxM',),
  ),
  'knowledge.products': Case(
    knowledge.products,
    {'rows_CxM': UPDATES, 'others': UPDATES.T},
    any_rank=('rows_CxM', 'others'),
  ),
  'mimic.mimic': Case(
    mimic.mimic, {'target': 'first'}, wrong={'target': ('last', 1)}
  ),
  'mimic.principal_scores': Case(
    mimic.principal_scores,
    {'centred_CxM': UPDATES, 'key': KEY},
    free=('centred_CxM',),
  ),
  'ascent.ascent': Case(
    ascent.ascent,
    {'goal': 'away', 'steps': 2, 'keep': 0.5, 'reach': 2.0},
    wrong={
      'goal': ('up', 1),
      'steps': (0, 1.5, True),
      'keep': (-0.1, 1.1, np.nan, True),
      'reach': NOT_POSITIVE,
    },
  ),
  'trusted_direction.trusted_direction': Case(
    trusted_direction.trusted_direction,
    {'cosine': 0.5},
    wrong={'cosine': (0, 1.1, np.nan, True)},
  ),
  'hidden.hidden': with_number(hidden.hidden, 'deviations'),
  'bounded_distance.min_max': Case(
    bounded_distance.min_max,
    {'direction': 'unit'},
    wrong={'direction': ('up', 1)},
  ),
  'bounded_distance.min_sum': Case(
    bounded_distance.min_sum,
    {'direction': 'unit'},
    wrong={'direction': ('up', 1)},
  ),
  'bounded_distance.unit_direction': Case(
    bounded_distance.unit_direction,
    {'known': KNOWN, 'direction': 'unit'},
    wrong={'direction': ('up', 1)},
  ),
  'mean_shift.alie': with_number(mean_shift.alie, 'deviations'),
  'mean_shift.ipm': with_number(mean_shift.ipm, 'epsilon'),
  'simple.sign_flip': with_number(simple.sign_flip, 'scale'),
  'simple.scaling': with_number(simple.scaling, 'factor'),
  'simple.gaussian': with_number(simple.gaussian, 'deviation_factor'),
  'simple.wrap_around': with_number(simple.wrap_around, 'limit'),
  'malicious.choose_malicious': Case(
    malicious.choose_malicious,
    {
      'num_clients': 10,
      'fraction': 0.5,
      'generator': np.random.default_rng(0),
    },
    wrong={
      'num_clients': (0, 1.5, True),
      'fraction': (-0.1, 1.0, np.nan),
    },
  ),
  'data.label_flip': Case(
    data.label_flip, {'num_classes': 4}, wrong={'num_classes': NO_CLASSES}
  ),
  'data.backdoor': Case(
    data.backdoor,
    {'num_classes': 4, 'size': 3, 'fraction': 0.5, 'target': 0},
    wrong={
      'num_classes': NO_CLASSES,
      'size': (0, 1.5, True),
      'fraction': (0, 1.1, np.nan),
      'target': (-1, 4, 1.5, True),
    },
  ),
  'data.make_data': Case(
    data.make_data,
    {'name': 'label_flip', 'num_classes': 4},
    wrong={'num_classes': NO_CLASSES},
  ),
}
# What takes a `Knowledge`, which `know` has checked, or names alone.
OTHERS = {
  'knowledge.num_honest',
  'knowledge.honest_updates',
  'knowledge.mean',
  'knowledge.centred',
  'knowledge.malicious_mean',
  'knowledge.mean_square',
  'knowledge.unit',
  'outcome.make_outcome',
  'knowledge.standard_deviation',
  'mean_shift.largest_deviations',
  'updates.make',
}


def test_every_public_function_is_in_a_list() -> None:
  assert public_names(attacks) == {*CASES, *OTHERS}


@pytest.mark.parametrize('name', CASES)
def test_arguments_that_do_not_fit_are_refused_by_name(name: str) -> None:
  check(CASES[name])


@pytest.mark.parametrize('name', updates.UPDATE_ATTACKS)
def test_attack_on_updates_refuses_what_does_not_fit(name: str) -> None:
  args = {'limit': 1.0} if name == 'wrap_around' else {}
  attack = updates.make(name, **args)
  arguments = {**ATTACKED, 'key': KEY, 'num_values': 2}
  wrong = {'num_values': (-1, 4, 1.5)}
  check(Case(attack, arguments, wrong=wrong, free=('updates_CxM',)))


@pytest.mark.parametrize('name', data.DATA_ATTACKS)
def test_attack_on_data_refuses_what_does_not_fit(name: str) -> None:
  attack = data.make_data(name, 4)

  def corrupt(images, labels_B, malicious):
    return attack.corrupt(images, labels_B, malicious)

  arguments = {
    'images': IMAGES,
    'labels_B': LABELS,
    'malicious': np.array(True),
  }
  check(Case(corrupt, arguments, free=('images',)))
  if attack.trigger:
    check(Case(attack.trigger, {'images': IMAGES}, free=('images',)))
