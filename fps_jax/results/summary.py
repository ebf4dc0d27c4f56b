"""What a study found: its runs read from disk and summarised per variant."""

import dataclasses
import math
import pathlib
import re
import statistics
from collections.abc import Callable, Mapping, Sequence

from fps_jax.results.metrics import MetricsRow, has_diverged, read_metrics

TITLES: Mapping[str, str] = {
  'fedavg': 'FedAvg',
  'pruning': 'Pruning only',
  'sharing': 'Secret sharing only',
  'fedpruneshare': 'FedPruneShare',
  'quantisation': 'Quantisation only',
  'pruning_quantisation': 'Pruning and quantisation',
  'local_masks': 'Masks of each client',
  'top_k': 'Top-k, error feedback',
  'uniform': 'Uniform sparsity',
  'tiers': 'Sparsity per client',
}


def title_of(variant: str, titles: Mapping[str, str] = TITLES) -> str:
  """Returns a variant's name for the reader.

  >>> title_of('fedpruneshare_90'), title_of('my_method')
  ('FedPruneShare 90 %', 'my_method')
  >>> title_of('fedavg--client.learning_rate=0.1')
  'FedAvg, learning_rate=0.1'
  >>> title_of('fedavg--client.momentum=0.9--server.momentum=0.5')
  'FedAvg, client.momentum=0.9, server.momentum=0.5'
  """
  name, separator, rest = variant.partition('--')
  if separator and '=' in rest:
    fields, _, values = zip(
      *(part.partition('=') for part in rest.split('--')), strict=True
    )
    last = [field.rpartition('.')[2] for field in fields]
    # Sections are named where fields of two would otherwise be called alike.
    names = last if len(set(last)) == len(last) else fields
    chosen = map('='.join, zip(names, values, strict=True))
    return ', '.join([title_of(name, titles), *chosen])
  method, _, percent = variant.rpartition('_')
  if method in titles and percent.replace('.', '').isdigit():
    return f'{titles[method]} {percent} %'
  return titles.get(variant, variant)


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
  def rows_before(self) -> list[MetricsRow]:
    """The rows, without that in which training diverged."""
    return self.rows[:-1] if self.has_diverged else self.rows


@dataclasses.dataclass(frozen=True)
class Diverged:
  """A run that ended early: its seed, and the round that was its last."""

  seed: int
  round: int


@dataclasses.dataclass(frozen=True)
class Summary:
  """One variant over its seeds, but for those under which it diverged.

  All numbers are None if it diverged under every seed.

  Attributes:
    variant: name of the variant's folder.
    title: name for the reader.
    seeds: those that the numbers are of, ascending.
    diverged: the runs of the other seeds, ascending.
    rounds: rounds of each run.
    final_test_accuracy_fraction_mean: of the last evaluated round, over seeds.
    final_test_accuracy_fraction_min: the worst seed's.
    final_test_accuracy_fraction_max: the best seed's.
    uplink_bytes_per_client_and_round: mean over rounds and seeds.
    downlink_bytes_per_client_and_round: mean over rounds and seeds.
    server_to_central_bytes_per_round: mean over rounds and seeds.
    uplink_saving_factor: the baseline's mean uplink divided by this one's; 0.2
      means that this variant sends five times the baseline. None without a
      baseline, or where one of them never had a client that sent anything.
    final_sparsity_fraction: parameters removed after the last round, mean over
      seeds.
    median_round_seconds: over rounds and seeds; without round 1, which
      compiles, when there are more.
    to_target: what the target accuracy cost; None where there is no target, or
      a seed never reached it.
  """

  variant: str
  title: str
  seeds: list[int]
  diverged: list[Diverged] = dataclasses.field(default_factory=list)
  rounds: int | None = None
  final_test_accuracy_fraction_mean: float | None = None
  final_test_accuracy_fraction_min: float | None = None
  final_test_accuracy_fraction_max: float | None = None
  uplink_bytes_per_client_and_round: float | None = None
  downlink_bytes_per_client_and_round: float | None = None
  server_to_central_bytes_per_round: float | None = None
  uplink_saving_factor: float | None = None
  final_sparsity_fraction: float | None = None
  median_round_seconds: float | None = None
  to_target: 'CostToTarget | None' = None


@dataclasses.dataclass(frozen=True)
class CostToTarget:
  """What it took until a round's evaluation first reached a target; means.

  Attributes:
    rounds: to that round, itself included.
    uplink_bytes_per_client: sent in them by a client of each.
    simulated_seconds: that they take the clients' devices; None where they have
      no profiles.
  """

  rounds: float
  uplink_bytes_per_client: float
  simulated_seconds: float | None


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
      diverged may be shorter, and need no evaluation.
  """
  runs = {variant: _read_runs(workdir / variant) for variant in variants}
  seeds = {
    variant: [run.seed for run in of_variant]
    for variant, of_variant in runs.items()
  }
  rounds = {
    f'{variant}/seed_{run.seed}': (len(run.rows), _last_evaluated(run))
    for variant, of_variant in runs.items()
    for run in of_variant
    if not run.has_diverged
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


def _last_evaluated(run: Run) -> int:
  return max(
    row['round'] for row in run.rows if row['test_accuracy'] is not None
  )


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
    rows = read_metrics(path)
    if all(row['test_accuracy'] is None for row in rows) and (
      not has_diverged(rows)
    ):
      raise ValueError(
        f'{path}: none of its {len(rows)} rounds was evaluated: finish the '
        'run, or evaluate its last round'
      )
    runs.append(Run(folder.name, seed, rows))
  if not runs:
    raise ValueError(
      f'no {folder}/seed_<seed>/metrics.jsonl: run variant {folder.name!r}, '
      'or leave it out of the report'
    )
  return runs


def _mean(runs: Sequence[Run], read: Callable[[MetricsRow], float]) -> float:
  return statistics.fmean(read(row) for run in runs for row in run.rows)


def _mean_uplink(runs: Sequence[Run]) -> float:
  return _mean(runs, lambda row: row['uplink_bytes_per_client'])


def _cost_to_target(
  runs: Sequence[Run], target_accuracy: float
) -> CostToTarget | None:
  needed = []
  for run in runs:
    reached = [
      row['round']
      for row in run.rows
      if (row['test_accuracy'] or 0.0) >= target_accuracy
    ]
    if not target_accuracy or not reached:
      return None
    needed.append(run.rows[: reached[0]])
  seconds = [
    [s for row in rows if (s := row['simulated_seconds']) is not None]
    for rows in needed
  ]
  is_timed = all(map(len, seconds))
  return CostToTarget(
    rounds=statistics.fmean(map(len, needed)),
    uplink_bytes_per_client=statistics.fmean(
      sum(row['uplink_bytes_per_client'] for row in rows) for rows in needed
    ),
    simulated_seconds=(
      statistics.fmean(map(math.fsum, seconds)) if is_timed else None
    ),
  )


def finished(runs: Sequence[Run]) -> list[Run]:
  """Returns the runs that did not diverge."""
  return [run for run in runs if not run.has_diverged]


def _summarise_variant(
  title: str,
  all_runs: Sequence[Run],
  baseline_uplink_bytes: float | None,
  target_accuracy: float,
) -> Summary:
  diverged = [
    Diverged(run.seed, len(run.rows)) for run in all_runs if run.has_diverged
  ]
  runs = finished(all_runs)
  if not runs:
    return Summary(all_runs[0].variant, title, seeds=[], diverged=diverged)
  final_accuracies = [
    [
      row['test_accuracy']
      for row in run.rows
      if row['test_accuracy'] is not None
    ][-1]
    for run in runs
  ]
  uplink_bytes = _mean_uplink(runs)
  reporting = sum(row['clients_reporting'] for run in runs for row in run.rows)
  if reporting and not uplink_bytes:
    raise ValueError(
      f'variant {runs[0].variant!r} sent 0 uplink bytes in all its rounds, '
      f'although {reporting} clients reported: its metrics cannot be right, '
      'run it again'
    )
  num_rounds = len(runs[0].rows)
  timed = slice(1 if num_rounds > 1 else 0, None)
  return Summary(
    variant=runs[0].variant,
    title=title,
    seeds=[run.seed for run in runs],
    diverged=diverged,
    rounds=num_rounds,
    final_test_accuracy_fraction_mean=statistics.fmean(final_accuracies),
    final_test_accuracy_fraction_min=min(final_accuracies),
    final_test_accuracy_fraction_max=max(final_accuracies),
    uplink_bytes_per_client_and_round=uplink_bytes,
    downlink_bytes_per_client_and_round=_mean(
      runs, lambda row: row['downlink_bytes_per_client']
    ),
    server_to_central_bytes_per_round=_mean(
      runs, lambda row: row['server_to_central_bytes']
    ),
    uplink_saving_factor=(
      baseline_uplink_bytes / uplink_bytes
      if baseline_uplink_bytes and uplink_bytes
      else None
    ),
    final_sparsity_fraction=statistics.fmean(
      run.rows[-1]['sparsity'] for run in runs
    ),
    median_round_seconds=statistics.median(
      row['round_seconds'] for run in runs for row in run.rows[timed]
    ),
    to_target=_cost_to_target(runs, target_accuracy),
  )


def summarise(
  runs: Mapping[str, Sequence[Run]],
  baseline: str | None,
  titles: Mapping[str, str] = TITLES,
  target_accuracy: float = 0.0,
) -> list[Summary]:
  """Summarises the variants, in the order of `runs`.

  Args:
    runs: what `collect` returned.
    baseline: the variant that uplink savings are measured against, or None.
    titles: names for the reader; a variant not in it keeps its own.
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
  baseline_uplink_bytes = _mean_uplink(baseline_runs) if baseline_runs else None
  return [
    _summarise_variant(
      title_of(variant, titles),
      of_variant,
      baseline_uplink_bytes,
      target_accuracy,
    )
    for variant, of_variant in runs.items()
  ]
