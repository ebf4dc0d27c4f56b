"""Tests of `fps_jax.privacy.rounding`."""

import itertools
import math

import numpy as np
import pytest

from fps_jax.privacy import rounding


@pytest.mark.parametrize('dimension', [1, 2, 3, 9])
@pytest.mark.parametrize('levels', [1, 3, 50])
def test_most_roundings_hold_the_bound(levels: int, dimension: int) -> None:
  """Every rounding of vectors as long as the clip, with its probability."""
  bound = rounding.squared_norm_bound(levels, dimension)
  rng = np.random.default_rng(levels)
  for vector in (np.ones(dimension), rng.normal(size=dimension)):
    vector = vector * levels / np.linalg.norm(vector)
    floor, fraction = np.floor(vector), vector - np.floor(vector)
    above = 0.0
    for ups in itertools.product((0, 1), repeat=dimension):
      squares = int(np.sum((floor + ups) ** 2))
      assert squares <= (levels + math.sqrt(dimension)) ** 2 + 1e-9
      if squares > bound:
        above += np.prod(np.where(ups, fraction, 1 - fraction))
    assert above <= math.exp(-2)


def test_bound_is_that_of_the_paper_rounded_down() -> None:
  for levels, d in itertools.product((1, 7, 2**18), (1, 10, 20_000, 2**23)):
    root = math.sqrt(d)
    paper = min(
      (levels + root) ** 2,
      levels**2 + d / 4 + math.sqrt(2 * 2) * (levels + root / 2),
    )
    bound = rounding.squared_norm_bound(levels, d)
    assert paper - 1 - 1e-4 < bound <= paper + 1e-4


def test_squares_are_summed_exactly_in_parts() -> None:
  rng = np.random.default_rng(0)
  integers = rng.integers(-(2**18), 2**18 + 1, (3, 5000)).astype(np.int32)
  integers[2] = 2**18
  halves = [
    rounding.squares_of_integers(np.ascontiguousarray(part))
    for part in np.split(integers, [1234], axis=1)
  ]
  pairs = np.asarray(rounding.add_pairs(*halves)).astype(object)
  exact = (integers.astype(object) ** 2).sum(axis=1)
  assert (pairs[:, 0] * 2**32 + pairs[:, 1]).tolist() == exact.tolist()
  assert max(exact) > 2**48


@pytest.mark.parametrize('bound', [5, 2**32 - 1, 2**32, 2**40 + 3])
def test_bound_itself_is_within_and_nothing_above(bound: int) -> None:
  squares = [bound - 1, bound, bound + 1, bound + 2**32]
  pairs = np.array([divmod(square, 2**32) for square in squares], np.uint32)
  within = rounding.is_within(pairs, bound)
  assert within.tolist() == [True, True, False, False]
