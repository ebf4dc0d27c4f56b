"""Tests of fps_jax.core.seeding."""

import numpy as np
import pytest

from fps_jax.core.seeding import generators

MOST = 2**32 - 1


@pytest.mark.parametrize(
  'entropy', [(), (0,), (7, 3), (0, 3, 0), (MOST, 3, 5, MOST), (1, 2, 3, 4, 5)]
)
def test_generators_are_those_of_numpy(entropy: tuple[int, ...]):
  last = np.array([0, 1, 2, 1, 999_999, MOST], np.int64)
  found = [
    (generator.random(3).tolist(), generator.permutation(20).tolist())
    for generator in generators(entropy, last)
  ]
  for number, draws in zip(last.tolist(), found, strict=True):
    generator = np.random.default_rng([*entropy, number])
    expected = generator.random(3).tolist(), generator.permutation(20).tolist()
    assert draws == expected


def test_generators_of_nobody_are_none():
  assert not list(generators((1, 2), np.zeros(0, np.int32)))


def test_what_one_generator_left_over_is_not_in_the_next():
  # A generator keeps half of a word where 32 bits are asked for.
  drawn = [
    generator.integers(2**31, size=1, dtype=np.uint32).item()
    for generator in generators((5,), np.array([3, 3, 3]))
  ]
  assert len(set(drawn)) == 1


@pytest.mark.parametrize(
  ('entropy', 'last', 'value'),
  [
    ((MOST + 1,), [0], '4294967296'),
    ((), [1, -1], '-1'),
    ((), [2**40], '1099511627776'),
  ],
)
def test_a_number_of_more_than_a_word_is_refused(
  entropy: tuple[int, ...], last: list[int], value: str
):
  with pytest.raises(ValueError, match=f'{value} is not in'):
    list(generators(entropy, np.array(last)))
