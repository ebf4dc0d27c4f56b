"""Every public function of `fps_jax.pruning` refuses what does not fit."""

import jax
import numpy as np
import pytest

from fps_jax import pruning
from fps_jax.core.types import PruningPlan
from fps_jax.pruning import (
  erk,
  masks,
  pruner,
  regrowth,
  schedules,
  scopes,
  scores,
  selection,
)
from tests.helpers.inputs import Case, check, public_names

WEIGHTS = np.float32([0.5, -1.0, 2.0, 0.0, -3.0, 1.0])
EXEMPT = np.array([False, True, False, False, False, False])
KEPT = np.array([True, True, True, False, False, False])
PRUNER = pruner.Pruner(((2, 2), (2,)), (False, True), regrows=True)
PLAN = PruningPlan(
  keep_counts_T=np.int32([3, 5]),
  num_candidates=np.int32(1),
  num_regrown=np.int32(1),
  layer_counts_TxA=None,
)
KEY = jax.random.key(0)
REGROWTH = regrowth.Regrowth(2, 0.5, 10, 2.0)
NUMBERS = (-1, 1.5, True)

CASES = {
  'masks.keep_largest': Case(
    masks.keep_largest,
    {'weights_D': WEIGHTS, 'keep_count': 2, 'exempt_D': EXEMPT},
    # Fewer than are exempt, too.
    wrong={'keep_count': (*NUMBERS, 0, np.int32([2]))},
    # The other one is named.
    free=('weights_D',),
  ),
  'masks.kept_indices': Case(
    masks.kept_indices,
    {'mask_D': KEPT, 'size': 4},
    wrong={'size': (*NUMBERS, 2)},
    free=('mask_D',),
  ),
  'masks.keep_count': Case(
    masks.keep_count,
    {'num_params': 10, 'sparsity': 0.5, 'num_exempt': 2},
    wrong={
      'num_params': (*NUMBERS, 0),
      'sparsity': (-0.1, 1.0, np.nan),
      'num_exempt': (*NUMBERS, 11),
    },
  ),
  'masks.check_sparsity': Case(
    masks.check_sparsity,
    {'sparsity': 0.5},
    wrong={'sparsity': (-0.1, 1.0, np.nan)},
  ),
  'masks.tier_counts': Case(
    masks.tier_counts,
    {'keep_count': 10, 'tiers': (0.5, 1.0), 'num_exempt': 2},
    wrong={
      'keep_count': (*NUMBERS, 1),
      'tiers': ((), (0.5,), (np.nan, 1.0), ('a', 1.0), (0.5, 0.5, 1.0)),
      'num_exempt': NUMBERS,
    },
  ),
  'erk.counts_per_layer': Case(
    erk.counts_per_layer,
    {'shapes': [(2, 2), (2,)], 'exempt': [False, True], 'keep_count': 4},
    wrong={
      'shapes': ([(2, 2)], [(2, 2), (2.0,)], [(2, -1), (2,)]),
      'exempt': ([False],),
      'keep_count': (-1, 1, 7, 4.0),
    },
  ),
  'erk.check_layers': Case(
    erk.check_layers,
    {'shapes': [(2, 2)], 'exempt': [False]},
    wrong={'exempt': ([False, True],)},
  ),
  'pruner.Pruner': Case(
    pruner.Pruner,
    {
      'shapes': ((2, 2),),
      'exempt': (False,),
      'scope': 'global',
      'score': 'magnitude',
      'regrow_rule': 'movement',
    },
    wrong={
      'exempt': ((False, True),),
      'scope': ('nowhere',),
      'score': ('luck',),
      'regrow_rule': ('luck',),
    },
  ),
  'pruner.Pruner.keep': Case(
    PRUNER.keep,
    {'params_D': WEIGHTS, 'plan': PLAN, 'tier': 0},
    wrong={'tier': (-2, 2, 0.0)},
  ),
  'pruner.Pruner.draw_candidates': Case(
    PRUNER.draw_candidates,
    {'mask_D': KEPT, 'count': np.int32(1), 'key': KEY},
    wrong={'count': (-1, 1.5, 4)},
  ),
  'pruner.Pruner.draw_part': Case(
    PRUNER.draw_part, {'kept_D': KEPT, 'plan': PLAN, 'key': KEY}
  ),
  'pruner.Pruner.regrow': Case(
    PRUNER.regrow,
    {
      'params_D': WEIGHTS,
      'candidates_D': ~KEPT,
      'kept_D': KEPT,
      'plan': PLAN,
    },
  ),
  'regrowth.Regrowth': Case(
    regrowth.Regrowth,
    {
      'every': 2,
      'fraction': 0.5,
      'end_round': 10,
      'candidates_per_regrown': 2.0,
    },
    wrong={
      'every': NUMBERS,
      'fraction': (0, 0.6, np.nan),
      'end_round': NUMBERS,
      'candidates_per_regrown': (0.5, np.inf, np.nan),
    },
    names={
      'every': 'regrow_every',
      'fraction': 'regrow_fraction',
      'end_round': 'regrow_end_round',
    },
  ),
  'regrowth.Regrowth.counts': Case(
    REGROWTH.counts,
    {'round_number': 2, 'num_prunable': 10, 'num_pruned': 5},
    wrong={
      'round_number': NUMBERS,
      'num_prunable': NUMBERS,
      'num_pruned': NUMBERS,
    },
  ),
  'schedules.make': Case(
    schedules.make,
    {'name': 'step', 'sparsity': 0.5, 'begin_round': 1, 'end_round': 4},
    wrong={
      'sparsity': (-0.1, 1.0, np.nan),
      'begin_round': (*NUMBERS, 5),
      'end_round': (*NUMBERS, 0),
      'num_steps': (*NUMBERS, 0),
    },
  ),
  'scopes.Scope.score': Case(
    scopes.Scope().score, {'layer': WEIGHTS}, free=('layer',)
  ),
  'scopes.LayerNormalised.score': Case(
    scopes.LayerNormalised().score, {'layer': WEIGHTS}, free=('layer',)
  ),
  'scores.fixed': Case(
    lambda params_D: scores.fixed('random', params_D, jax.random.key(0)),
    {'params_D': WEIGHTS},
    free=('params_D',),
  ),
  'scores.saliency': Case(
    scores.saliency,
    {'params_D': WEIGHTS, 'update_D': WEIGHTS},
    # The other one is named.
    free=('params_D',),
  ),
  'selection.select_local': Case(
    selection.select_local,
    {
      'params_D': WEIGHTS,
      'delta_D': WEIGHTS,
      'count': 2,
      'exempt_D': EXEMPT,
    },
    wrong={'count': NUMBERS},
    # An array of another length is refused, and the other one named.
    free=('params_D',),
  ),
  'selection.select_top_k': Case(
    selection.select_top_k,
    {'delta_D': WEIGHTS, 'residual_D': WEIGHTS, 'count': 2},
    wrong={'count': NUMBERS},
    free=('delta_D',),
  ),
}
# What takes no array, or leaves the check to what it calls.
OTHERS = {
  'prune.prune',
  'prune.keep_mask',
  'pruner.Pruner.of',
  'pruner.Pruner.layer_counts',
  'pruner.check',
  'pruner.check_patterns',
  'pruner.emptied_layers',
  'pruner.named_layers',
  'schedules.none',
  'schedules.constant',
  'schedules.cubic',
  'schedules.step',
  'scopes.Scope.counts',
  'scopes.Scope.has_counts',
  'scopes.Erk.counts',
  'scores.check',
  'selection.check',
}


def test_every_public_function_is_in_a_list() -> None:
  assert public_names(pruning) == {*CASES, *OTHERS}


@pytest.mark.parametrize('name', CASES)
def test_arguments_that_do_not_fit_are_refused_by_name(name: str) -> None:
  check(CASES[name])


def test_round_before_the_first_has_no_sparsity() -> None:
  schedule = schedules.make('cubic', 0.5, 0, 4)
  for wrong in NUMBERS:
    with pytest.raises(ValueError, match=f'round_number={wrong}'):
      schedule(wrong)
