"""When weights grow back, and how many."""

import math
import re

import pytest

from fps_jax.pruning.regrowth import Regrowth

USUAL = Regrowth(
  every=5, fraction=0.3, end_round=20, candidates_per_regrown=2.0
)


def test_exchanges_are_every_few_rounds_and_stop():
  due = [r for r in range(60) if USUAL.counts(r, 1000, 9000) != (0, 0)]
  assert due == [5, 10, 15]


def test_every_0_never_exchanges():
  never = Regrowth(0, 0.3, 20, 2.0)
  assert all(never.counts(r, 1000, 9000) == (0, 0) for r in range(60))


def test_fraction_falls_as_a_cosine():
  for r in (5, 10, 15):
    expected = 0.15 * (1 + math.cos(math.pi * r / 20))
    regrown, candidates = USUAL.counts(r, 100_000, 900_000)
    assert regrown == round(expected * 100_000)
    assert candidates == 2 * regrown


@pytest.mark.parametrize(
  ('num_pruned', 'expected'), [(0, (0, 0)), (7, (7, 7)), (300, (256, 300))]
)
def test_no_more_are_tried_than_are_pruned(num_pruned, expected):
  assert USUAL.counts(5, 1000, num_pruned) == expected


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'every': -1}, 'regrow_every=-1 must be at least 0'),
    ({'fraction': 0.0}, 'regrow_fraction=0.0 must be in (0, 0.5]'),
    ({'fraction': 0.6}, 'regrow_fraction=0.6 must be in (0, 0.5]'),
    ({'fraction': math.nan}, 'regrow_fraction=nan must be in (0, 0.5]'),
    ({'end_round': -1}, 'regrow_end_round=-1 must be at least 0'),
    ({'candidates_per_regrown': 0.9}, 'candidates_per_regrown=0.9 must be'),
    ({'candidates_per_regrown': math.inf}, 'candidates_per_regrown=inf must'),
  ],
)
def test_what_is_out_of_range_raises(change, message):
  usual = {
    'every': 5,
    'fraction': 0.3,
    'end_round': 20,
    'candidates_per_regrown': 2.0,
  }
  with pytest.raises(ValueError, match=re.escape(message)):
    Regrowth(**{**usual, **change})
