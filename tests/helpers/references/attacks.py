"""Attacks in NumPy, float64 and loops: what the tests compare to.

Nothing here is shared with the fast path: distances are computed between
vectors, gamma is searched by halving, and the direction of most variance comes
from an eigenvalue problem.

`honest_HxM` are the updates that count as honest, one a row.
"""

import statistics
from collections.abc import Callable

import numpy as np


def alie(
  honest_HxM: np.ndarray, num_present: int, num_malicious: int
) -> np.ndarray:
  """Returns what `fps_jax.attacks.mean_shift.alie` must send, [M]."""
  num_honest = len(honest_HxM)
  supporters = np.floor(num_present / 2 + 1) - num_malicious
  probability = (num_honest - supporters) / num_honest
  if probability <= 0:
    probability = 1 / (2 * num_honest)
  if probability >= 1:
    probability = 1 - 1 / (2 * num_honest)
  z = statistics.NormalDist().inv_cdf(probability)
  return honest_HxM.mean(axis=0) - z * honest_HxM.std(axis=0)


def direction(honest_HxM: np.ndarray, name: str) -> np.ndarray:
  """Returns what gamma is multiplied by, [M], as the paper has it."""
  mean_M = honest_HxM.mean(axis=0)
  if name == 'unit':
    return -mean_M / np.linalg.norm(mean_M)
  return -honest_HxM.std(axis=0) if name == 'std' else -np.sign(mean_M)


def square(vector_M: np.ndarray) -> float:
  """Returns the squared length."""
  return float(np.sum(vector_M**2))


def largest_distance(point_M: np.ndarray, honest_HxM: np.ndarray) -> float:
  """Returns the largest squared distance to an honest update."""
  return max(square(point_M - update_M) for update_M in honest_HxM)


def sum_of_distances(point_M: np.ndarray, honest_HxM: np.ndarray) -> float:
  """Returns the sum of squared distances to the honest updates."""
  return sum(square(point_M - update_M) for update_M in honest_HxM)


def furthest(
  honest_HxM: np.ndarray,
  name: str,
  measure: Callable[[np.ndarray, np.ndarray], float],
  num_halvings: int = 30,
) -> np.ndarray:
  """Returns what `min_max` or `min_sum` must send, [M].

  Args:
    honest_HxM: see above.
    name: of the direction.
    measure: `largest_distance` or `sum_of_distances`; it is at most the largest
      measure of an honest update.
    num_halvings: of the interval of gamma, which starts as wide as the updates
      are apart.
  """
  mean_M = honest_HxM.mean(axis=0)
  toward_M = direction(honest_HxM, name)
  bound = max(measure(update_M, honest_HxM) for update_M in honest_HxM)
  if not toward_M.any():
    return mean_M
  fits, step = 0.0, 2 * np.sqrt(bound) / np.linalg.norm(toward_M)
  for _ in range(num_halvings):
    if measure(mean_M + (fits + step) * toward_M, honest_HxM) <= bound:
      fits += step
    step /= 2
  return mean_M + fits * toward_M


def principal_scores(honest_HxM: np.ndarray) -> np.ndarray:
  """Returns how far each update is from the mean where they vary most, [H]."""
  centred_HxM = honest_HxM - honest_HxM.mean(axis=0)
  covariance_MxM = centred_HxM.T @ centred_HxM
  return np.abs(centred_HxM @ np.linalg.eigh(covariance_MxM)[1][:, -1])
