"""What a variant comes to, round by round: what figures draw."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fps_jax.results.metrics import MetricsRow, is_evaluated


class Measure(NamedTuple):
  """What is drawn over rounds, bytes or time.

  Attributes:
    column: of the metrics.
    scale: what multiplies it.
    label: of the axis.
    words: what it is, in a sentence.
  """

  column: str
  scale: float
  label: str
  words: str


MEASURES: Mapping[str, Measure] = {
  'accuracy': Measure(
    'test_accuracy', 100, 'Test accuracy (%)', 'Test accuracy'
  ),
  'loss': Measure('test_loss', 1, 'Test loss', 'Test loss'),
  'worst tenth': Measure(
    'client_accuracy_worst_tenth',
    100,
    'Accuracy, worst tenth (%)',
    'Test accuracy of the worst tenth of clients',
  ),
}


@dataclasses.dataclass(frozen=True)
class Curve:
  """What one variant comes to in its evaluated rounds.

  Attributes:
    title: name of the variant in the legend.
    rounds: [E] rounds in which every seed was evaluated.
    uplink_megabytes: [E] sent by a client from round 1 on, mean over seeds.
    simulated_minutes: [E] that the clients' devices take from round 1 on, mean
      over seeds; None where they have no profiles.
    mean: [E] test accuracy in per cent or test loss, mean over seeds.
    low: [E] its minimum over seeds.
    high: [E] its maximum over seeds.
    kept_percent: parameters kept in the last round, mean over seeds.
    measure: `'accuracy'`, `'loss'` where there is none, or `'worst tenth'`.
  """

  title: str
  rounds: np.ndarray
  uplink_megabytes: np.ndarray
  simulated_minutes: np.ndarray | None
  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray
  kept_percent: float
  measure: str = 'accuracy'


def make_curve(
  title: str, seeds: Sequence[Sequence[MetricsRow]], measure: str = ''
) -> Curve:
  """Reduces the runs of one variant to a curve.

  Args:
    title: name of the variant in the legend.
    seeds: the rows of each run.
    measure: a key of `MEASURES`; by default accuracy, or loss where there is
      none.

  Returns:
    The curve over the rounds in which it was measured of every run.
  """
  has_accuracy = any(r['test_accuracy'] is not None for s in seeds for r in s)
  measure = measure or ('accuracy' if has_accuracy else 'loss')
  column, scale, *_ = MEASURES[measure]
  shared = [rows[: min(map(len, seeds))] for rows in seeds]
  tested_SxR = scale * _read(shared, column)
  uplink_SxR = np.cumsum(_read(shared, 'uplink_bytes_per_client'), axis=1)
  seconds_SxR = np.cumsum(_read(shared, 'simulated_seconds'), axis=1)
  is_timed = bool(np.isfinite(seconds_SxR).all())
  evaluated = np.isfinite(tested_SxR).all(axis=0)
  tested_SxE = tested_SxR[:, evaluated]
  return Curve(
    title=title,
    rounds=1 + np.flatnonzero(evaluated),
    uplink_megabytes=uplink_SxR[:, evaluated].mean(axis=0) / 1e6,
    simulated_minutes=(
      seconds_SxR[:, evaluated].mean(axis=0) / 60 if is_timed else None
    ),
    mean=tested_SxE.mean(axis=0),
    low=tested_SxE.min(axis=0),
    high=tested_SxE.max(axis=0),
    kept_percent=100 * float(np.mean([1 - r[-1]['sparsity'] for r in seeds])),
    measure=measure,
  )


def _read(seeds: Sequence[Sequence[MetricsRow]], column: str) -> np.ndarray:
  """Returns a column [S, R] of some runs; NaN where it was not measured."""
  return np.array([[row.get(column) for row in r] for r in seeds], dtype=float)


def make_curves(
  title: str,
  complete: Sequence[Sequence[MetricsRow]],
  others: Mapping[str, Sequence[MetricsRow]],
) -> list[Curve]:
  """Returns one curve of a variant's complete runs, and one of each other.

  Args:
    title: name of the variant in the legend.
    complete: the rows of each complete run.
    others: the rows to draw of each other run, by what follows the title. Those
      that were never evaluated have no curve.
  """
  curves = [make_curve(title, complete)] if complete else []
  return curves + [
    make_curve(f'{title}, {name}', [rows])
    for name, rows in others.items()
    if any(map(is_evaluated, rows))
  ]


def make_worst_curves(
  title: str, complete: Sequence[Sequence[MetricsRow]]
) -> list[Curve]:
  """Returns the curve of the worst tenth of clients, if it was measured."""
  curve = make_curve(title, complete, 'worst tenth') if complete else None
  return [curve] if curve and len(curve.rounds) else []


def by_measure(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
  """Returns the curves of each measure that there are some of."""
  found = {
    measure: [curve for curve in curves if curve.measure == measure]
    for measure in MEASURES
  }
  return {measure: some for measure, some in found.items() if some}
