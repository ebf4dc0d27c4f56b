"""When weights grow back, and how many: decided on the host, before a run.

Every few rounds a public random set of pruned weights, the candidates, is
trained and summed like the others. Some of them stay, in place of others, by a
rule of `fps_jax.pruning.pruner`. The fraction that may be exchanged falls as a
cosine to 0, so that the mask settles.

Reference: U. Evci et al., Rigging the lottery, ICML 2020, equation 1.
"""

import dataclasses
import math

from fps_jax.core import arrays


@dataclasses.dataclass(frozen=True)
class Regrowth:
  """A schedule of regrowth.

  Attributes:
    every: rounds between two exchanges; 0 never exchanges.
    fraction: of the weights that may be pruned and are kept, exchanged at
      first; in (0, 0.5].
    end_round: the first round without any, counted from 0.
    candidates_per_regrown: candidates for each weight that grows back, at
      least 1; fewer where not as many are pruned.

  Raises:
    ValueError: if an attribute is out of range.
  """

  every: int
  fraction: float
  end_round: int
  candidates_per_regrown: float

  def __post_init__(self):
    arrays.check_integer('regrow_every', self.every)
    arrays.check_integer('regrow_end_round', self.end_round)
    if self.every < 0:
      raise ValueError(
        f'regrow_every={self.every} must be at least 0, which means never'
      )
    if not 0 < self.fraction <= 0.5:
      raise ValueError(f'regrow_fraction={self.fraction} must be in (0, 0.5]')
    if self.end_round < 0:
      raise ValueError(f'regrow_end_round={self.end_round} must be at least 0')
    if not 1 <= self.candidates_per_regrown < math.inf:
      raise ValueError(
        f'candidates_per_regrown={self.candidates_per_regrown} must be finite '
        'and at least 1'
      )

  def counts(
    self, round_number: int, num_prunable: int, num_pruned: int
  ) -> tuple[int, int]:
    """Returns how many weights a round exchanges, and among how many.

    Args:
      round_number: from 0.
      num_prunable: weights that are kept and may be pruned.
      num_pruned: weights that are pruned.

    Returns:
      Weights that grow back, and candidates; (0, 0) in most rounds.

    Raises:
      ValueError: if a number is below 0.
    """
    arrays.check_integer('round_number', round_number, 0)
    arrays.check_integer('num_prunable', num_prunable, 0)
    arrays.check_integer('num_pruned', num_pruned, 0)
    # In round 0 nothing has been trained that could tell what to exchange.
    is_due = self.every and round_number and round_number % self.every == 0
    if not is_due or round_number >= self.end_round:
      return 0, 0
    progress = round_number / self.end_round
    fraction = self.fraction / 2 * (1 + math.cos(math.pi * progress))
    regrown = min(round(fraction * num_prunable), num_pruned)
    wanted = math.ceil(self.candidates_per_regrown * regrown)
    return regrown, min(wanted, num_pruned)
