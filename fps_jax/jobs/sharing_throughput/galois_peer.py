"""The package `galois` on the same work, where it is installed."""

import importlib.util
from typing import Any

import numpy as np

from fps_jax.jobs.timing import measure
from fps_jax.sharing.shamir import Shamir

_MILLION = 1e6


def version() -> str | None:
  """Returns the version of `galois`, None if it is not installed."""
  if importlib.util.find_spec('galois') is None:
    return None
  import galois

  return galois.__version__


def measure_sharing(
  scheme: Shamir, num_words: int, repeats: int
) -> dict[str, Any]:
  """Measures plain Shamir sharing by `galois`; nothing of packed sharing.

  By Horner's rule, which is faster there than its matrix product; its random
  words are NumPy's PCG64, which is no cryptographic generator.

  Returns:
    Million secrets per second: coefficients given, drawn, and reconstruction;
    empty if `galois` is not installed or l > 1.
  """
  if version() is None or scheme.secrets_per_polynomial > 1:
    return {}
  import galois

  field = galois.GF(scheme.field.modulus)
  points = field(np.array(scheme.server_points))
  coefficients = field.Random((scheme.threshold, num_words), seed=1)

  def share(coefficients):
    shares = []
    for point in points:
      value = coefficients[-1]
      for coefficient in coefficients[-2::-1]:
        value = value * point + coefficient
      shares.append(value)
    return shares

  def draw_and_share():
    drawn = field.Random((scheme.threshold - 1, num_words))
    return share([coefficients[0], *drawn])

  shares = share(coefficients)
  row = scheme.opening(scheme.server_points)[0, : scheme.threshold]
  weights = [field(int(weight)) for weight in row]

  def reconstruct():
    secret = shares[0] * weights[0]
    for value, weight in zip(
      shares[1 : scheme.threshold], weights[1:], strict=True
    ):
      secret = secret + value * weight
    return secret

  if not np.array_equal(reconstruct(), coefficients[0]):
    raise AssertionError('galois and this package disagree')
  repeats = min(repeats, 3)  # It takes a hundred times as long.
  return {
    f'galois_{name}_million_per_second': num_words
    / measure(function, repeats).seconds
    / _MILLION
    for name, function in (
      ('share_given', lambda: share(coefficients)),
      ('share_drawn', draw_and_share),
      ('reconstruct', reconstruct),
    )
  }
