"""What a study found: its runs read from disk and summarised per variant."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fps_jax.results import milestones
from fps_jax.results.metrics import (
  BY_CLIENT,
  COLUMNS,
  MetricsRow,
  is_evaluated,
)
from fps_jax.results.metrics_file import (
  has_diverged,
  has_reached_accuracy,
  read_metrics,
)
from fps_jax.results.milestones import AtBest, CostToTarget
from fps_jax.results.reported import DIFFERENCE, REPORTED, SAVING
from fps_jax.results.spread import Spread, mean_over_runs
from fps_jax.results.titles import title_of

_UPLINK: Final = 'uplink_bytes_per_client'


@dataclasses.dataclass(frozen=True)
class Run:
  """One variant under one seed; `rows` holds one row a round, round 1 first."""

  variant: str
  seed: int
  rows: list[MetricsRow]

  @property
  def has_diverged(self) -> bool:
    """Whether it ended with its last row, since training diverged."""
    return has_diverged(self.rows)

  @property
  def has_reached_accuracy(self) -> bool:
    """Whether it ended with its last row, since that is accurate enough."""
    return has_reached_accuracy(self.rows)

  @property
  def rows_before(self) -> list[MetricsRow]:
    """The rows, without that in which training diverged."""
    return self.rows[:-1] if self.has_diverged else self.rows

  @property
  def evaluated(self) -> list[MetricsRow]:
    """The rows of the rounds that were evaluated."""
    return [row for row in self.rows if is_evaluated(row)]


@dataclasses.dataclass(frozen=True)
class Diverged:
  """A run that ended early: its seed, and the round that was its last."""

  seed: int
  round: int


@dataclasses.dataclass(frozen=True)
class Reached:
  """A run that ended as it was accurate enough: its seed, and last round."""

  seed: int
  round: int


@dataclasses.dataclass(frozen=True)
class Summary:
  """One variant over its seeds, but for those under which it diverged.

  Attributes:
    variant: name of the variant's folder.
    title: name for the reader.
    seeds: those that the numbers are of, ascending.
    diverged: the runs of the other seeds, ascending.
    reached: the runs among them that ended before their last round, as they
      reached the accuracy that they were to stop at, ascending.
    rounds: rounds of each run, or of the longest; None if it diverged under
      every seed.
    numbers: what each column of the metrics comes to, as it is declared to be
      reduced; the saving, the baseline's mean uplink divided by this one's: 0.2
      means that this variant sends five times the baseline; and the difference
      of its test accuracy to the baseline's under the same seed. None where
      nothing was measured, and all of them if it diverged under every seed. No
      saving without a baseline, or where one of them never had a client that
      sent anything; and the baseline has no difference to itself.
    to_target: what the target accuracy cost; None where there is no target, or
      a seed never reached it.
    at_best: the rounds that are best in validation; None without one.
  """

  variant: str
  title: str
  seeds: list[int]
  diverged: list[Diverged]
  reached: list[Reached]
  rounds: int | None
  numbers: Mapping[str, Spread | None]
  to_target: CostToTarget | None = None
  at_best: AtBest | None = None

  def middle(self, column: str) -> float | None:
    """Returns the mean or median that a column comes to."""
    spread = self.numbers[column]
    return spread and spread.middle

  def to_json(self) -> dict[str, Any]:
    """Returns it as it stands in `report.json`."""
    content = dataclasses.asdict(self)
    del content['numbers']
    last = {name: content.pop(name) for name in ('to_target', 'at_best')}
    for name, column in REPORTED.items():
      content |= column.to_json(self.numbers[name])
    if self.middle('client_accuracy') is not None:
      content['by_client'] = {name: self.middle(name) for name in BY_CLIENT}
    return content | last


def collect(
  workdir: pathlib.Path, variants: Sequence[str]
) -> dict[str, list[Run]]:
  """Reads the runs of a study.

  Args:
    workdir: holds `<variant>/seed_<seed>/metrics.jsonl`.
    variants: which variants to read, in the order of the report.

  Returns:
    The runs of each variant, by ascending seed.

  Raises:
    ValueError: a variant has no run, a run was never evaluated, or the runs
      differ in seeds, rounds or last evaluated round, which would make their
      means incomparable; or a file is damaged (see `read_metrics`). Runs that
      diverged may be shorter, and need no evaluation; those that were to stop
      at an accuracy, and did, may be shorter, too.
  """
  runs = {variant: _read_runs(workdir / variant) for variant in variants}
  seeds = {
    variant: [run.seed for run in of_variant]
    for variant, of_variant in runs.items()
  }
  rounds = {
    f'{variant}/seed_{run.seed}': (len(run.rows), run.evaluated[-1]['round'])
    for variant, of_variant in runs.items()
    for run in finished(of_variant)
    if not run.has_reached_accuracy
  }
  for name, values in (
    ('seeds', seeds),
    ('(rounds, last evaluated round)', rounds),
  ):
    if len(set(map(str, values.values()))) > 1:
      raise ValueError(
        f'runs differ in {name}: {values}: finish the study, or report on the '
        'variants that are complete'
      )
  return runs


def metrics_paths(folder: pathlib.Path) -> dict[int, pathlib.Path]:
  """Returns the metrics of a variant's runs, by ascending seed."""
  found = {}
  for path in folder.glob('seed_*/metrics.jsonl'):
    if match := re.fullmatch(r'seed_(\d+)', path.parent.name):
      found[int(match[1])] = path
  return dict(sorted(found.items()))


def _read_runs(folder: pathlib.Path) -> list[Run]:
  runs = []
  for seed, path in metrics_paths(folder).items():
    run = Run(folder.name, seed, read_metrics(path))
    if not run.evaluated and not run.has_diverged:
      raise ValueError(
        f'{path}: none of its {len(run.rows)} rounds was evaluated: finish the '
        'run, or evaluate its last round'
      )
    runs.append(run)
  if not runs:
    raise ValueError(
      f'no {folder}/seed_<seed>/metrics.jsonl: run variant {folder.name!r}, '
      'or leave it out of the report'
    )
  return runs


def finished(runs: Sequence[Run]) -> list[Run]:
  """Returns the runs that did not diverge."""
  return [run for run in runs if not run.has_diverged]


def reduce(runs: Sequence[Run]) -> dict[str, Spread | None]:
  """Returns what columns come to over some runs, by their names.

  Rows of another version may lack columns, which come to None then.
  """
  return {
    name: column.reduce([[row.get(name) for row in run.rows] for run in runs])  # type: ignore[misc]
    for name, column in COLUMNS.items()
    if column.reduce
  }


def _saving(baseline: Spread | None, uplink: Spread | None) -> Spread | None:
  if not baseline or not uplink or not baseline.middle or not uplink.middle:
    return None
  factor = baseline.middle / uplink.middle
  return Spread(factor, factor, factor)


def _difference(baseline: Sequence[Run], runs: Sequence[Run]) -> Spread | None:
  """Returns how much more accurate runs are than the baseline's, paired."""
  accuracy = {run.seed: run.evaluated[-1]['test_accuracy'] for run in baseline}
  differences = []
  for run in runs:
    own, other = run.evaluated[-1]['test_accuracy'], accuracy.get(run.seed)
    if own is not None and other is not None:
      differences.append(own - other)
  return mean_over_runs(differences)


def _check_sent(runs: Sequence[Run]) -> None:
  """Raises ValueError if clients reported, but sent nothing."""
  rows = [row for run in runs for row in run.rows]
  reporting = sum(row.get('clients_reporting', 0) for row in rows)
  if reporting and not any(row[_UPLINK] for row in rows):
    raise ValueError(
      f'variant {runs[0].variant!r} sent 0 uplink bytes in all its rounds, '
      f'although {reporting} clients reported: its metrics cannot be right, '
      'run it again'
    )


def summarise_variant(
  all_runs: Sequence[Run],
  baseline_runs: Sequence[Run] = (),
  target_accuracy: float = 0.0,
) -> Summary:
  """Summarises the runs of one variant, at least one.

  Args:
    all_runs: of the variant.
    baseline_runs: those of the baseline that did not diverge.
    target_accuracy: in (0, 1], or 0 for none.

  Raises:
    ValueError: clients reported, but sent nothing.
  """
  runs = finished(all_runs)
  _check_sent(runs)
  numbers, rows = reduce(runs), [run.rows for run in runs]
  uplink = reduce(baseline_runs)[_UPLINK]
  is_baseline = all_runs[0].variant in {run.variant for run in baseline_runs}
  return Summary(
    variant=all_runs[0].variant,
    title=title_of(all_runs[0].variant),
    seeds=[run.seed for run in runs],
    diverged=[
      Diverged(run.seed, len(run.rows)) for run in all_runs if run.has_diverged
    ],
    reached=[
      Reached(run.seed, len(run.rows))
      for run in runs
      if run.has_reached_accuracy
    ],
    rounds=max((len(run.rows) for run in runs), default=None),
    numbers={
      **numbers,
      SAVING: _saving(uplink, numbers[_UPLINK]),
      DIFFERENCE: None if is_baseline else _difference(baseline_runs, runs),
    },
    to_target=milestones.cost_to_target(rows, target_accuracy),
    at_best=milestones.at_best(rows),
  )


def summarise(
  runs: Mapping[str, Sequence[Run]],
  baseline: str | None,
  target_accuracy: float = 0.0,
) -> list[Summary]:
  """Summarises the variants, in the order of `runs`.

  Args:
    runs: what `collect` returned.
    baseline: the variant that uplink savings are measured against, or None.
    target_accuracy: in (0, 1], or 0 for none.

  Returns:
    One summary a variant.

  Raises:
    ValueError: the baseline is not in `runs`, or a variant sent nothing.
  """
  if baseline is not None and baseline not in runs:
    raise ValueError(
      f'baseline {baseline!r} is not among the variants {list(runs)}: '
      'name one of them'
    )
  baseline_runs = [] if baseline is None else finished(runs[baseline])
  return [
    summarise_variant(of_variant, baseline_runs, target_accuracy)
    for of_variant in runs.values()
  ]
