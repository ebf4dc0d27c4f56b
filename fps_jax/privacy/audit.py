"""A lower bound on epsilon, from guesses who took part in one run.

Of some clients, canaries, each takes part or not by a coin of its own; then
somebody who sees what was released guesses the coins, and may pass. Whoever is
right more often than a mechanism of some epsilon allows has shown that epsilon
is larger (T. Steinke, M. Nasr, M. Jagielski, Privacy auditing with one (1)
training run, NeurIPS 2023, theorem 5.2). `fps_jax.runs.canaries` does such
runs.

Example:
  >>> lower_bound(num_canaries=100, num_guesses=50, num_right=25, delta=1e-5)
  0.0
  >>> round(lower_bound(100, num_guesses=50, num_right=50, delta=1e-5), 2)
  2.78
"""

import math

import numpy as np
from scipy import stats

from fps_jax.core import arrays

# Where epsilon is looked for, and how exactly.
_MOST = 100.0
_HALVINGS = 40


def count_right(
  scores_C: np.ndarray, is_in_C: np.ndarray, num_guesses: int
) -> int:
  """Returns how many guesses are right: half of them in, half of them out.

  Args:
    scores_C: float [C], higher for who is likelier to have taken part.
    is_in_C: bool [C], who did.
    num_guesses: an even number of at most C; those in the middle are passed.

  Raises:
    ValueError: if it is not, or there is not one score for each coin.
  """
  arrays.check('is_in_C', is_in_C, bool, scores_C.shape)
  arrays.check_integer('num_guesses', num_guesses, 0, len(scores_C))
  if num_guesses % 2:
    raise ValueError(f'num_guesses={num_guesses} must be even: guess one more')
  order = np.argsort(scores_C)
  half = num_guesses // 2
  guessed_out, guessed_in = order[:half], order[len(order) - half :]
  return int(np.sum(is_in_C[guessed_in]) + np.sum(~is_in_C[guessed_out]))


def lower_bound(
  num_canaries: int,
  num_guesses: int,
  num_right: int,
  delta: float,
  confidence: float = 0.95,
) -> float:
  """Returns an epsilon below which no mechanism allows as many right guesses.

  Args:
    num_canaries: whose coins were tossed.
    num_guesses: of them, whose coins were guessed.
    num_right: how many guesses were right.
    delta: of the mechanism, in [0, 1).
    confidence: with which it is a bound, in (0, 1).

  Returns:
    At least 0, which says nothing.

  Raises:
    ValueError: if there are more guesses than canaries, or more right ones than
      guesses.
  """
  arrays.check_integer('num_guesses', num_guesses, 0, num_canaries)
  arrays.check_integer('num_right', num_right, 0, num_guesses)
  numbers = num_canaries, num_guesses, num_right, delta

  def is_refuted(epsilon: float) -> bool:
    return _probability(*numbers, epsilon) < 1 - confidence

  low, high = 0.0, _MOST
  if not is_refuted(low):
    return 0.0
  for _ in range(_HALVINGS):
    middle = (low + high) / 2
    low, high = (middle, high) if is_refuted(middle) else (low, middle)
  return low


def _probability(
  num_canaries: int,
  num_guesses: int,
  num_right: int,
  delta: float,
  epsilon: float,
) -> float:
  """Returns how likely so many right guesses are under a mechanism, at most.

  Without delta it is as if each were right with probability 1 / (1 + e^-eps).
  Delta adds what it could make of results that fall short by i, shared by i.
  """
  right = 1 / (1 + math.exp(-epsilon))
  enough = stats.binom.sf(num_right - 1, num_guesses, right)
  short = np.arange(1, num_right + 1)
  missed = np.cumsum(stats.binom.pmf(num_right - short, num_guesses, right))
  most = np.max(missed / short, initial=0.0)
  return float(min(1.0, enough + 2 * num_canaries * delta * most))
