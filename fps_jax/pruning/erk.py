"""Erdos-Renyi-kernel densities: how many parameters each layer keeps.

A layer's density is proportional to the sum of its dimensions over their
product, at most 1: small layers stay dense, large ones pay for it.

Reference: U. Evci et al., Rigging the lottery, ICML 2020, section 3.

Example:
  >>> counts_per_layer([(4, 4), (100, 100)], [False, False], keep_count=104)
  (4, 100)
"""

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

from fps_jax.core import arrays


def counts_per_layer(
  shapes: Sequence[tuple[int, ...]],
  exempt: Sequence[bool],
  keep_count: int,
) -> tuple[int, ...]:
  """Returns how many parameters of each layer are kept.

  Parameters are given out one by one, always to the layer that is furthest
  behind its part: the one with the smallest (count + 1) / sum of dimensions,
  and of equals the first.

  Guarantees:
    - the counts add up to `keep_count`;
    - exempt layers are kept whole;
    - no layer's count falls when `keep_count` grows, so masks are nested.

  Args:
    shapes: of the layers' arrays.
    exempt: which of them are never pruned.
    keep_count: parameters kept in all, from the exempt ones to all there are.

  Raises:
    ValueError: if `keep_count` is out of range, a dimension is below 1, or
      there are more or fewer shapes than `exempt` tells of.
  """
  arrays.check_integer('keep_count', keep_count)
  check_layers(shapes, exempt)
  for shape in shapes:
    for dimension in shape:
      arrays.check_integer('shapes', dimension, 1)
  sizes = [math.prod(shape) for shape in shapes]
  counts = [
    size if is_exempt else 0
    for size, is_exempt in zip(sizes, exempt, strict=True)
  ]
  if not sum(counts) <= keep_count <= sum(sizes):
    raise ValueError(
      f'keep_count={keep_count} must be from {sum(counts)}, the exempt '
      f'parameters, to {sum(sizes)}, all of them'
    )
  parts = [sum(shape) for shape in shapes]
  open_layers = [i for i, is_exempt in enumerate(exempt) if not is_exempt]
  # What every layer has for certain at once; the few that are left by turns.
  left = _fill(counts, open_layers, sizes, parts, keep_count - sum(counts))
  queue = [
    (Fraction(counts[i] + 1, parts[i]), i)
    for i in open_layers
    if counts[i] < sizes[i]
  ]
  heapq.heapify(queue)
  for _ in range(left):
    _, i = heapq.heappop(queue)
    counts[i] += 1
    if counts[i] < sizes[i]:
      heapq.heappush(queue, (Fraction(counts[i] + 1, parts[i]), i))
  return tuple(counts)


def check_layers(
  shapes: Sequence[tuple[int, ...]], exempt: Sequence[bool]
) -> None:
  """Checks that there are as many layers of both.

  Raises:
    ValueError: if there are not.
  """
  if len(shapes) != len(exempt):
    raise ValueError(
      f'shapes has {len(shapes)} layers, exempt has {len(exempt)}: give one of '
      'each for every layer'
    )


def _fill(
  counts: list[int],
  open_layers: Sequence[int],
  sizes: Sequence[int],
  parts: Sequence[int],
  left: int,
) -> int:
  """Gives open layers what is theirs whatever the turns; returns what is left.

  Rounded down, so that no turn would have had to give less.
  """
  while open_layers and left:
    total = sum(parts[i] for i in open_layers)
    full = [i for i in open_layers if sizes[i] * total <= left * parts[i]]
    if not full:
      for i in open_layers:
        counts[i] = left * parts[i] // total
      return left - sum(counts[i] for i in open_layers)
    for i in full:
      counts[i] = sizes[i]
      left -= sizes[i]
    open_layers = [i for i in open_layers if i not in full]
  return left
