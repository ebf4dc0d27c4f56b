"""Tests of `fps_jax.pruning.selection`, by sorting."""

import functools
import itertools

import jax
import numpy as np
import pytest

from fps_jax.pruning import selection

SIZE = 6


def largest(values: np.ndarray, count: int) -> np.ndarray:
  """Returns the mask of the largest magnitudes; of equal ones the first."""
  order = np.argsort(-np.abs(values), kind='stable')
  return np.isin(np.arange(len(values)), order[:count])


def vectors() -> list[np.ndarray]:
  rng = np.random.default_rng(0)
  ties = rng.choice([-1.0, 0.0, 1.0], size=(10, SIZE))
  return list(np.float32([*rng.normal(size=(10, SIZE)), *ties]))


def test_top_k_sends_the_largest_and_keeps_the_rest_exactly():
  # As in a round: compiled once for every count.
  select = jax.jit(selection.select_top_k)
  for delta, residual in itertools.pairwise(vectors()):
    total = delta + residual
    for count in range(SIZE + 1):
      sent, left = select(delta, residual, count)
      mask = largest(total, count)
      np.testing.assert_array_equal(sent, np.where(mask, total, 0))
      np.testing.assert_array_equal(np.asarray(sent) + left, total)
      assert not np.any(np.asarray(sent) * np.asarray(left))


def test_local_mask_is_that_of_the_trained_weights():
  exempt = np.arange(SIZE) == 2
  select = jax.jit(functools.partial(selection.select_local, exempt_D=exempt))
  for params, delta in itertools.pairwise(vectors()):
    for count in range(1, SIZE + 1):
      sent = select(params, delta, count)
      scores = np.where(exempt, np.inf, params + delta)
      mask = largest(scores, count)
      np.testing.assert_array_equal(sent, np.where(mask, delta, 0))


@pytest.mark.parametrize('mask', ['local', 'top_k'])
def test_what_needs_a_shared_mask_is_refused(mask: str):
  selection.check(mask, 'global', 'sparse', 0, 1)
  selection.check('shared', 'erk', 'dense', 0, 3)
  for changed in (
    ('erk', 'sparse', 0, 1),
    ('global', 'dense', 0, 1),
    ('global', 'sparse', 2, 1),
    ('global', 'sparse', 0, 2),
  ):
    with pytest.raises(ValueError, match=r"belong to mask='shared'"):
      selection.check(mask, *changed)
