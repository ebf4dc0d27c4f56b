"""The section `pruning`: which parameters are kept, when, and by whom."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.checks import choice, each, whole, within
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.sharing import is_shared, scheme_of
from fps_jax.core.registry import is_number
from fps_jax.core.types import Params, PruningPlan
from fps_jax.pruning import masks, schedules, scores, selection
from fps_jax.pruning.pruner import (
  REGROW_RULES,
  SERVERS,
  Pruner,
  check,
  check_patterns,
)
from fps_jax.pruning.regrowth import Regrowth
from fps_jax.pruning.schedules import SCHEDULES
from fps_jax.pruning.scopes import SCOPES
from fps_jax.pruning.scores import SCORES
from fps_jax.pruning.selection import MASKS

# For the layers of any model.
_EXEMPT = ('bias$', 'scale$', '^output/')


def _pattern(value: Any) -> Iterator[str]:
  try:
    re.compile(value)
  except (re.error, TypeError) as error:
    yield f'must be a regular expression ({error})'


def _ascending(value: Any) -> Iterator[str]:
  if not isinstance(value, tuple) or not all(map(is_number, value)):
    yield 'must be numbers'
  elif not value or not value[0] > 0 or value[-1] != 1:
    yield 'must be above 0 and end with 1'
  elif not all(low < high for low, high in itertools.pairwise(value)):
    yield 'must ascend strictly'


def _schedule(config: ConfigDict) -> Iterator[str]:
  yield from collect('pruning', lambda: make_schedule(config.pruning))


def _mask(config: ConfigDict) -> Iterator[str]:
  pruning = config.pruning
  settings = (pruning.scope, pruning.server, pruning.regrow_every)
  yield from collect('pruning', lambda: check(*settings, pruning.regrow_rule))
  yield from collect(
    'pruning',
    lambda: scores.check(pruning.score, pruning.mask, *settings[1:]),
  )
  yield from collect(
    'pruning',
    lambda: selection.check(pruning.mask, *settings, len(pruning.tiers)),
  )


def _saliency(config: ConfigDict) -> Iterator[str]:
  """What a round that prunes nothing says of all weights needs such a round."""
  pruning = config.pruning
  if pruning.score != 'saliency':
    return

  def check_first_round() -> None:
    if make_schedule(pruning)(0) > 0:
      raise ValueError(
        f'score={pruning.score!r} is what a round says that prunes nothing, '
        f'but schedule={pruning.schedule!r} with begin_round='
        f'{pruning.begin_round} prunes in the first: set begin_round=1'
      )

  yield from collect('pruning', check_first_round)


def _own_mask(config: ConfigDict) -> Iterator[str]:
  """What clients choose by themselves must be of a kind that can be summed."""
  mask, sharing = config.pruning.mask, config.sharing
  if not has_own_masks(config):
    return
  if not scheme_of(config).sums_own_masks:
    yield (
      f'pruning.mask={mask!r} with sharing.scheme={sharing.scheme!r}: choose '
      "'ideal', which opens to the same sums and counts the bytes of shares "
      'and positions'
    )
  elif is_shared(config) and sharing.secrets_per_polynomial > 1:
    yield (
      f'pruning.mask={mask!r} with sharing.secrets_per_polynomial='
      f'{sharing.secrets_per_polynomial}: words that pack values of different '
      'positions cannot be added; set it to 1'
    )
  elif is_shared(config) and sharing.reveal == 'updates':
    yield (
      f"pruning.mask={mask!r} with sharing.reveal='updates': a client's values "
      "cannot be opened without their positions; use sharing.reveal='sum'"
    )


def _tiers(config: ConfigDict) -> Iterator[str]:
  pruning = config.pruning
  if pruning.schedule == 'none' or len(pruning.tiers) == 1:
    return
  if not config.profiles.deadline_seconds:
    yield (
      'profiles.deadline_seconds=0 lets every client train the last of '
      f'pruning.tiers={pruning.tiers}: set a deadline, or tiers=(1.0,)'
    )
  if SCOPES[pruning.scope].sees_whole_layer:
    fit = [name for name in SCOPES if not SCOPES[name].sees_whole_layer]
    yield (
      f'pruning.scope={pruning.scope!r} with pruning.tiers={pruning.tiers}: '
      'clients cannot order what they receive by norms of what they do not; '
      f'use one of {fit}'
    )
  if is_shared(config) and config.sharing.reveal == 'updates':
    yield (
      f'pruning.tiers={pruning.tiers} are summed, and opened, a band at a '
      "time: use sharing.reveal='sum', not 'updates'"
    )


def _part(config: ConfigDict) -> Iterator[str]:
  pruning = config.pruning
  if not trains_part(config):
    return
  usual = {'mask': 'shared', 'regrow_every': 0, 'tiers': (1.0,)}
  if pruning.score == 'saliency':  # Of a round that trains everything.
    usual['score'] = 'magnitude'
  for name, value in usual.items():
    found = getattr(pruning, name)
    if found != value:
      yield (
        f'pruning.trained_fraction={pruning.trained_fraction} with '
        f'pruning.{name}={found!r}: set it to 1, or pruning.{name} to '
        f'{value!r}'
      )


SECTION = Section(
  'pruning',
  {
    'schedule': Field('cubic', choice(SCHEDULES)),
    'sparsity': Field(
      0.9, within(0, 1, '[)'), 'final fraction of ALL parameters removed'
    ),
    'begin_round': Field(0, whole(0)),
    'end_round': Field(20, whole(0), 'first round at the final sparsity'),
    'num_steps': Field(4, whole(1), 'of the schedule step'),
    'exempt': Field(
      _EXEMPT,
      each(_pattern),
      'parameters whose path matches are never pruned, but are shared',
    ),
    'mask': Field(
      'shared',
      choice(MASKS),
      'or local, top_k: clients train everything and choose what they send',
    ),
    'scope': Field('erk', choice(SCOPES), 'or global, layer_normalised'),
    'score': Field(
      'magnitude',
      choice(SCORES),
      'or initial_magnitude, random, saliency: masks are chosen once',
    ),
    'server': Field(
      'dense', choice(SERVERS), 'remembers what is pruned; or sparse: forgets'
    ),
    'trained_fraction': Field(
      1.0,
      within(0, 1, '(]'),
      'of ALL parameters, trained and shared in a round at most: drawn anew '
      'each round among those that are kept',
    ),
    'regrow_every': Field(0, whole(0), 'rounds; 0: pruned weights stay pruned'),
    'regrow_fraction': Field(
      0.3, within(0, 0.5, '(]'), 'of prunable kept weights, at first'
    ),
    'regrow_end_round': Field(20, whole(0), 'first round without regrowth'),
    'candidates_per_regrown': Field(
      2.0, within(1, 1e6), 'pruned weights tried out'
    ),
    'regrow_rule': Field(
      'movement',
      choice(REGROW_RULES),
      'or magnitude: the largest of kept weights and candidates stay',
    ),
    'tiers': Field(
      (1.0,),
      _ascending,
      'of the prunable parameters that a round keeps, the part that each tier '
      'of clients trains, ascending to 1; the deadline decides the tier',
    ),
  },
  (_schedule, _mask, _saliency, _own_mask, _tiers, _part),
)


def mask_of(config: ConfigDict) -> str | None:
  """Returns one of `selection.MASKS`; None where all is trained and sent."""
  pruning = config.pruning
  if pruning.schedule == 'none' and not trains_part(config):
    return None
  return pruning.mask


def trains_part(config: ConfigDict) -> bool:
  """Returns whether clients train a part of what is not pruned."""
  return config.pruning.trained_fraction < 1


def has_own_masks(config: ConfigDict) -> bool:
  """Returns whether each client chooses what it sends."""
  return mask_of(config) not in (None, 'shared')


def shares_mask(config: ConfigDict) -> bool:
  """Returns whether all clients train and share the same parameters."""
  return mask_of(config) == 'shared'


def prunes_model(config: ConfigDict) -> bool:
  """Returns whether the model that clients receive is pruned."""
  return shares_mask(config) and config.pruning.schedule != 'none'


def make_schedule(pruning: ConfigDict) -> schedules.Schedule:
  """Returns the schedule of sparsity of a config's section `pruning`.

  Raises:
    ValueError: if a number is out of range or the name unknown.
  """
  return schedules.make(
    pruning.schedule,
    pruning.sparsity,
    pruning.begin_round,
    pruning.end_round,
    pruning.num_steps,
  )


def make_regrowth(pruning: ConfigDict) -> Regrowth:
  """Returns the schedule of regrowth of a config's section `pruning`.

  Raises:
    ValueError: if a number is out of range.
  """
  return Regrowth(
    pruning.regrow_every,
    pruning.regrow_fraction,
    pruning.regrow_end_round,
    pruning.candidates_per_regrown,
  )


def make_pruner(config: ConfigDict, template: Params) -> Pruner:
  """Returns how parameters of a model are chosen.

  Raises:
    ValueError: if a pattern of what is exempt matches no parameter.
  """
  pruning = config.pruning
  check_patterns(template, pruning.exempt, _EXEMPT)
  return Pruner.of(
    template,
    pruning.exempt,
    scope=pruning.scope,
    score=pruning.score,
    regrows=pruning.regrow_every > 0,
    regrow_rule=pruning.regrow_rule,
  )


def make_plans(
  config: ConfigDict, num_params: int, pruner: Pruner
) -> tuple[PruningPlan, ...]:
  """Returns how many parameters each round keeps, on the host.

  Raises:
    ValueError: if the exempt parameters are more than the sparsity leaves.
  """
  pruning, num_exempt = config.pruning, pruner.num_exempt
  tiers = pruning.tiers if pruning.schedule != 'none' else (1.0,)
  if pruning.schedule != 'none':
    # The final sparsity first, so that an error names what the user set.
    masks.keep_count(num_params, pruning.sparsity, num_exempt)
  schedule, regrowth = make_schedule(pruning), make_regrowth(pruning)
  plans = []
  for r in range(config.num_rounds):
    count = masks.keep_count(num_params, schedule(r), num_exempt)
    regrown, candidates = regrowth.counts(
      r, count - num_exempt, num_params - count
    )
    counts = masks.tier_counts(count, tiers, num_exempt)
    layers = [pruner.layer_counts(count) for count in counts]
    plan = PruningPlan(
      keep_counts_T=np.array([*counts[:-1], count + candidates], np.int32),
      num_candidates=candidates,
      num_regrown=regrown,
      layer_counts_TxA=None if layers[0] is None else np.array(layers),
    )
    plans.append(_train_part(config, plan, num_params, pruner))
  return tuple(plans)


def _train_part(
  config: ConfigDict, plan: PruningPlan, num_params: int, pruner: Pruner
) -> PruningPlan:
  """Returns the plan of a round that trains a part of what `plan` keeps."""
  if not trains_part(config):
    return plan
  count = count_trained(
    config, num_params, int(plan.keep_count), pruner.num_exempt
  )
  return PruningPlan.keeping(count, pruner.layer_counts(count), model=plan)


def count_trained(
  config: ConfigDict, num_params: int, num_kept: int, num_exempt: int = 0
) -> int:
  """Returns how many parameters a round trains and shares.

  Args:
    config: the config of one variant, valid.
    num_params: D.
    num_kept: those of them that are not pruned.
    num_exempt: those of them that are always trained.

  Raises:
    ValueError: if more are exempt than the fraction is of.
  """
  fraction = config.pruning.trained_fraction
  most = num_params - round((1 - fraction) * num_params)
  if most < max(1, num_exempt):
    least = math.ceil(1e4 * max(1, num_exempt) / num_params) / 1e4
    raise ValueError(
      f'pruning.trained_fraction={fraction} trains {most} of {num_params} '
      f'parameters, but must train the {num_exempt} exempt from pruning and at '
      f'least one: raise it above {least} or exempt fewer (pruning.exempt)'
    )
  return min(num_kept, most)
