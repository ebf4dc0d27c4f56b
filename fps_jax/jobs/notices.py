"""What is said of a run that is sound, but maybe not what was meant.

`before_run` is the list of what settings come to: it is logged once, kept in
the work directory, and shown with the results. `after_run` says what a run lost
on its way.
"""

import itertools
import json
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.config.sections.client import make_factors
from fps_jax.config.sections.model import initial_folder, initial_model
from fps_jax.core import files
from fps_jax.defences import LEAST_COHORT
from fps_jax.jobs import notices_privacy, notices_sharing
from fps_jax.jobs.study_run import StudyRun
from fps_jax.results.metrics import MetricsRow
from fps_jax.results.titles import title_of
from fps_jax.runs.by_client import WORST
from fps_jax.runs.simulation import Simulation

_MUCH_CLIPPED = 0.01
_MUCH_CAPPED = 0.1
_MUCH_LESS_SPARSE = 0.001
_MANY_PASSES = 100
_MUCH_PADDING = 10
# Of so many, an accuracy of about one half is uncertain by ten points.
_FEW_TESTS = 25
_MUCH_REVIVED = 0.01
# Titles that a line names; of more, it says how many.
_NAMED = 4


def before_run(
  config: ConfigDict, simulations: Sequence[Simulation]
) -> Iterator[str]:
  """Yields a line for each setting that does not come to what it seems to.

  Args:
    config: of one variant, valid.
    simulations: its runs, one for each seed.
  """
  yield from _defence(config)
  yield from _schedule(config, simulations[0])
  yield from _part(config, simulations[0])
  yield from _regrowth(config, simulations[0])
  yield from _steps(config, simulations)
  yield from _learning_rates(config)
  yield from _by_client(simulations)
  yield from _stop(config)
  yield from _initial(config, simulations[0])
  yield from _held_out(config)
  yield from notices_sharing.before_run(config, simulations)
  yield from notices_privacy.before_run(config, simulations[0])


def _defence(config: ConfigDict) -> Iterator[str]:
  defence, size = config.defence, config.cohort.size
  expected = round(config.attack.malicious * size)
  counts = [
    name
    for name in (defence.name, *defence.pre_steps)
    if LEAST_COHORT.get(name, (2, 1))[0]
  ]
  if defence.name != 'none' and counts and expected > defence.num_malicious:
    yield (
      f'{" after ".join(counts)} bears defence.num_malicious='
      f'{defence.num_malicious} clients, and of cohort.size={size} about '
      f'{expected} are malicious (attack.malicious='
      f'{config.attack.malicious:.4g}): raise it to bear them'
    )


def _schedule(config: ConfigDict, run: Simulation) -> Iterator[str]:
  pruning, last = config.pruning, run.pruning_plans[-1]
  left = int(last.received_counts[-1] - last.num_candidates)
  sparsity = 1 - left / run.accounts.num_params
  if (
    pruning.schedule != 'none'
    and pruning.sparsity - sparsity > _MUCH_LESS_SPARSE
  ):
    yield (
      f'the last of {config.num_rounds} rounds has a sparsity of '
      f'{sparsity:.4g}, not pruning.sparsity={pruning.sparsity:.4g}: lower '
      f'pruning.begin_round={pruning.begin_round} and end_round='
      f'{pruning.end_round}, or raise num_rounds'
    )


def _part(config: ConfigDict, run: Simulation) -> Iterator[str]:
  fraction, plans = config.pruning.trained_fraction, run.pruning_plans
  if fraction == 1:
    return
  if all(plan.keep_count == plan.received_counts[-1] for plan in plans):
    yield (
      f'pruning.trained_fraction={fraction} is as much as is kept, or more, in '
      f'each of {config.num_rounds} rounds: lower it to train a part'
    )
    return
  trained = plans[0].keep_count
  num_exempt = int(run.round.method.exempt_D.sum())
  if num_exempt > trained / 2:
    yield (
      f'pruning.trained_fraction={fraction} trains {trained} weights a round, '
      f'of which {num_exempt} are exempt (pruning.exempt), the same in each: '
      'raise it to train more of the others'
    )


def _regrowth(config: ConfigDict, run: Simulation) -> Iterator[str]:
  pruning = config.pruning
  if (
    pruning.schedule != 'none'
    and pruning.regrow_every
    and not any(plan.num_regrown for plan in run.pruning_plans)
  ):
    yield (
      f'in none of {config.num_rounds} rounds does anything grow back: let a '
      f'multiple of pruning.regrow_every={pruning.regrow_every}, below '
      f'pruning.regrow_end_round={pruning.regrow_end_round}, be a round that '
      'prunes'
    )


def _steps(
  config: ConfigDict, simulations: Sequence[Simulation]
) -> Iterator[str]:
  client = config.client
  largest = max(int(run.planner.num_examples.max()) for run in simulations)
  passes = client.epochs
  if client.steps:
    passes = client.steps * min(client.batch_size, largest) / largest
  if passes > _MANY_PASSES:
    field = 'steps' if client.steps else 'epochs'
    yield (
      f'client.{field}={client[field]} take a client {passes:,.0f} times or '
      f'more through its examples, of which nobody has over {largest}, in '
      'every round: lower it'
    )
  if client.batch_size > _MUCH_PADDING * largest:
    yield (
      f'client.batch_size={client.batch_size} is mostly padding, which is '
      f'computed and lies in memory, too: no client has more than {largest} '
      'examples; lower it'
    )


def _by_client(simulations: Sequence[Simulation]) -> Iterator[str]:
  """Says what accuracies of single clients are worth."""
  asked = [tests for run in simulations if (tests := run.evaluation.by_client)]
  counts = [tests.num_targets[~tests.malicious] for tests in asked]
  if not counts:
    return
  if untested := max(int(np.sum(each == 0)) for each in counts):
    yield (
      f'up to {untested} of {len(counts[0])} honest clients have no test '
      'example, and are in no accuracy by client: take fewer clients'
    )
  tested = min(int(np.sum(each > 0)) for each in counts)
  if math.ceil(WORST * tested) == 1:
    yield (
      f'{tested} honest clients are tested, whose worst tenth is one client: '
      'client_accuracy_worst_tenth is its own accuracy, and metrics that are '
      'published publish it; take more than 10 clients'
    )
  if (usual := min(float(np.median(each)) for each in counts)) < _FEW_TESTS:
    yield (
      f'half of the clients are tested on {usual:g} targets or fewer, which '
      'makes accuracies by client noisy, the worst tenth most of all: compare '
      'methods, not numbers'
    )


def _learning_rates(config: ConfigDict) -> Iterator[str]:
  """Says what learning rates come to where they change."""
  for section in ('client', 'server'):
    factors = make_factors(config, section)
    if factors is None:
      continue
    settings, last = config[section], config.num_rounds - 1
    shown = ', '.join(
      f'{settings.learning_rate * factors[r]:.3g} in round {r + 1}'
      for r in dict.fromkeys((0, settings.warmup_rounds, last // 2, last))
    )
    same = ', which is the same in all rounds' * bool(np.ptp(factors) == 0)
    yield (
      f'{section}.schedule={settings.schedule!r} with warmup_rounds='
      f'{settings.warmup_rounds} makes {section}.learning_rate {shown}{same}'
    )


def _stop(config: ConfigDict) -> Iterator[str]:
  if config.eval.stop_at_accuracy and not config.data.validation_fraction:
    yield (
      f'eval.stop_at_accuracy={config.eval.stop_at_accuracy:.4g} is measured '
      'on the test set: rounds to an accuracy on test data measure a cost, and '
      'choose no model. To choose one, set data.validation_fraction'
    )


def _initial(config: ConfigDict, run: Simulation) -> Iterator[str]:
  """Looks for zeros of a pruned model that the first round trains again."""
  params_D = initial_model(config, config.seeds[0])
  if params_D is None:
    return
  sparsity = 1 - np.count_nonzero(params_D) / len(params_D)
  kept = run.accounts.num_params
  if run.accounts.shares_mask:
    kept = int(run.pruning_plans[0].received_counts[-1])
  if kept / len(params_D) - (1 - sparsity) > _MUCH_REVIVED:
    yield (
      f'{100 * sparsity:.1f} % of the model of model.init_from are 0, as if '
      f'pruned, and round 1 keeps {kept} of {len(params_D)} parameters, '
      "zeros among them: to keep it as sparse, set pruning.schedule='constant' "
      f'and pruning.sparsity={sparsity:.4g}'
    )


def _held_out(config: ConfigDict) -> Iterator[str]:
  """Looks for validation examples that the first model was trained on."""
  if not (config.data.validation_fraction and config.model.init_from):
    return
  source, fraction = config.data.source, config.data.validation_fraction
  for seed in config.seeds:
    folder = initial_folder(config, seed)
    there = (folder.name, *_data_of(folder.parent / 'config.json'))
    here = (f'seed_{seed}', source, fraction)
    if there != here:
      yield (
        f'the run of model.init_from has {_show(there)}, and this one '
        f'{_show(here)}: its model may have been trained on examples that are '
        'held out here, which makes the accuracy in validation, and all that '
        'goes by it, too good; take runs of the same data and fraction, each '
        "that of its own seed: model.init_from='.../seed_{seed}'"
      )
      return


def _data_of(path: pathlib.Path) -> tuple[Any, Any]:
  """Returns a config's source and validation fraction; None if unknown."""
  try:
    data = json.loads(files.read_text(path))['data']
    return data['source'], data['validation_fraction']
  except (OSError, ValueError, KeyError, TypeError):
    return None, None


def _show(run: tuple[str, Any, Any]) -> str:
  seed, source, fraction = run
  return f'{seed}, data.source={source} and validation_fraction={fraction}'


def gather(lines: Mapping[str, Iterable[str]]) -> list[str]:
  """Returns each line once, after the titles of the variants it is about."""
  about: dict[str, list[str]] = {}
  for title, said in lines.items():
    for line in said:
      about.setdefault(line, []).append(title)
  return [
    f'{_join(titles, len(lines))}: {line}' for line, titles in about.items()
  ]


def _join(titles: Sequence[str], num_all: int) -> str:
  if 1 < len(titles) == num_all:
    return f'all {num_all} methods'
  named = ', '.join(titles[:_NAMED])
  more = len(titles) - _NAMED
  return f'{named} and {more} more' if more > 0 else named


def print_shorter_words(runs: Sequence[StudyRun], console: Console) -> None:
  """Prints which prime would do with fewer bits, where one would."""
  said: dict[str, list[str]] = {}
  for name, group in itertools.groupby(runs, key=lambda run: run.name):
    same = list(group)
    simulations = [run.simulation for run in same]
    line = notices_sharing.shorter_words(same[0].variant, simulations)
    said[title_of(name)] = [line] if line else []
  for line in gather(said):
    console.print(line, highlight=False)


def after_run(
  rows: Sequence[MetricsRow], emptied: Sequence[str]
) -> Iterator[str]:
  """Yields a line for what a run lost on its way: layers, values, rounds.

  Args:
    rows: of all its rounds.
    emptied: paths of the layers of which pruning left nothing.
  """
  if emptied:
    yield (
      f'nothing is left of {", ".join(emptied)}: prune later, or choose '
      "pruning.scope='erk' or another pruning.exempt"
    )
  clipped = max(row['clipped_fraction'] or 0.0 for row in rows)
  if clipped > _MUCH_CLIPPED:
    yield (
      f'up to {100 * clipped:.1f} % of the values of a round were clipped: '
      'raise sharing.clip'
    )
  not_finite = sum(row['clients_not_finite'] for row in rows)
  if not_finite:
    yield f'{not_finite} updates were not finite and left out'
  capped = max(row['capped_weight'] or 0.0 for row in rows)
  if capped > _MUCH_CAPPED:
    yield (
      f'up to {100 * capped:.0f} % of the weight of a round was taken from '
      'clients that the defence gave so much that the sum would have shown '
      'their updates: raise cohort.size, or take a defence that weighs clients '
      'alike, as multi_krum does'
    )
  idle = sum(
    not row['clients_reporting'] and row['clients_too_slow'] > 0 for row in rows
  )
  if idle:
    yield (
      f'in {idle} of {len(rows)} rounds no client was in time: raise '
      'profiles.deadline_seconds or lower the first of pruning.tiers'
    )
  failed = sum(row['failed_attempts'] > 0 for row in rows)
  if failed:
    yield (
      f'{failed} of {len(rows)} rounds failed and were tried again or skipped'
    )


def divergence(last: MetricsRow, num_rounds: int) -> str:
  """Returns what is said of a run that ended with its last row."""
  what = 'its loss or its model is'
  if last['clients_not_finite'] and not last['clients_reporting']:
    what = f'the updates of all {last["clients_not_finite"]} clients are'
  return (
    f'training diverged, {what} not finite in round {last["round"]} of '
    f'{num_rounds}: lower client.learning_rate, client.momentum or '
    'server.learning_rate'
  )
