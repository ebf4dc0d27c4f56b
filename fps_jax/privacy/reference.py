"""The discrete Gaussian as its paper draws it: slow, exact and obvious.

The algorithms of C. Canonne, G. Kamath and T. Steinke, The discrete Gaussian
for differential privacy, NeurIPS 2020, in Python's integers and fractions.
"""

import fractions
import math
from collections.abc import Callable

# n -> an integer that is uniform in [0, n).
Below = Callable[[int], int]


def bernoulli(probability: fractions.Fraction, below: Below) -> bool:
  """Returns True with a rational probability."""
  return below(probability.denominator) < probability.numerator


def bernoulli_exp(gamma: fractions.Fraction, below: Below) -> bool:
  """Returns True with probability exp(-gamma), gamma >= 0."""
  while gamma > 1:
    if not bernoulli_exp(fractions.Fraction(1), below):
      return False
    gamma -= 1
  k = 1
  while bernoulli(gamma / k, below):
    k += 1
  return k % 2 == 1


def discrete_laplace(scale: int, below: Below) -> int:
  """Returns x with probability ~ exp(-|x| / scale)."""
  while True:
    remainder = below(scale)
    if not bernoulli_exp(fractions.Fraction(remainder, scale), below):
      continue
    quotient = 0
    while bernoulli_exp(fractions.Fraction(1), below):
      quotient += 1
    magnitude = remainder + scale * quotient
    is_negative = below(2) == 1
    if not (is_negative and magnitude == 0):
      return -magnitude if is_negative else magnitude


def discrete_gaussian(variance: fractions.Fraction, below: Below) -> int:
  """Returns x with probability ~ exp(-x^2 / 2 variance)."""
  scale = math.isqrt(math.floor(variance)) + 1
  while True:
    x = discrete_laplace(scale, below)
    excess = abs(x) - variance / scale
    if bernoulli_exp(excess**2 / (2 * variance), below):
      return x
