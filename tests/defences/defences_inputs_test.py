"""Every public function of `fps_jax.defences` refuses what does not fit."""

import jax
import numpy as np
import pytest

from fps_jax import defences
from fps_jax.defences import (
  coordinate_rules,
  gram,
  iterative,
  krum,
  order,
  pre_steps,
  scaling,
)
from tests.helpers.inputs import Case, check, public_names

PRESENT = np.array([True, True, False, True])
UPDATES = np.float32([[1, 2], [3, 4], [5, 6], [7, 9]])
GRAM = UPDATES @ UPDATES.T
WITH_ROOT = np.pad(GRAM, ((0, 1), (0, 1)), constant_values=1)
NORMS = np.float32([1, 2, 3, 4])
KEY = jax.random.key(0)
WRONG_COUNTS = {'num_malicious': (-1, 1.5, True, np.int32([1]))}
NOT_POSITIVE = (0, -1.0, np.nan, np.inf, '1')
PARTIES = {'present_C': PRESENT, 'num_malicious': np.int32(1)}


def gram_case(function, wrong=None, **arguments) -> Case:
  """Returns the case of a rule; an absent client more has the other named."""
  return Case(
    function,
    {'gram_CxC': GRAM, **PARTIES, **arguments},
    wrong={**WRONG_COUNTS, **(wrong or {})},
    free=('present_C',),
    names={'gram_CxC': 'gram_VxV'},
  )


def updates_case(function) -> Case:
  return Case(
    function,
    {'updates_CxM': UPDATES, **PARTIES},
    wrong=WRONG_COUNTS,
    free=('present_C',),
  )


def any_gram_case(function, **arguments) -> Case:
  """Returns the case of a rule that does not read the Gram matrix."""
  return Case(
    function,
    {'gram_CxC': GRAM, **PARTIES, **arguments},
    wrong={
      **WRONG_COUNTS,
      **{name: (0, 1.5) for name in arguments if name != 'key'},
    },
    free=('present_C',),
    any_type=('gram_CxC',),
  )


CASES = {
  'defence.make': Case(
    defences.make,
    {'name': 'krum', 'num_malicious': 1, 'pre_steps': (), 'cohort_size': 5},
    wrong={
      'num_malicious': (-1, 1.5, True),
      'cohort_size': (0, 1.5, True),
    },
  ),
  'defence.check': Case(
    defences.check,
    {'name': 'krum', 'num_malicious': 1, 'cohort_size': 9},
    wrong={
      'num_malicious': (-1, 1.5, True),
      'cohort_size': (0, 1.5, True),
    },
  ),
  'gram.check': Case(
    gram.check,
    {'gram_VxV': GRAM, **PARTIES},
    wrong=WRONG_COUNTS,
    free=('present_C',),
  ),
  'gram.check_present': Case(
    gram.check_present, PARTIES, wrong=WRONG_COUNTS, free=('present_C',)
  ),
  'gram.leave_out': Case(
    gram.leave_out,
    {'gram_VxV': GRAM, 'present_C': PRESENT},
    free=('present_C',),
  ),
  'gram.squared_distances': Case(gram.squared_distances, {'gram_CxC': GRAM}),
  'gram.distances_to_centre': Case(
    gram.distances_to_centre, {'gram_CxC': GRAM, 'weights_C': NORMS}
  ),
  'gram.roots': Case(gram.roots, {'squares': NORMS}, any_rank=('squares',)),
  'gram.mix': Case(gram.mix, {'gram_VxV': GRAM, 'mixing_CxC': GRAM}),
  'iterative.geometric_median': gram_case(
    iterative.geometric_median,
    {'iterations': (0, 1.5), 'smoothing': NOT_POSITIVE},
    iterations=2,
    smoothing=0.1,
  ),
  'iterative.centred_clipping': gram_case(
    iterative.centred_clipping,
    {'iterations': (0, 1.5), 'radius_factor': NOT_POSITIVE},
    iterations=2,
    radius_factor=1.0,
  ),
  'krum.krum': gram_case(krum.krum),
  'krum.multi_krum': gram_case(krum.multi_krum),
  'krum.scores': Case(
    krum.scores,
    {'distances_CxC': GRAM, **PARTIES},
    wrong=WRONG_COUNTS,
    free=('present_C',),
  ),
  'scaling.mean': any_gram_case(scaling.mean),
  'scaling.norm_bound': gram_case(
    scaling.norm_bound, {'factor': NOT_POSITIVE}, factor=1.0
  ),
  'scaling.fltrust': Case(
    scaling.fltrust,
    {'gram_VxV': WITH_ROOT, **PARTIES, 'max_scale': 2.0},
    wrong={**WRONG_COUNTS, 'max_scale': NOT_POSITIVE},
    free=('present_C',),
  ),
  'scaling.scale_to': Case(
    scaling.scale_to,
    {'lengths_C': NORMS, 'bound': np.float32(2)},
    free=('lengths_C',),
    any_type=('bound',),
    wrong={'bound': (2, np.float64(2), NORMS)},
  ),
  'order.count': Case(order.count, {'present_C': PRESENT}, free=('present_C',)),
  'order.ranks': Case(order.ranks, {'values': NORMS}, any_rank=('values',)),
  'order.median': Case(
    order.median,
    {'values': NORMS, 'num_present': np.int32(3)},
    any_rank=('values',),
    wrong={'num_present': (0, 5, 1.5)},
  ),
  'pre_steps.nnm': gram_case(pre_steps.nnm, key=KEY),
  'pre_steps.trust': Case(
    pre_steps.trust,
    {'gram_VxV': WITH_ROOT, **PARTIES, 'key': KEY},
    wrong=WRONG_COUNTS,
    free=('present_C',),
  ),
  'pre_steps.bucketing': any_gram_case(pre_steps.bucketing, key=KEY, size=2),
  'coordinate_rules.check': updates_case(coordinate_rules.check),
  'coordinate_rules.median': updates_case(coordinate_rules.median),
  'coordinate_rules.trimmed_mean': updates_case(coordinate_rules.trimmed_mean),
  'coordinate_rules.bulyan': updates_case(coordinate_rules.bulyan),
}
# Of names alone, which `make` and `check` check; and what takes lists, too,
# which a test of its own is about.
OTHERS = {'defence.needs_root', 'defence.selects_one', 'aggregate.aggregate'}


def test_every_public_function_is_in_a_list() -> None:
  assert public_names(defences) == {*CASES, *OTHERS}


@pytest.mark.parametrize('name', CASES)
def test_arguments_that_do_not_fit_are_refused_by_name(name: str) -> None:
  check(CASES[name])


@pytest.mark.parametrize('name', defences.GRAM_RULES)
def test_defence_by_inner_products_refuses_what_does_not_fit(name: str) -> None:
  args = {
    'geometric_median': {'iterations': 2, 'smoothing': 0.1},
    'centred_clipping': {'iterations': 2, 'radius_factor': 1.0},
    'norm_bound': {'factor': 1.0},
    'fltrust': {'max_scale': 2.0},
  }
  defence = defences.make(name, 1, args={name: args.get(name, {})})
  matrix = WITH_ROOT if defence.needs_root else GRAM
  arguments = {'gram_VxV': matrix, 'present_C': PRESENT, 'key': KEY}

  def weigh(gram_VxV, present_C, key):
    return defence.weigh(gram_VxV, present_C, key)

  check(Case(weigh, arguments, free=('gram_VxV', 'present_C')))


@pytest.mark.parametrize('name', defences.COORDINATE_RULES)
def test_defence_by_coordinates_refuses_what_does_not_fit(name: str) -> None:
  defence = defences.make(name, 1)
  arguments = {'updates_CxM': UPDATES, 'present_C': PRESENT}
  check(Case(defence.aggregate, arguments, free=('present_C',)))
