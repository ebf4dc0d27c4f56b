"""Sparsity over rounds: functions from the round's number to a sparsity.

Evaluated on the host, in Python floats, so that counts of kept parameters and
of bytes are exact.

Example:
  >>> schedule = make('cubic', sparsity=0.9, begin_round=0, end_round=30)
  >>> [round(schedule(r), 3) for r in (0, 10, 20, 30, 99)]
  [0.0, 0.633, 0.867, 0.9, 0.9]
"""

from collections.abc import Callable
from fractions import Fraction

from fps_jax.core import arrays
from fps_jax.core.registry import Registry
from fps_jax.pruning import masks

Schedule = Callable[[int], float]


def none(progress: Fraction, num_steps: int) -> float:
  """Returns 0: nothing is ever pruned, whatever the sparsity."""
  del progress, num_steps
  return 0.0


def constant(progress: Fraction, num_steps: int) -> float:
  """Returns 1: all at once.

  From a later round than 0 on it is one-shot pruning after a warm-up.
  """
  del progress, num_steps
  return 1.0


def cubic(progress: Fraction, num_steps: int) -> float:
  """Returns 1 - (1 - progress)^3: fast first and slow at the end.

  Reference: M. Zhu and S. Gupta, To prune, or not to prune, 2017, equation 1,
  from an initial sparsity of zero.
  """
  del num_steps
  return 1 - (1 - float(progress)) ** 3


def step(progress: Fraction, num_steps: int) -> float:
  """Returns equal steps, the last of them when progress is 1."""
  return int(progress * num_steps) / num_steps


# (rounds since begin_round over those up to end_round, in [0, 1); num_steps) ->
# the part of the final sparsity.
SCHEDULES: Registry[float] = Registry(
  'schedule',
  {'none': none, 'constant': constant, 'cubic': cubic, 'step': step},
  num_first=2,
)


def make(
  name: str,
  sparsity: float,
  begin_round: int,
  end_round: int,
  num_steps: int = 1,
) -> Schedule:
  """Returns a schedule by name.

  Args:
    name: a key of `SCHEDULES`.
    sparsity: the final fraction of parameters removed, in [0, 1).
    begin_round: first round (counted from 0) that may prune, >= 0.
    end_round: first round at the final sparsity, >= `begin_round`.
    num_steps: of the schedule `step`, at least 1.

  Returns:
    A function from the round's number, counted from 0, to its sparsity: in
    [0, `sparsity`], never falling. It raises ValueError for a round below 0.

  Raises:
    ValueError: if the name is unknown or a number out of range.
  """
  SCHEDULES.check_name(name)
  for argument, value in (
    ('begin_round', begin_round),
    ('end_round', end_round),
    ('num_steps', num_steps),
  ):
    arrays.check_integer(argument, value)
  masks.check_sparsity(sparsity)
  if not 0 <= begin_round <= end_round:
    raise ValueError(
      f'begin_round={begin_round} and end_round={end_round} must satisfy '
      '0 <= begin_round <= end_round'
    )
  if num_steps < 1:
    raise ValueError(f'num_steps={num_steps} must be at least 1')
  part = SCHEDULES[name]

  def schedule(round_number: int) -> float:
    arrays.check_integer('round_number', round_number, 0)
    # `none` reaches no final sparsity, after `end_round` either.
    if part is none or round_number < begin_round:
      return 0.0
    if round_number >= end_round:
      return sparsity
    # A float could fall just short of a step.
    progress = Fraction(round_number - begin_round, end_round - begin_round)
    return sparsity * part(progress, num_steps)

  return schedule
