"""Layer counts of ERK against giving parameters out one by one."""

import itertools
import math
import random
from fractions import Fraction

import pytest

from fps_jax.pruning.erk import counts_per_layer

MLP = [(200,), (784, 200), (200,), (200, 200), (10,), (200, 10)]
MLP_EXEMPT = [True, False, True, False, True, True]


def one_by_one(shapes, exempt, keep_count):
  sizes = [math.prod(shape) for shape in shapes]
  counts = [size * flag for size, flag in zip(sizes, exempt, strict=True)]
  while sum(counts) < keep_count:
    counts[
      min(
        (i for i, size in enumerate(sizes) if counts[i] < size),
        key=lambda i: (Fraction(counts[i] + 1, sum(shapes[i])), i),
      )
    ] += 1
  return tuple(counts)


def models():
  rng = random.Random(0)
  for _ in range(40):
    num_layers = rng.randint(1, 5)
    shapes = [
      tuple(rng.randint(1, 6) for _ in range(rng.randint(1, 3)))
      for _ in range(num_layers)
    ]
    yield shapes, [rng.random() < 0.3 for _ in shapes]


def test_counts_are_those_of_giving_parameters_out_one_by_one():
  for shapes, exempt in models():
    sizes = [math.prod(shape) for shape in shapes]
    num_exempt = sum(itertools.compress(sizes, exempt))
    for keep_count in range(num_exempt, sum(sizes) + 1):
      counts = counts_per_layer(shapes, exempt, keep_count)
      assert counts == one_by_one(shapes, exempt, keep_count)


def test_counts_add_up_exempt_layers_are_whole_and_no_count_falls():
  for shapes, exempt in models():
    sizes = [math.prod(shape) for shape in shapes]
    num_exempt = sum(itertools.compress(sizes, exempt))
    before = None
    for keep_count in range(num_exempt, sum(sizes) + 1):
      counts = counts_per_layer(shapes, exempt, keep_count)
      assert sum(counts) == keep_count
      for count, size, is_exempt in zip(counts, sizes, exempt, strict=True):
        assert count == size if is_exempt else 0 <= count <= size
      if before:
        assert all(a <= b for a, b in zip(before, counts, strict=True))
      before = counts


def test_density_is_the_sum_of_dimensions_over_their_product():
  counts = counts_per_layer(MLP, MLP_EXEMPT, 19_921)
  first, second = counts[1] / (784 * 200), counts[3] / (200 * 200)
  published = (984 / (784 * 200)) / (400 / (200 * 200))
  assert first / second == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize('keep_count', [2_409, 199_211])
def test_count_out_of_range_raises(keep_count: int):
  with pytest.raises(ValueError, match=f'keep_count={keep_count} must be from'):
    counts_per_layer(MLP, MLP_EXEMPT, keep_count)
