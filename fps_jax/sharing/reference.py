"""Sharing in plain Python ints: slow, obvious, and what the tests compare to.

Nothing here is shared with the fast path: polynomials are evaluated by their
coefficients and reconstruction is textbook Lagrange interpolation at zero.
"""

import math
from collections.abc import Mapping, Sequence


def evaluate(coefficients: Sequence[int], point: int, modulus: int) -> int:
  """Returns the polynomial's value at a point, constant coefficient first."""
  return sum(c * point**i for i, c in enumerate(coefficients)) % modulus


def share(
  secret: int, random: Sequence[int], num_servers: int, modulus: int
) -> list[int]:
  """Shares one word; the random words are the shares of the first servers.

  Args:
    secret: the word.
    random: k - 1 words.
    num_servers: N.
    modulus: the prime.

  Returns:
    N shares, that of server 1 first.
  """
  known = {0: secret, **{i + 1: word for i, word in enumerate(random)}}
  return [
    interpolate(known, point, modulus) for point in range(1, num_servers + 1)
  ]


def interpolate(known: Mapping[int, int], point: int, modulus: int) -> int:
  """Returns the value at `point` of the polynomial through `known`."""
  total = 0
  for x_i, y_i in known.items():
    others = [x_j for x_j in known if x_j != x_i]
    numerator = math.prod(point - x_j for x_j in others)
    denominator = math.prod(x_i - x_j for x_j in others)
    total += y_i * numerator * pow(denominator, -1, modulus)
  return total % modulus


def reconstruct(shares: Mapping[int, int], modulus: int) -> int:
  """Returns the secret from k shares, keyed by server number."""
  return interpolate(shares, 0, modulus)
