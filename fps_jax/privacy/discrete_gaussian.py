"""The discrete Gaussian, drawn with integers alone.

Its probability of an integer x is exp(-x^2 / 2v) / sum_y exp(-y^2 / 2v), for a
rational v that is close to its variance (C. Canonne, G. Kamath and T. Steinke,
The discrete Gaussian for differential privacy, NeurIPS 2020). Their sampler
rejects: some tens of random words a draw, and as many turns of a vectorised
loop as the unluckiest of thousands of values needs. It is `reference`, which
tests compare with. Rounds look a table up (A. J. Walker's alias method), two
words a draw:

- a column is drawn, and a number U of 192 bits; the column's own magnitude is
  taken where U is below the column's threshold, its other one elsewhere;
- of U, the first 32 bits are drawn; the next 32 only where those before are the
  threshold's;
- one more bit is the sign.

Nothing that decides a draw is rounded: the table is a distribution of dyadic
probabilities, computed by Python's integers, and what is drawn has exactly
those. No finite table has those of the discrete Gaussian, which are irrational:
its total variation distance from it is at most 2^-190 a draw, so below 2^-120
for 2^70 draws. `log2_distance` is by how much a run's delta grows, but for a
factor of exp(epsilon) + 1: less than its last bit, and far less than what
telling ChaCha20 from random words takes.

Example:
  >>> sampler = DiscreteGaussian(fractions.Fraction(9, 4))
  >>> sampler.draw(np.arange(8, dtype=np.uint32), 0, 6).shape
  (6,)
"""

import dataclasses
import fractions
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import chacha

LARGEST_VARIANCE = 4000**2
_LIMB_BITS = 32
_NUM_LIMBS = 6
_PRECISION = _LIMB_BITS * _NUM_LIMBS
# What 2^16 products that are each rounded down cannot reach.
_GUARD_BITS = 64
_LAST_PLACE = 2**32 - 1

# Number of a word, from 0 -> the words of that number, uint32 [...].
DrawWord = Callable[[Array | int], Array]


class Table(NamedTuple):
  """Columns of the alias method; there are 2^b of them.

  Attributes:
    thresholds: integers in [0, 2^192], below which a column gives its own
      number.
    others: what it gives elsewhere.
  """

  thresholds: tuple[int, ...]
  others: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class DiscreteGaussian:
  """A discrete Gaussian around 0.

  Guarantees:
    - draws of one key and place are the same whatever is drawn beside them;
    - the distribution is that of `table`, exactly, if words are uniform, and
      within `log2_distance` of the discrete Gaussian;
    - |draw| <= `largest`.

  Attributes:
    variance: v, rational, above 0 and at most `LARGEST_VARIANCE`. From 1 on, it
      is the variance within 10^-6 of it.

  Raises:
    ValueError: if it is out of range or no fraction.
  """

  variance: fractions.Fraction

  def __post_init__(self):
    check_variance(self.variance)

  @property
  def table(self) -> Table:
    """What is looked up."""
    return make_table(self.variance)

  @property
  def largest(self) -> int:
    """What no magnitude is above: the last one that the table has."""
    return len(_masses(self.variance)) - 1

  def draw(
    self, key_8: Array | np.ndarray, first: Array | int, size: int
  ) -> Array:
    """Returns draws from a ChaCha20 key.

    Word i of draw j is word j of the keystream with nonce (i, 0, 0).

    Args:
      key_8: uint32 [8], used for one vector alone.
      first: place of the first draw in that vector, a multiple of 16; may be
        traced.
      size: how many draws.

    Returns:
      int32 [size].

    Raises:
      ValueError: if arguments do not fit.
    """
    arrays.check('key_8', key_8, np.uint32, (chacha.KEY_WORDS,))
    arrays.check_integer('first', first, 0, _LAST_PLACE)
    arrays.check_integer('size', size, 0)
    if isinstance(first, int) and first % chacha.BLOCK_WORDS:
      raise ValueError(
        f'first={first} must be a multiple of {chacha.BLOCK_WORDS}: draws '
        'begin where a block of the cipher does'
      )
    key_8, first_block = jnp.asarray(key_8), first // chacha.BLOCK_WORDS
    num_blocks = -(-size // chacha.BLOCK_WORDS)

    def draw_word(number: Array | int) -> Array:
      nonce = jnp.zeros(chacha.NONCE_WORDS, jnp.uint32)
      nonce = nonce.at[0].set(jnp.uint32(number))
      return chacha.keystream(key_8, nonce, first_block, num_blocks)[:size]

    return self.choose(draw_word)

  def choose(self, draw_word: DrawWord) -> Array:
    """Returns draws, int32, of the shape of the words.

    Args:
      draw_word: number of a word -> uint32 words, one a draw, always the same.
        Word 0 has the column in its low bits and the sign in its highest; words
        1 to 6 are U, the highest bits first. Those from 2 on are asked for
        where they matter.
    """
    limbs_IxK, others_K = _table_words(self.variance)
    word = draw_word(0)
    columns = word & np.uint32(len(others_K) - 1)
    is_negative = (word >> (_LIMB_BITS - 1)).astype(bool)

    def compare(limb: Array | int) -> tuple[Array, Array]:
      """Returns where U's limb is below the threshold's, and where equal."""
      limbs_K = jnp.asarray(limbs_IxK)[limb]
      limbs = limbs_K.at[columns].get(mode='promise_in_bounds')
      drawn = draw_word(limb + 1)
      return drawn < limbs, drawn == limbs

    def is_open(carry: tuple[Array, Array, Array]) -> Array:
      limb, _, is_equal = carry
      return (limb < _NUM_LIMBS) & jnp.any(is_equal)

    def refine(
      carry: tuple[Array, Array, Array],
    ) -> tuple[Array, Array, Array]:
      limb, is_below, is_equal = carry
      below, equal = compare(limb)
      return limb + 1, is_below | (is_equal & below), is_equal & equal

    start = (jnp.int32(1), *compare(0))
    _, is_below, _ = jax.lax.while_loop(is_open, refine, start)
    others = jnp.asarray(others_K).at[columns].get(mode='promise_in_bounds')
    magnitudes = jnp.where(is_below, columns, others).astype(jnp.int32)
    return jnp.where(is_negative, -magnitudes, magnitudes)

  def choose_plainly(self, words_7: Sequence[int]) -> int:
    """Returns one draw by Python's integers: the reference of `choose`.

    Args:
      words_7: the draw's words, each in [0, 2^32).
    """
    thresholds, others = self.table
    first, *limbs = words_7
    column = first % len(thresholds)
    uniform = sum(
      limb << (_PRECISION - _LIMB_BITS * (i + 1))
      for i, limb in enumerate(limbs)
    )
    is_own = uniform < thresholds[column]
    magnitude = column if is_own else others[column]
    return -magnitude if first >> (_LIMB_BITS - 1) else magnitude


def check_variance(variance: fractions.Fraction) -> None:
  """Checks what a discrete Gaussian can be drawn of.

  Raises:
    ValueError: if the variance is out of range or no fraction.
  """
  if not isinstance(variance, fractions.Fraction):
    raise ValueError(
      f'variance={variance!r} must be a fractions.Fraction: what is not '
      'rational cannot be drawn exactly'
    )
  if not 0 < variance <= LARGEST_VARIANCE:
    raise ValueError(
      f'variance={float(variance):g} must be above 0 and at most '
      f'{LARGEST_VARIANCE}: lower the levels of a value, which rounds it '
      'more coarsely'
    )


def log2_distance(num_draws: int) -> float:
  """Returns a bound on how far draws are from exact, as a logarithm.

  The bound is on the total variation distance between so many draws of tables
  and as many of discrete Gaussians.

  Raises:
    ValueError: if `num_draws` is below 1.
  """
  arrays.check_integer('num_draws', num_draws, 1)
  # A draw: 2^-192 are beyond the table, 2^-192 move as that is scaled to 1, and
  # masses are rounded, each by 1 of 2^(192 + b).
  return math.log2(num_draws) - (_PRECISION - 2)


@functools.lru_cache(maxsize=16)
def make_table(variance: fractions.Fraction) -> Table:
  """Returns the columns of magnitudes, by M. D. Vose's way to fill them.

  Raises:
    ValueError: as of `check_variance`.
  """
  check_variance(variance)
  masses = list(_masses(variance))
  num_columns = 1 << (len(masses) - 1).bit_length()
  full = 1 << _PRECISION
  masses += [0] * (num_columns - len(masses))
  # A column that is full of its own magnitude gives it in either case.
  thresholds, others = [0] * num_columns, list(range(num_columns))
  poor = [column for column in range(num_columns) if masses[column] < full]
  rich = [column for column in range(num_columns) if masses[column] > full]
  while poor:
    column, donor = poor.pop(), rich[-1]
    thresholds[column], others[column] = masses[column], donor
    masses[donor] -= full - masses[column]
    if masses[donor] <= full:
      rich.pop()
      if masses[donor] < full:
        poor.append(donor)
  return Table(tuple(thresholds), tuple(others))


@functools.lru_cache(maxsize=16)
def _masses(variance: fractions.Fraction) -> tuple[int, ...]:
  """Returns what magnitudes weigh: integers that sum to 2^(192 + b).

  There are at most 2^b of them. Both signs of a magnitude count.
  """
  weights = _weights(variance)
  doubled = [weights[0], *(2 * weight for weight in weights[1:])]
  total = sum(doubled)
  whole = 1 << (_PRECISION + (len(weights) - 1).bit_length())
  masses = [weight * whole // total for weight in doubled]
  # What rounding down left over, of at most 1 each.
  masses[0] += whole - sum(masses)
  return tuple(masses)


def _weights(variance: fractions.Fraction) -> list[int]:
  """Returns exp(-m^2 / 2v) for m = 0, 1 .. as parts of 2^256, rounded down.

  It ends where all that follow are drawn with a probability below 2^-192: the
  tails are those of a Gaussian at most (Canonne et al.), so a magnitude is
  above m with a probability of at most 2 exp(-(m + 1)^2 / 2v).
  """
  bits = _PRECISION + _GUARD_BITS
  factor = _exp_of_minus(1 / (2 * variance), bits)
  squared = factor * factor >> bits
  least = 1 << (_GUARD_BITS - 1)
  weights, weight = [], 1 << bits
  while weight >= least:
    weights.append(weight)
    weight = weight * factor >> bits
    factor = factor * squared >> bits
  return weights


def _exp_of_minus(x: fractions.Fraction, bits: int) -> int:
  """Returns 2^bits exp(-x) for x > 0, off by less than 2."""
  # exp(-x) = exp(-x / 2^h)^(2^h): each square doubles the error.
  num_halvings = max(0, math.ceil(x).bit_length() + 1)
  extra = num_halvings + 16
  x = x / 2**num_halvings
  one = 1 << (bits + extra)
  total, term, n = 0, one, 0
  while term:
    total += term if n % 2 == 0 else -term
    n += 1
    term = term * x.numerator // (x.denominator * n)
  for _ in range(num_halvings):
    total = total * total >> (bits + extra)
  return total >> extra


@functools.lru_cache(maxsize=16)
def _table_words(
  variance: fractions.Fraction,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns thresholds, uint32 [6, K], the highest bits first, and others."""
  thresholds, others = make_table(variance)
  raw = b''.join(
    threshold.to_bytes(_PRECISION // 8, 'big') for threshold in thresholds
  )
  limbs_KxI = np.frombuffer(raw, '>u4').reshape(len(thresholds), _NUM_LIMBS)
  return (
    np.ascontiguousarray(limbs_KxI.T).astype(np.uint32),
    np.array(others, np.uint32),
  )
