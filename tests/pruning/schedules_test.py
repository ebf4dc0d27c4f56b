"""Tests of `fps_jax.pruning.schedules`, most of them over all schedules."""

import itertools
from fractions import Fraction

import pytest

from fps_jax.pruning import schedules

NAMES = sorted(schedules.SCHEDULES)
SPARSITIES = [0.0, 0.1, 0.5, 0.9, 0.999999]
PERIODS = [(0, 1), (0, 30), (5, 6), (7, 40), (0, 0)]
ROUNDS = range(60)


def all_cases() -> list[tuple[str, float, int, int]]:
  return [
    (name, sparsity, *period)
    for name in NAMES
    for sparsity in SPARSITIES
    for period in PERIODS
  ]


@pytest.mark.parametrize('case', all_cases(), ids=str)
def test_sparsity_stays_in_range_and_never_falls(
  case: tuple[str, float, int, int],
) -> None:
  schedule, final = schedules.make(*case), case[1]
  values = [schedule(round_number) for round_number in ROUNDS]
  assert all(0 <= value <= final for value in values)
  assert values == sorted(values)


@pytest.mark.parametrize('case', all_cases(), ids=str)
def test_nothing_is_pruned_before_begin_round_and_all_from_end_round(
  case: tuple[str, float, int, int],
) -> None:
  name, final, begin_round, end_round = case
  schedule = schedules.make(*case)
  assert [schedule(r) for r in range(begin_round)] == begin_round * [0.0]
  expected = 0.0 if name == 'none' else final
  for round_number in (end_round, end_round + 1, 10**6):
    # To the bit: the number of bytes follows from it.
    assert schedule(round_number) == expected


def test_constant_prunes_at_once() -> None:
  schedule = schedules.make('constant', 0.9, 7, 40)
  assert [schedule(r) for r in (0, 6, 7, 8, 40)] == [0.0, 0.0, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(('begin', 'end'), [(0, 30), (7, 40), (5, 6)])
@pytest.mark.parametrize('sparsity', SPARSITIES)
def test_cubic_is_the_published_formula(
  sparsity: float, begin: int, end: int
) -> None:
  schedule = schedules.make('cubic', sparsity, begin, end)
  for round_number in range(begin, end + 1):
    # Zhu and Gupta: s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3, s_i = 0.
    remaining = 1 - Fraction(round_number - begin, end - begin)
    expected = Fraction(sparsity) - Fraction(sparsity) * remaining**3
    assert schedule(round_number) == pytest.approx(float(expected), abs=1e-15)
  assert schedule(begin) == 0.0


def test_cubic_is_fast_first_and_slow_at_the_end() -> None:
  schedule = schedules.make('cubic', 0.8, 10, 30)
  values = [schedule(r) for r in range(10, 31)]
  steps = [b - a for a, b in itertools.pairwise(values)]
  assert all(a > b > 0 for a, b in itertools.pairwise(steps))


def test_cubic_without_rounds_between_prunes_at_once() -> None:
  schedule = schedules.make('cubic', 0.9, 5, 5)
  assert [schedule(r) for r in range(7)] == [0, 0, 0, 0, 0, 0.9, 0.9]


def test_unknown_name_raises() -> None:
  message = "schedule 'linear' is not one of .*'constant', 'cubic', 'none', 'st"
  with pytest.raises(ValueError, match=message):
    schedules.make('linear', 0.5, 0, 10)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('sparsity', [-0.01, 1.0, 2.0, float('nan')])
def test_sparsity_out_of_range_raises(name: str, sparsity: float) -> None:
  with pytest.raises(
    ValueError, match=rf'sparsity={sparsity} must be in \[0, 1'
  ):
    schedules.make(name, sparsity, 0, 10)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('begin', 'end'), [(-1, 5), (6, 5), (-2, -1)])
def test_rounds_out_of_order_raise(name: str, begin: int, end: int) -> None:
  message = f'begin_round={begin} and end_round={end} must satisfy 0 <= begin'
  with pytest.raises(ValueError, match=message):
    schedules.make(name, 0.5, begin, end)


def test_step_rises_in_equal_steps() -> None:
  schedule = schedules.make('step', 0.8, 10, 30, num_steps=4)
  assert [schedule(r) for r in (0, 10, 14)] == [0.0] * 3
  for i, start in enumerate((15, 20, 25), start=1):
    values = [schedule(r) for r in range(start, start + 5)]
    assert values == pytest.approx([0.2 * i] * 5)
  assert schedule(30) == 0.8


@pytest.mark.parametrize('num_steps', [0, -1])
def test_too_few_steps_raise(num_steps: int) -> None:
  with pytest.raises(ValueError, match=f'num_steps={num_steps} must be at le'):
    schedules.make('step', 0.5, 0, 10, num_steps)
