"""Sparsity over rounds: functions from the round's number to a sparsity.

Evaluated on the host, in Python floats, so that counts of kept parameters and
of bytes are exact.

Example:
  >>> schedule = make('cubic', sparsity=0.9, begin_round=0, end_round=30)
  >>> [round(schedule(r), 3) for r in (0, 10, 20, 30, 99)]
  [0.0, 0.633, 0.867, 0.9, 0.9]
"""

from collections.abc import Callable

Schedule = Callable[[int], float]


def none(
  sparsity: float, begin_round: int, end_round: int, num_steps: int
) -> Schedule:
  """Returns the schedule that never prunes."""
  del sparsity, begin_round, end_round, num_steps
  return lambda round_number: 0.0


def constant(
  sparsity: float, begin_round: int, end_round: int, num_steps: int
) -> Schedule:
  """Returns the schedule that prunes at once, from `begin_round` on.

  From a later round than 0 on it is one-shot pruning after a warm-up.
  """
  del end_round, num_steps

  def schedule(round_number: int) -> float:
    return sparsity if round_number >= begin_round else 0.0

  return schedule


def cubic(
  sparsity: float, begin_round: int, end_round: int, num_steps: int
) -> Schedule:
  """Returns s_t = s (1 - (1 - progress)^3), fast first and slow at the end.

  Reference: M. Zhu and S. Gupta, To prune, or not to prune, 2017, equation 1,
  from an initial sparsity of zero.
  """
  del num_steps

  def schedule(round_number: int) -> float:
    if round_number >= end_round:
      return sparsity
    if round_number <= begin_round:
      return 0.0
    progress = (round_number - begin_round) / (end_round - begin_round)
    return sparsity * (1 - (1 - progress) ** 3)

  return schedule


def step(
  sparsity: float, begin_round: int, end_round: int, num_steps: int
) -> Schedule:
  """Returns the schedule of equal steps, the last of them at `end_round`."""

  def schedule(round_number: int) -> float:
    if round_number >= end_round:
      return sparsity
    if round_number < begin_round:
      return 0.0
    passed = num_steps * (round_number - begin_round)
    return sparsity * (passed // (end_round - begin_round)) / num_steps

  return schedule


SCHEDULES: dict[str, Callable[[float, int, int, int], Schedule]] = {
  'none': none,
  'constant': constant,
  'cubic': cubic,
  'step': step,
}


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
    [0, `sparsity`], never falling.

  Raises:
    ValueError: if the name is unknown or a number out of range.
  """
  if name not in SCHEDULES:
    raise ValueError(f'schedule {name!r} is not one of {sorted(SCHEDULES)}')
  if not 0 <= sparsity < 1:
    raise ValueError(
      f'sparsity={sparsity} must be in [0, 1): it is the fraction of the '
      "model's parameters that is removed"
    )
  if not 0 <= begin_round <= end_round:
    raise ValueError(
      f'begin_round={begin_round} and end_round={end_round} must satisfy '
      '0 <= begin_round <= end_round'
    )
  if num_steps < 1:
    raise ValueError(f'num_steps={num_steps} must be at least 1')
  return SCHEDULES[name](sparsity, begin_round, end_round, num_steps)
