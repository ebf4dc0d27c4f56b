"""Locating wrong shares: Reed-Solomon decoding of one word, in Python ints.

The shares of one polynomial of degree below k are a word of a Reed-Solomon
code: with n of them at hand, up to (n - k) / 2 wrong ones can be located, more
are noticed unless they happen to look like another polynomial's.

Reference: S. Gao, A new algorithm for decoding Reed-Solomon codes, 2003.

Example:
  >>> shares = {1: 8, 2: 9, 3: 10, 4: 99, 5: 12}  # 7 + x, but for server 4
  >>> sorted(locate_errors(shares, threshold=3, modulus=101))
  [4]
"""

from collections.abc import Mapping, Sequence

from fps_jax.core import arrays

# Coefficients modulo p, constant first, without zeros at the end.
_Polynomial = list[int]


def max_errors(num_present: int, threshold: int) -> int:
  """Returns how many wrong shares among n can be located: (n - k) // 2."""
  return max(0, (num_present - threshold) // 2)


def locate_errors(
  shares: Mapping[int, int], threshold: int, modulus: int
) -> frozenset[int] | None:
  """Returns which shares are wrong.

  Guarantee: if at most (n - k) // 2 of the n shares differ from those of one
  polynomial of degree below k, exactly these are returned.

  Args:
    shares: server number to share, at least k of them.
    threshold: k.
    modulus: the prime p.

  Returns:
    The numbers of the servers whose share is wrong; None if no polynomial
    agrees with all but (n - k) // 2 of them.

  Raises:
    ValueError: if there are fewer than k shares, two of one server modulo p, or
      a number is no integer.
  """
  arrays.check_integer('threshold', threshold, 1)
  arrays.check_integer('modulus', modulus, 2)
  for x, share in shares.items():
    arrays.check_integer('server', x)
    arrays.check_integer(f'share of server {x}', share)
  points = {x % modulus for x in shares}
  if len(shares) < threshold or len(points) < len(shares):
    raise ValueError(
      f'shares of servers {tuple(shares)} must be of threshold={threshold} or '
      f'more, distinct modulo {modulus}: give each server one'
    )
  num_present = len(shares)
  product: _Polynomial = [1]
  for x in shares:
    product = _multiply(product, [-x % modulus, 1], modulus)
  interpolated = _interpolate(shares, product, modulus)
  # The extended Euclidean algorithm, stopped half-way: remainder = locator *
  # interpolated modulo product, so that remainder / locator is the message.
  previous, remainder = product, interpolated
  previous_locator: _Polynomial = []
  locator: _Polynomial = [1]
  while 2 * (len(remainder) - 1) >= num_present + threshold:
    quotient, rest = _divide(previous, remainder, modulus)
    previous, remainder = remainder, rest
    step = _multiply(quotient, locator, modulus)
    previous_locator, locator = (
      locator,
      _subtract(previous_locator, step, modulus),
    )
  message, rest = _divide(remainder, locator, modulus)
  if rest or len(message) > threshold:
    return None
  wrong = frozenset(
    x for x in shares if _evaluate(message, x, modulus) != shares[x] % modulus
  )
  return wrong if len(wrong) <= max_errors(num_present, threshold) else None


def _interpolate(
  shares: Mapping[int, int], product: _Polynomial, modulus: int
) -> _Polynomial:
  """Returns the polynomial through the shares; `product` vanishes on all."""
  total: _Polynomial = []
  for x, share in shares.items():
    others, _ = _divide(product, [-x % modulus, 1], modulus)
    scale = share * pow(_evaluate(others, x, modulus), -1, modulus)
    negative = _multiply(others, [-scale % modulus], modulus)
    total = _subtract(total, negative, modulus)
  return total


def _evaluate(polynomial: Sequence[int], x: int, modulus: int) -> int:
  value = 0
  for coefficient in reversed(polynomial):
    value = (value * x + coefficient) % modulus
  return value


def _subtract(a: _Polynomial, b: _Polynomial, modulus: int) -> _Polynomial:
  length = max(len(a), len(b))
  a, b = a + [0] * (length - len(a)), b + [0] * (length - len(b))
  return _trim([(x - y) % modulus for x, y in zip(a, b, strict=True)])


def _multiply(a: _Polynomial, b: _Polynomial, modulus: int) -> _Polynomial:
  result = [0] * (len(a) + len(b) - 1) if a and b else []
  for i, x in enumerate(a):
    for j, y in enumerate(b):
      result[i + j] = (result[i + j] + x * y) % modulus
  return _trim(result)


def _divide(
  a: _Polynomial, b: _Polynomial, modulus: int
) -> tuple[_Polynomial, _Polynomial]:
  """Returns quotient and remainder of a / b; b is not zero."""
  rest = list(a)
  quotient = [0] * max(0, len(a) - len(b) + 1)
  inverse = pow(b[-1], -1, modulus)
  for shift in reversed(range(len(quotient))):
    quotient[shift] = rest[shift + len(b) - 1] * inverse % modulus
    for i, coefficient in enumerate(b):
      change = quotient[shift] * coefficient
      rest[shift + i] = (rest[shift + i] - change) % modulus
  return _trim(quotient), _trim(rest)


def _trim(polynomial: _Polynomial) -> _Polynomial:
  while polynomial and not polynomial[-1]:
    polynomial.pop()
  return polynomial
