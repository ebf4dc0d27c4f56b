"""Rounds that reports name: the first at a target, the best in validation."""

import dataclasses
import math
import operator
import statistics
from collections.abc import Sequence

from fps_jax.results.metrics import MetricsRow

_Rows = Sequence[MetricsRow]


@dataclasses.dataclass(frozen=True)
class AtBest:
  """What runs were in the round in which they were best in validation; means.

  Attributes:
    round: the first such round.
    validation_accuracy: in it, in [0, 1].
    test_accuracy: in it, in [0, 1].
  """

  round: float
  validation_accuracy: float
  test_accuracy: float


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


def best_row(rows: _Rows) -> MetricsRow | None:
  """Returns the first of the rows that are best in validation, if any is.

  The round in which a run diverged is not.
  """
  measured = [
    (accuracy, row)
    for row in rows
    if (accuracy := row.get('validation_accuracy')) is not None
    and not row.get('diverged')
  ]
  return max(measured, key=operator.itemgetter(0), default=(None, None))[1]


def at_best(runs: Sequence[_Rows]) -> AtBest | None:
  """Returns what runs were at their best; None if one has no validation."""
  found = [
    (row['round'], validation, test)
    for rows in runs
    if (row := best_row(rows))
    and (validation := row['validation_accuracy']) is not None
    and (test := row['test_accuracy']) is not None
  ]
  if not found or len(found) < len(runs):
    return None
  return AtBest(*map(statistics.fmean, zip(*found, strict=True)))


def cost_to_target(
  runs: Sequence[_Rows], target_accuracy: float
) -> CostToTarget | None:
  """Returns what a target took; None for 0, and if a run never reached it."""
  needed = []
  for rows in runs:
    reached = [
      row['round']
      for row in rows
      if (row['test_accuracy'] or 0.0) >= target_accuracy
    ]
    if not target_accuracy or not reached:
      return None
    needed.append(rows[: reached[0]])
  if not needed:
    return None
  seconds = [
    [s for row in rows if (s := row['simulated_seconds']) is not None]
    for rows in needed
  ]
  return CostToTarget(
    rounds=statistics.fmean(map(len, needed)),
    uplink_bytes_per_client=statistics.fmean(
      sum(row['uplink_bytes_per_client'] for row in rows) for rows in needed
    ),
    simulated_seconds=(
      statistics.fmean(map(math.fsum, seconds)) if all(seconds) else None
    ),
  )
