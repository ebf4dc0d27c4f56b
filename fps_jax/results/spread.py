"""From a column's values, in all rounds of all runs, to one and its range.

Each function takes a sequence of rounds for each run, where None is a round in
which nothing was measured, and returns None where nothing was in any.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from scipy import special

_CONFIDENCE = 0.95
Values = Sequence[Sequence[float | None]]


class Spread(NamedTuple):
  """A mean or median, and what it is of.

  Attributes:
    middle: the mean or median.
    least: of the values.
    most: of the values.
    margin: half the width of the 95 % confidence interval around a mean over
      runs; None of a single run, and of what is no such mean.
  """

  middle: float
  least: float
  most: float
  margin: float | None = None


def mean_over_rounds(values: Values) -> Spread | None:
  """Returns the mean over rounds and runs."""
  return _spread([v for of_run in values for v in _known(of_run)])


def mean_of_last(values: Values) -> Spread | None:
  """Returns the mean over runs of the last value of each."""
  return mean_over_runs(
    [known[-1] for of_run in values if (known := _known(of_run))]
  )


def mean_over_runs(values: Sequence[float]) -> Spread | None:
  """Returns the mean of one value a run, with its margin; None without any.

  The margin is Student's: it takes values as independent, and as normal, which
  matters where there are few.

  >>> f'{mean_over_runs([0.97, 0.98, 0.99]).margin:.4f}'
  '0.0248'
  """
  spread = _spread(values)
  if spread is None or len(values) == 1:
    return spread
  quantile = special.stdtrit(len(values) - 1, (1 + _CONFIDENCE) / 2)
  error = statistics.stdev(values) / math.sqrt(len(values))
  return spread._replace(margin=float(quantile) * error)


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
