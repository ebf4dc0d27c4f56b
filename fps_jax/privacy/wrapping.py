"""How likely a noisy sum leaves the field, and what keeps it inside.

Noise has no bound, so neither has a sum of it; a sum that leaves [-(p - 1) / 2,
(p - 1) / 2] is opened as another number, p away. That harms the model and no
client: what is opened is a function of the noisy sum either way.

An opened coordinate of C clients is r_1 + .. + r_C + the sum of C draws. Each
|r| <= levels where values are rounded as they are. The tails of a discrete
Gaussian are no heavier than a Gaussian's (C. Canonne, G. Kamath and T. Steinke,
The discrete Gaussian for differential privacy, NeurIPS 2020), so that

  P(|coordinate| > C levels + t) <= 2 exp(-t^2 / (2 C variance)).

A random rotation of blocks of B values spreads the clients' sum, whose norm is
at most C levels, over a block: a coordinate's tails are those of a Gaussian of
variance (C levels)^2 / B, and rounding to integers and to float32 moves it by
less than 2 C. Signs are drawn independently of the updates, so both variances
add up.

Example:
  >>> words = Words(num_clients=2, levels=10, dimension=8, rounds=1, prime=127)
  >>> round(log2_wrap_probability(words, fractions.Fraction(1)))
  -694
"""

import fractions
import math
from typing import NamedTuple

from fps_jax.core import arrays
from fps_jax.privacy.discrete_gaussian import check_variance


class Words(NamedTuple):
  """The words of a run whose sums are opened.

  Attributes:
    num_clients: most clients of a sum.
    levels: what a client's clipped values have for their norm at most, in
      steps.
    dimension: most values of a round.
    rounds: of the run.
    prime: of the field, odd.
    block: values that are rotated together; 0 where none are.
  """

  num_clients: int
  levels: int
  dimension: int
  rounds: int
  prime: int
  block: int = 0


def check_words(words: Words) -> None:
  """Checks the numbers of a run's words.

  Raises:
    ValueError: if one is out of range.
  """
  for name, least in (
    ('num_clients', 1),
    ('levels', 1),
    ('dimension', 1),
    ('rounds', 1),
    ('prime', 3),
    ('block', 0),
  ):
    arrays.check_integer(name, getattr(words, name), least)


def log2_wrap_probability(words: Words, variance: fractions.Fraction) -> float:
  """Returns a bound on the probability that any opened word ever wraps.

  Args:
    words: of the run.
    variance: of each client's noise, in steps squared.

  Returns:
    Its logarithm to base 2, 0 at most.

  Raises:
    ValueError: if an argument is out of range.
  """
  check_words(words)
  check_variance(variance)
  num_clients = words.num_clients
  # A sum of (p + 1) / 2 is the first that wraps.
  room = (words.prime + 1) // 2
  spread = num_clients * variance
  if words.block:
    room -= 2 * num_clients
    spread += fractions.Fraction((num_clients * words.levels) ** 2, words.block)
  else:
    room -= num_clients * words.levels
  if room <= 0:
    return 0.0
  each = 1 - float(room**2 / (2 * spread)) * math.log2(math.e)
  return min(0.0, each + math.log2(words.dimension * words.rounds))
