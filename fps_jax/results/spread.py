"""From a column's values, in all rounds of all runs, to one and its range.

Each function takes a sequence of rounds for each run, where None is a round in
which nothing was measured, and returns None where nothing was in any.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

Values = Sequence[Sequence[float | None]]


class Spread(NamedTuple):
  """A mean or median, and the least and the most of what it is of."""

  middle: float
  least: float
  most: float


def mean_over_rounds(values: Values) -> Spread | None:
  """Returns the mean over rounds and runs."""
  return _spread([v for of_run in values for v in _known(of_run)])


def mean_of_last(values: Values) -> Spread | None:
  """Returns the mean over runs of the last value of each."""
  return _spread([known[-1] for of_run in values if (known := _known(of_run))])


def median_without_first(values: Values) -> Spread | None:
  """Returns the median over rounds and runs.

  Without round 1, which compiles, where there are more.
  """
  timed = [v for of_run in values for v in _known(of_run[1:] or of_run)]
  return _spread(timed, statistics.median)


def _known(values: Sequence[float | None]) -> list[float]:
  return [value for value in values if value is not None]


def _spread(
  values: Sequence[float],
  middle: Callable[[Sequence[float]], float] = statistics.fmean,
) -> Spread | None:
  if not values:
    return None
  return Spread(middle(values), min(values), max(values))
