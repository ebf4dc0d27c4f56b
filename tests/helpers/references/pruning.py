"""The mask by sorting, in NumPy: obvious, and what the tests compare to."""

import numpy as np


def keep_largest(
  weights_D: np.ndarray, keep_count: int, exempt_D: np.ndarray | None = None
) -> np.ndarray:
  """Returns what `fps_jax.pruning.masks.keep_largest` must return."""

  def rank(i: int) -> tuple[int, float]:
    if exempt_D is not None and exempt_D[i]:
      return 0, 0.0
    if np.isnan(weights_D[i]):
      return 1, 0.0
    return 2, -abs(float(weights_D[i]))

  mask = np.zeros(len(weights_D), bool)
  # Of equal ranks, sorting leaves the lower index first.
  mask[sorted(range(len(weights_D)), key=rank)[:keep_count]] = True
  return mask
