"""The package `galois` on the same work, where it is installed."""

import functools
import importlib.util
import operator

import numpy as np

from fps_jax.jobs.timing import measure
from fps_jax.sharing.shamir import Shamir


def version() -> str | None:
  """Returns the version of `galois`, None if it is not installed."""
  if importlib.util.find_spec('galois') is None:
    return None
  import galois

  return galois.__version__


def measure_sharing(
  scheme: Shamir, num_words: int, repeats: int
) -> dict[str, float]:
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
  row = scheme.opening(scheme.server_points)[0, : scheme.threshold]
  weights = [field(int(weight)) for weight in row]

  def share(coefficients):
    return [
      functools.reduce(lambda value, c: value * point + c, coefficients[::-1])
      for point in points
    ]

  def draw_and_share():
    drawn = field.Random((scheme.threshold - 1, num_words))
    return share([coefficients[0], *drawn])

  def reconstruct():
    # Of the first k servers: of others there is no weight.
    return functools.reduce(operator.add, map(operator.mul, shares, weights))

  shares = share(coefficients)
  if not np.array_equal(reconstruct(), coefficients[0]):
    raise AssertionError('galois and this package disagree')
  repeats = min(repeats, 3)  # It takes a hundred times as long.
  return {
    f'galois_{name}_million_per_second': measure(
      function, repeats
    ).million_per_second(num_words)
    for name, function in (
      ('share_given', lambda: share(coefficients)),
      ('share_drawn', draw_and_share),
      ('reconstruct', reconstruct),
    )
  }
