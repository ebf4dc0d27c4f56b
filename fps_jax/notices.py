"""What the log says of a run that is sound, but maybe not what was meant."""

from collections.abc import Sequence

from absl import logging
from ml_collections import ConfigDict

from fps_jax.defences import LEAST_COHORT
from fps_jax.metrics import MetricsRow
from fps_jax.types import PruningPlan

_MUCH_CLIPPED = 0.01
_MUCH_LESS_SPARSE = 0.001


def before_runs(
  title: str,
  config: ConfigDict,
  plans: Sequence[PruningPlan],
  num_params: int,
) -> None:
  """Says where settings do not come to what they seem to.

  Args:
    title: of the variant.
    config: of the variant.
    plans: of all rounds.
    num_params: D.
  """
  _warn_of_defence(title, config)
  if config.pruning.schedule != 'none':
    _warn_of_schedule(title, config.pruning, plans, num_params)


def _warn_of_defence(title: str, config: ConfigDict) -> None:
  defence, size = config.defence, config.cohort.size
  expected = round(config.attack.malicious * size)
  counts = [
    name
    for name in (defence.name, *defence.pre_steps)
    if LEAST_COHORT.get(name, (2, 1))[0]
  ]
  if defence.name != 'none' and counts and expected > defence.num_malicious:
    logging.warning(
      '%s: %s bears defence.num_malicious=%d clients, and of cohort.size=%d '
      'about %d are malicious (attack.malicious=%.4g): raise it to bear them',
      title,
      ' after '.join(counts),
      defence.num_malicious,
      size,
      expected,
      config.attack.malicious,
    )


def _warn_of_schedule(
  title: str,
  pruning: ConfigDict,
  plans: Sequence[PruningPlan],
  num_params: int,
) -> None:
  left = int(plans[-1].keep_count - plans[-1].num_candidates)
  last = 1 - left / num_params
  if pruning.sparsity - last > _MUCH_LESS_SPARSE:
    logging.warning(
      '%s: the last of %d rounds has a sparsity of %.4g, not '
      'pruning.sparsity=%.4g: lower pruning.begin_round=%d and end_round=%d, '
      'or raise num_rounds',
      title,
      len(plans),
      last,
      pruning.sparsity,
      pruning.begin_round,
      pruning.end_round,
    )
  if pruning.regrow_every and not any(plan.num_regrown for plan in plans):
    logging.warning(
      '%s: in none of %d rounds does anything grow back: let a multiple of '
      'pruning.regrow_every=%d, below pruning.regrow_end_round=%d, be a round '
      'that prunes',
      title,
      len(plans),
      pruning.regrow_every,
      pruning.regrow_end_round,
    )


def after_run(
  title: str, seed: int, rows: Sequence[MetricsRow], emptied: Sequence[str]
) -> None:
  """Says what a run lost on its way: layers, values, updates, rounds.

  Args:
    title: of the variant.
    seed: of the run.
    rows: of all its rounds.
    emptied: paths of the layers of which pruning left nothing.
  """
  if emptied:
    logging.warning(
      '%s, seed %d: nothing is left of %s: prune later, or choose '
      "pruning.scope='erk' or another pruning.exempt",
      title,
      seed,
      ', '.join(emptied),
    )
  clipped = max(row['clipped_fraction'] or 0.0 for row in rows)
  if clipped > _MUCH_CLIPPED:
    logging.warning(
      '%s, seed %d: up to %.1f %% of the values of a round were clipped: raise '
      'sharing.clip',
      title,
      seed,
      100 * clipped,
    )
  not_finite = sum(row['clients_not_finite'] for row in rows)
  if not_finite:
    logging.warning(
      '%s, seed %d: %d updates were not finite and left out',
      title,
      seed,
      not_finite,
    )
  idle = sum(
    not row['clients_reporting'] and row['clients_too_slow'] > 0 for row in rows
  )
  if idle:
    logging.warning(
      '%s, seed %d: in %d of %d rounds no client was in time: raise '
      'profiles.deadline_seconds or lower the first of pruning.tiers',
      title,
      seed,
      idle,
      len(rows),
    )
  failed = sum(row['failed_attempts'] > 0 for row in rows)
  if failed:
    logging.warning(
      '%s, seed %d: %d of %d rounds failed and were tried again or skipped',
      title,
      seed,
      failed,
      len(rows),
    )
