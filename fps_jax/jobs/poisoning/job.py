"""The job `poisoning`: every attack against every defence.

A study whose variants are named `ATTACK--DEFENCE`, with a table of accuracies
and one of what each defence lets the central server see.
"""

import dataclasses
import pathlib
import statistics
from collections.abc import Sequence

from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.core import files
from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from fps_jax.results import workdir as workdirs
from fps_jax.results.summary import Run, collect, finished

SEPARATOR = '--'
_DEFAULTS = Options()


@dataclasses.dataclass(frozen=True)
class Cell:
  """One attack against one defence, over the seeds under which none diverged.

  The means are None if training diverged under every seed, which it can without
  malicious clients alone.

  Attributes:
    attack: of the variant's name.
    defence: of the variant's name.
    diverged_seeds: those that are in no mean.
    test_accuracy_mean: fraction, of the last evaluated round.
    test_accuracy_min: the worst seed's.
    test_accuracy_max: the best seed's.
    attack_success_mean: fraction of images with a trigger that are taken for
      the target, of the last evaluated round; None without a backdoor.
    malicious_weight_mean: part of all weight that malicious clients have, over
      rounds and seeds; None where clients are not weighed.
    opened_values_per_client: numbers of each update alone that the central
      server sees in a round; the mean over rounds.
    uplink_bytes_per_client: in a round; the mean.
    server_to_central_bytes: in a round; the mean.
    median_round_seconds: over rounds and seeds, without round 1.
  """

  attack: str
  defence: str
  diverged_seeds: list[int]
  test_accuracy_mean: float | None = None
  test_accuracy_min: float | None = None
  test_accuracy_max: float | None = None
  attack_success_mean: float | None = None
  malicious_weight_mean: float | None = None
  opened_values_per_client: float | None = None
  uplink_bytes_per_client: float | None = None
  server_to_central_bytes: float | None = None
  median_round_seconds: float | None = None


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
) -> None:
  """Runs the study and writes `poisoning.json`, `.md` and `.png` beside it.

  Args:
    config: of a study whose variants are named `ATTACK--DEFENCE`, one for each
      of all pairs.
    workdir: created if need be; empty, or of the same config.
    argv: the command line, for the record.
    options: of the command line.

  Raises:
    StudyError: as `study.run_study`, and if a pair is missing.
  """
  workdir, console = pathlib.Path(workdir), Console()
  names = list(config.variants)
  _check_names(names)
  study.run_study(config, workdir, argv, options, console)
  cells = [
    evaluate(name, runs) for name, runs in collect(workdir, names).items()
  ]
  from fps_jax.jobs.poisoning import report as poisoning_report

  workdirs.write_json(
    workdir / 'poisoning.json', [dataclasses.asdict(cell) for cell in cells]
  )
  page = poisoning_report.markdown(cells)
  files.write_text(workdir / 'poisoning.md', page)
  poisoning_report.write_figure(cells, workdir / 'poisoning.png')
  console.print(poisoning_report.table(cells))


def evaluate(name: str, all_runs: Sequence[Run]) -> Cell:
  """Returns what the runs of a variant, of all seeds, came to."""
  attack, defence = name.split(SEPARATOR)
  diverged = [run_.seed for run_ in all_runs if run_.has_diverged]
  runs = finished(all_runs)
  if not runs:
    return Cell(attack, defence, diverged)
  last = [
    [row for row in run_.rows if row['test_accuracy'] is not None][-1]
    for run_ in runs
  ]
  rows = [row for run_ in runs for row in run_.rows]
  timed = [row for run_ in runs for row in run_.rows[1:] or run_.rows]
  accuracies = [row['test_accuracy'] or 0.0 for row in last]
  return Cell(
    attack=attack,
    defence=defence,
    diverged_seeds=diverged,
    test_accuracy_mean=statistics.fmean(accuracies),
    test_accuracy_min=min(accuracies),
    test_accuracy_max=max(accuracies),
    attack_success_mean=_mean_known([row['attack_success'] for row in last]),
    malicious_weight_mean=_mean_known(
      [row['malicious_weight'] for row in rows]
    ),
    opened_values_per_client=statistics.fmean(
      row['opened_values_per_client'] for row in rows
    ),
    uplink_bytes_per_client=statistics.fmean(
      row['uplink_bytes_per_client'] for row in rows
    ),
    server_to_central_bytes=statistics.fmean(
      row['server_to_central_bytes'] for row in rows
    ),
    median_round_seconds=statistics.median(
      row['round_seconds'] for row in timed
    ),
  )


def _mean_known(values: Sequence[float | None]) -> float | None:
  known = [value for value in values if value is not None]
  return statistics.fmean(known) if known else None


def _check_names(names: Sequence[str]) -> None:
  """Raises StudyError unless the variants are all pairs."""
  pairs = [tuple(name.split(SEPARATOR)) for name in names]
  wrong = [
    name for name, pair in zip(names, pairs, strict=True) if len(pair) != 2
  ]
  if wrong or not names:
    raise StudyError(
      f'poisoning: variants {wrong or names} must be named '
      f'ATTACK{SEPARATOR}DEFENCE: see experiments/poisoning.py'
    )
  attacks = dict.fromkeys(pair[0] for pair in pairs)
  rules = dict.fromkeys(pair[1] for pair in pairs)
  missing = [
    f'{attack}{SEPARATOR}{rule}'
    for attack in attacks
    for rule in rules
    if (attack, rule) not in pairs
  ]
  if missing:
    raise StudyError(
      f'poisoning: variants {missing} are missing: every attack meets every '
      'defence'
    )
