"""The mask by sorting, in NumPy: obvious, and what the tests compare to."""

import numpy as np


def keep_largest(
  weights_D: np.ndarray, keep_count: int, exempt_D: np.ndarray | None = None
) -> np.ndarray:
  """Returns what `fps_jax.pruning.masks.keep_largest` must return."""
  scores = np.abs(weights_D)
  if exempt_D is not None:
    scores = np.where(exempt_D, np.inf, scores)
  mask = np.zeros(len(scores), bool)
  mask[np.argsort(-scores, kind='stable')[:keep_count]] = True
  return mask
