"""What each client adds so that sums of enough clients are private.

The distributed discrete Gaussian mechanism (P. Kairouz, Z. Liu and T. Steinke,
ICML 2021): values are clipped to `levels` steps and rounded under a bound on
their norm (`rounding`), and each client adds noise of `variance`, so that what
`min_honest` of them add suffices. Its sensitivity is the bound, whoever joins
or leaves; a client that is replaced moves the sum by twice as much.

The step is the smallest for which sums do not wrap. As noise grows with
levels, more of them cost bits and no accuracy: the part of the noise that is
there for rounding shrinks.

Example:
  >>> words = Words(100, 1, dimension=20_000, rounds=30, prime=2**20 - 3)
  >>> made = make_mechanism(1.0, 90, words, wrap_probability=2**-40)
  >>> made.words.levels, float(made.variance)
  (4782, 254247.0)
"""

import fractions
import math
from typing import NamedTuple

from fps_jax.core import arrays
from fps_jax.privacy import rounding, wrapping
from fps_jax.privacy.discrete_gaussian import LARGEST_VARIANCE
from fps_jax.privacy.wrapping import Words

# Of each client's noise, in steps: with less, sums of discrete Gaussians would
# differ from one by more than accounting should have to count.
LEAST_DEVIATION = 2.0
# What rounding may multiply the noise by.
_MOST_COST = 2
_MOST_BITS = 31
_PARTS = 16


class Mechanism(NamedTuple):
  """Noise of every client, and what it is calibrated to.

  Attributes:
    words: of the run, with the levels that were chosen.
    variance: of each client's noise, in steps squared.
    min_honest: clients whose noise suffices.
    squared_norm: what a client's rounded values have for their squared norm at
      most, in steps squared: the sensitivity squared of adding or removing one.
  """

  words: Words
  variance: fractions.Fraction
  min_honest: int
  squared_norm: int

  @property
  def noise_multiplier(self) -> float:
    """Deviation of the noise of `min_honest` clients by the sensitivity."""
    return math.sqrt(self.min_honest * self.variance / self.squared_norm)

  @property
  def rounding_cost(self) -> float:
    """What rounding multiplies the sensitivity by, and the noise with it."""
    return math.sqrt(self.squared_norm) / self.words.levels

  @property
  def num_draws(self) -> int:
    """Draws of noise in the run, at most."""
    words = self.words
    return words.num_clients * words.dimension * words.rounds

  @property
  def log2_wrap_probability(self) -> float:
    """Bound on the probability that any word of the run ever wraps."""
    return wrapping.log2_wrap_probability(self.words, self.variance)


def make_mechanism(
  noise_multiplier: float,
  min_honest: int,
  words: Words,
  wrap_probability: float,
) -> Mechanism:
  """Returns the noise of a run, with as many levels as its field has room for.

  Args:
    noise_multiplier: what that of the result is at least, above 0.
    min_honest: clients whose noise suffices, at least 1.
    words: of the run; its levels are not read.
    wrap_probability: what that of any wrap in the run is at most, in (0, 1).

  Raises:
    ValueError: if an argument is out of range, or the field has too few bits.
  """
  wrapping.check_words(words)
  arrays.check_integer('min_honest', min_honest, 1, words.num_clients)
  if not 0 < noise_multiplier < math.inf:
    raise ValueError(
      f'noise_multiplier={noise_multiplier} must be above 0 and finite: '
      'without noise nothing is private'
    )
  if not 0 < wrap_probability < 1:
    raise ValueError(
      f'wrap_probability={wrap_probability} must be above 0 and below 1: use '
      'such as 2**-40'
    )
  ratio = fractions.Fraction(noise_multiplier) ** 2 / min_honest
  log2_wrap = math.log2(wrap_probability)
  mechanism = _with_most_levels(ratio, min_honest, words, log2_wrap)
  if mechanism is None:
    raise ValueError(_too_few_bits(ratio, min_honest, words, log2_wrap))
  return mechanism


def _with_most_levels(
  ratio: fractions.Fraction, min_honest: int, words: Words, log2_wrap: float
) -> Mechanism | None:
  """Returns the mechanism of the smallest step; None where rounding is coarse.

  `ratio` is each client's variance by the squared sensitivity.
  """

  def make(levels: int) -> Mechanism:
    squared_norm = rounding.squared_norm_bound(levels, words.dimension)
    variance = rounding.least_multiple(ratio * squared_norm, _PARTS)
    return Mechanism(
      words._replace(levels=levels), variance, min_honest, squared_norm
    )

  def fits(levels: int) -> bool:
    made = make(levels)
    return (
      made.variance <= LARGEST_VARIANCE
      and made.log2_wrap_probability <= log2_wrap
    )

  # All grow with levels: noise, sums and so the probability.
  least, beyond = 0, rounding.MAX_LEVELS + 1
  while beyond - least > 1:
    middle = (least + beyond) // 2
    least, beyond = (middle, beyond) if fits(middle) else (least, middle)
  if not least:
    return None
  made = make(least)
  is_fine = made.rounding_cost <= _MOST_COST
  return made if is_fine and made.variance >= LEAST_DEVIATION**2 else None


def _too_few_bits(
  ratio: fractions.Fraction, min_honest: int, words: Words, log2_wrap: float
) -> str:
  """Returns what is wrong with a field that has too few bits, and the cure."""
  bits = (words.prime - 1).bit_length()
  enough = [
    more
    for more in range(bits + 1, _MOST_BITS + 1)
    # A prime of so many bits is at least half of 2^more.
    if _with_most_levels(
      ratio, min_honest, words._replace(prime=2**more - 1), log2_wrap
    )
  ]
  need = f'{enough[0]} bits' if enough else f'more than {_MOST_BITS} bits'
  return (
    f'words of {bits} bits (sharing.prime={words.prime}) hold no sum of '
    f'{words.num_clients} clients x {words.dimension} values with this noise: '
    f'for any wrap in {words.rounds} rounds to be less likely than '
    f'2**{log2_wrap:g}, rounding would be so coarse as to multiply the noise '
    f'by more than {_MOST_COST}. That takes {need}: use a larger prime, up to '
    '2**31 - 1, privacy.rotate=True, a higher sparsity, fewer clients or less '
    'noise'
  )
