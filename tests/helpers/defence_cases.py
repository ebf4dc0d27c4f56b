"""Cohorts that several tests of defences share: all patterns of absence."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NUM_CLIENTS = 7
SIZE = 3


class Cases(NamedTuple):
  """K cohorts: updates float32 [K, C, M], present bool [K, C], f int32 [K]."""

  updates: np.ndarray
  present: np.ndarray
  num_malicious: np.ndarray


@functools.cache
def make() -> Cases:
  """Returns cohorts for every pattern of absence and f = 0, 1, 2.

  In one half, f of the clients are far from the others. In the other, values
  are small integers, whose sums are exact, so that many scores are equal.
  """
  rng = np.random.default_rng(0)
  patterns = itertools.product([False, True], repeat=NUM_CLIENTS)
  half = list(itertools.product(patterns, range(3)))
  updates = []
  for _, f in half:
    values = rng.normal(size=(NUM_CLIENTS, SIZE)) + 0.5
    values[rng.permutation(NUM_CLIENTS)[:f]] *= 20
    updates.append(values)
  updates += [rng.integers(-1, 2, (NUM_CLIENTS, SIZE)) for _ in half]
  present, num_malicious = zip(*half, *half, strict=True)
  return Cases(
    np.array(updates, np.float32),
    np.array(present),
    np.array(num_malicious, np.int32),
  )


def gram(
  updates_CxM: np.ndarray, present_C: np.ndarray, absent: float = np.nan
) -> np.ndarray:
  """Returns the Gram matrix with `absent` in all that the absent touch."""
  products = (updates_CxM @ updates_CxM.T).astype(np.float32)
  return np.where(present_C[:, None] & present_C, products, absent)


def clean_grams(cases: Cases) -> np.ndarray:
  """Returns what rules are given: 0 in the rows of whoever is absent."""
  return np.array(
    [
      gram(updates, present, 0)
      for updates, present in zip(cases.updates, cases.present, strict=True)
    ]
  )


def weigh(rule: Callable[..., Any], cases: Cases, **kwargs: Any) -> np.ndarray:
  """Returns a Gram rule's weights of all cases, float32 [K, C]."""
  rule = functools.partial(rule, **kwargs)
  weights = jax.jit(jax.vmap(rule))(
    clean_grams(cases), cases.present, cases.num_malicious
  )
  assert weights.dtype == jnp.float32
  return np.asarray(weights)


def check_weights(
  found: np.ndarray,
  cases: Cases,
  reference: Callable[..., np.ndarray],
  atol: float,
) -> None:
  """Asserts that weights are the reference's, and 0 for the absent."""
  for weights, updates, present, f in zip(found, *cases, strict=True):
    expected = np.zeros(NUM_CLIENTS)
    if present.any():
      expected[present] = reference(np.float64(updates[present]), int(f))
    np.testing.assert_allclose(weights, expected, atol=atol, rtol=1e-5)
