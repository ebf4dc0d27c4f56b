"""A study that is to have other rounds than it began with: whether it can.

It can if what has run is what would have run, had it begun with as many.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fps_jax.config import build
from fps_jax.config.sections import privacy, pruning
from fps_jax.config.sections.client import make_factors
from fps_jax.core.types import PruningPlan
from fps_jax.jobs.study_run import StudyRun
from fps_jax.privacy.distributed import DistributedPrivacy
from fps_jax.results.metrics import TYPES, MetricsRow
from fps_jax.results.metrics_file import (
  has_ended,
  has_reached_accuracy,
  read_metrics,
)
from fps_jax.runs.checkpoints import last_round


def check(run: StudyRun, folder: pathlib.Path, before: int) -> None:
  """Checks that a run can go on to the rounds that its config has now.

  Guarantee: if it can, its models and its metrics, but for times, are those,
  bit for bit, that it would have had with as many rounds from the start; a
  round that was evaluated as it was the last loses its evaluation. Columns of
  the user's own may be made of that: such a run cannot.

  Args:
    run: as it is to be.
    folder: of the run.
    before: rounds that it was to have, not as many as now.

  Raises:
    ValueError: if it cannot; the message names the field.
  """
  path = folder / 'metrics.jsonl'
  # A last line may be torn.
  rows = read_metrics(path, needed=()) if path.exists() else []
  if not rows:
    return
  num_rounds, done = run.variant.num_rounds, len(rows)
  start = f'{run.title}: num_rounds={before} there, {num_rounds} now: '
  if done > num_rounds or (done == num_rounds and not has_ended(rows)):
    raise ValueError(
      f'{start}{done} rounds have run; a study goes on to more rounds than it '
      'has run, give another --workdir or --overwrite'
    )
  cure = '; give another --workdir or --overwrite to begin anew'
  for field, problem in _problems(run, folder, before, rows):
    raise ValueError(f'{start}{field} {problem}{cure}')


def _problems(
  run: StudyRun,
  folder: pathlib.Path,
  before: int,
  rows: Sequence[MetricsRow],
) -> Iterator[tuple[str, str]]:
  """Yields fields, and how they would make a difference to what has run."""
  variant, done = run.variant, len(rows)
  every, is_whole = variant.eval.every_rounds, done == before
  if (
    is_whole and not has_ended(rows) and not last_round(folder / 'checkpoints')
  ):
    yield (
      f'checkpoint.every_rounds={variant.checkpoint.every_rounds}',
      f'has left no checkpoint of its {done} rounds to go on from',
    )
  if (
    is_whole
    and before % every
    and (has_ended(rows) or variant.checkpoint.keep_best)
  ):
    yield (
      f'eval.every_rounds={every}',
      f'has round {before} evaluated only as it was the last, which decided '
      'when the run ends, or which model is best',
    )
  own = [name for name in rows[-1] if name not in TYPES]
  for name in ('every_rounds', 'by_client_every_rounds'):
    every = variant.eval[name]
    loses = is_whole and every and before % every
    if own and loses and not has_reached_accuracy(rows):
      yield (
        f'eval.{name}={every}',
        f'has round {before} evaluated only as it was the last, of which '
        f'columns of your own, {", ".join(own)}, may be made',
      )
  old = variant.copy_and_resolve_references()
  old.num_rounds = before
  then, now = (_planned(config, run) for config in (old, variant))
  for field, planned in now.items():
    for r in range(done):
      if not _equal(planned[r], then[field][r]):
        yield field, f'would have made round {r + 1} another, and it has run'
        return


def _planned(config: ConfigDict, run: StudyRun) -> Mapping[str, Sequence[Any]]:
  """Returns what each round goes by that may depend on how many there are.

  By the name of the field that has it from there; one entry a round.
  """
  simulation = run.simulation
  num_params = simulation.accounts.num_params
  template = simulation.accounts.model.unravel(jnp.zeros(num_params))
  plans = pruning.make_plans(
    config, num_params, pruning.make_pruner(config, template)
  )
  planned: dict[str, Sequence[Any]] = {
    f'pruning.schedule={config.pruning.schedule!r}': plans
  }
  for section in ('client', 'server'):
    factors = make_factors(config, section)
    if factors is None:
      factors = np.ones(config.num_rounds, np.float32)
    planned[f'{section}.schedule={config[section].schedule!r}'] = list(factors)
  # Epsilon is counted as if all rounds had the noise of this config.
  source = 'epsilon' if config.privacy.epsilon else 'wrap_probability'
  planned[
    f'privacy.{source}={config.privacy[source]:g}, from which noise follows,'
  ] = [_noise(config, plans)] * config.num_rounds
  if config.attack.updates != 'none' or config.defence.name != 'none':
    # Sketches and noise are drawn for whole tiles, which fit the last round.
    tiling = build.make_tiling(config, num_params, simulation.protocol, plans)
    most = max(int(plan.keep_count) for plan in plans)
    planned[
      f'pruning.end_round={config.pruning.end_round}, by which the last round '
      'keeps other parameters, for which updates are cut into tiles,'
    ] = [(tiling, most)] * config.num_rounds
  return planned


def _noise(config: ConfigDict, plans: Sequence[PruningPlan]) -> Any:
  """Returns the noise of every round; None where nobody adds any."""
  noise = privacy.make_privacy(config, plans)
  if not isinstance(noise, DistributedPrivacy):
    return noise
  mechanism = noise.codec.mechanism
  # That there are more rounds is no difference by itself.
  return mechanism._replace(words=mechanism.words._replace(rounds=1))


def _equal(one: Any, other: Any) -> bool:
  leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
  return len(leaves) == len(others) and all(map(np.array_equal, leaves, others))
