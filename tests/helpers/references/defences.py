"""The rules in NumPy, from the updates: obvious, and what tests compare to.

All take updates of clients that are present, float64 [n, M], and give weights,
float64 [n], or the aggregate, float64 [M].
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def mean(vectors_nxM: np.ndarray, num_malicious: int) -> np.ndarray:
  """Returns what `scaling.mean` must return."""
  del num_malicious
  return np.full(len(vectors_nxM), 1 / len(vectors_nxM))


def scores(vectors_nxM: np.ndarray, num_malicious: int) -> list[float]:
  """Returns what `krum.scores` must return."""
  result = []
  for i, vector in enumerate(vectors_nxM):
    others = [other for j, other in enumerate(vectors_nxM) if j != i]
    distances = sorted(np.sum((vector - other) ** 2) for other in others)
    size = max(len(vectors_nxM) - num_malicious - 2, 1)
    result.append(float(sum(distances[:size])))
  return result


def krum(vectors_nxM: np.ndarray, num_malicious: int) -> np.ndarray:
  """Returns what `krum.krum` must return."""
  weights = np.zeros(len(vectors_nxM))
  weights[np.argmin(scores(vectors_nxM, num_malicious))] = 1
  return weights


def multi_krum(vectors_nxM: np.ndarray, num_malicious: int) -> np.ndarray:
  """Returns what `krum.multi_krum` must return."""
  size = max(len(vectors_nxM) - num_malicious, 1)
  chosen = np.argsort(scores(vectors_nxM, num_malicious), kind='stable')[:size]
  weights = np.zeros(len(vectors_nxM))
  weights[chosen] = 1 / size
  return weights


def geometric_median(
  vectors_nxM: np.ndarray,
  num_malicious: int,
  *,
  iterations: int,
  smoothing: float,
) -> np.ndarray:
  """Returns what `iterative.geometric_median` must return."""
  del num_malicious
  centre_M = np.zeros(vectors_nxM.shape[1])
  weights = np.zeros(len(vectors_nxM))
  for _ in range(iterations):
    distances = [np.linalg.norm(vector - centre_M) for vector in vectors_nxM]
    least = max(smoothing * np.median(distances), 1e-30)
    weights = np.array([1 / max(distance, least) for distance in distances])
    weights /= weights.sum()
    centre_M = weights @ vectors_nxM
  return weights


def centred_clipping(
  vectors_nxM: np.ndarray,
  num_malicious: int,
  *,
  iterations: int,
  radius_factor: float,
) -> np.ndarray:
  """Returns what `iterative.centred_clipping` must return.

  The weights of the last centre are those that add up to it; the centre itself
  is what is computed, as the paper has it.
  """
  del num_malicious
  num_present = len(vectors_nxM)
  centre_M = np.zeros(vectors_nxM.shape[1])
  weights = np.zeros(num_present)
  for _ in range(iterations):
    differences = vectors_nxM - centre_M
    lengths = np.linalg.norm(differences, axis=1)
    radius = radius_factor * np.median(lengths)
    for i in range(num_present):
      scale = 1.0 if lengths[i] <= radius else radius / lengths[i]
      centre_M = centre_M + scale * differences[i] / num_present
    scales = np.where(
      lengths <= radius, 1.0, radius / np.maximum(lengths, 1e-30)
    )
    weights = weights * (1 - scales.mean()) + scales / num_present
    np.testing.assert_allclose(weights @ vectors_nxM, centre_M, atol=1e-6)
  return weights


def norm_bound(
  vectors_nxM: np.ndarray, num_malicious: int, *, factor: float
) -> np.ndarray:
  """Returns what `scaling.norm_bound` must return."""
  del num_malicious
  norms = [np.linalg.norm(vector) for vector in vectors_nxM]
  bound = factor * np.median(norms)
  scales = [1.0 if norm <= bound else bound / norm for norm in norms]
  return np.array(scales) / len(norms)


def fltrust(
  vectors_nxM: np.ndarray,
  num_malicious: int,
  root_M: np.ndarray,
  max_scale: float,
) -> np.ndarray:
  """Returns what `scaling.fltrust` must return."""
  del num_malicious
  root_norm = np.linalg.norm(root_M)
  trust, scales = [], []
  for vector in vectors_nxM:
    norm = np.linalg.norm(vector)
    is_zero = norm == 0 or root_norm == 0
    cosine = 0.0 if is_zero else vector @ root_M / (norm * root_norm)
    trust.append(max(cosine, 0.0))
    scales.append(0.0 if is_zero else min(root_norm / norm, max_scale))
  if sum(trust) == 0:
    return np.zeros(len(trust))
  return np.array(trust) * scales / sum(trust)


def nnm(vectors_nxM: np.ndarray, num_malicious: int) -> list[list[int]]:
  """Returns whose mean each row of `pre_steps.nnm` must be."""
  size = max(len(vectors_nxM) - num_malicious, 1)
  groups = []
  for i, vector in enumerate(vectors_nxM):
    distances = np.sum((vectors_nxM - vector) ** 2, axis=1)
    distances[i] = -1
    groups.append(np.argsort(distances, kind='stable')[:size].tolist())
  return groups


def after_groups(
  rule: Callable[..., np.ndarray],
  vectors_nxM: np.ndarray,
  groups: list[list[int]],
  *args: Any,
) -> np.ndarray:
  """Returns the clients' weights by a rule on means of groups of them."""
  means = np.array([vectors_nxM[group].mean(axis=0) for group in groups])
  weights = np.zeros(len(vectors_nxM))
  for group, weight in zip(groups, rule(means, *args), strict=True):
    weights[group] += weight / len(group)
  return weights


def median(vectors_nxM: np.ndarray, num_malicious: int) -> np.ndarray:
  """Returns what `coordinate_rules.median` must return."""
  del num_malicious
  return np.median(vectors_nxM, axis=0)


def trimmed_mean(vectors_nxM: np.ndarray, num_malicious: int) -> np.ndarray:
  """Returns what `coordinate_rules.trimmed_mean` must return."""
  aggregate = []
  for column in vectors_nxM.T:
    values = sorted(column)
    for _ in range(num_malicious):
      if len(values) > 2:
        values = values[1:-1]
    aggregate.append(np.mean(values))
  return np.array(aggregate)


def bulyan(vectors_nxM: np.ndarray, num_malicious: int) -> np.ndarray:
  """Returns what `coordinate_rules.bulyan` must return."""
  num_present = len(vectors_nxM)
  left = list(range(num_present))
  for _ in range(max(num_present - 2 * num_malicious, 1)):
    del left[int(np.argmin(scores(vectors_nxM[left], num_malicious)))]
  chosen = np.delete(vectors_nxM, left, axis=0)
  size = num_present - 4 * num_malicious
  aggregate = []
  for column in chosen.T:
    gaps = np.abs(column - np.median(column))
    nearest = np.argsort(gaps, kind='stable')[: max(size, 0)]
    aggregate.append(column[nearest].mean() if size > 0 else np.median(column))
  return np.array(aggregate)
