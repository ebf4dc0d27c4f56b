"""What noise is worth: epsilon of a run, counted by `dp-accounting`.

The unit is one client, with all its examples. Two data sets are neighbours

- `'replace_one'`: if one client's examples are replaced by any others; a sum of
  contributions of length `clip` changes by 2 * clip;
- `'zero_out'`: if one client contributes nothing; the sum changes by clip. It
  is what remains of add-or-remove where the number of clients is public.

Everything is counted as Rényi divergence: the one accountant of the library
that knows cohorts drawn without replacement (Y. Wang, B. Balle, S.
Kasiviswanathan, Subsampled Rényi differential privacy, AISTATS 2019, theorem
27, for `'replace_one'`), and to which sums of discrete Gaussians can be given
with the correction for not being one (P. Kairouz, Z. Liu, T. Steinke, The
distributed discrete Gaussian mechanism for federated learning with secure
aggregation, ICML 2021, proposition 14).

`dp-accounting` is the extra `privacy`, and imported where it is asked.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from fps_jax.core import extras

# To the length of a contribution, how far a sum changes between neighbours.
RELATIONS = {'replace_one': 2.0, 'zero_out': 1.0}
# Of `dp_accounting`, which types no event.
Event = Any
# Of noise multipliers that are looked for.
_LEAST_NOISE = 0.01
_TOLERANCE = 1e-3


def gaussian_event(
  noise_multiplier: float, relation: str, cohort_size: int, num_clients: int
) -> Event:
  """Returns a round whose sum gets Gaussian noise from who opens it.

  Who draws the cohort keeps it to itself: with `'replace_one'`, the draw hides
  clients, too. With `'zero_out'` nothing is counted for it.

  Args:
    noise_multiplier: the noise's standard deviation over the longest that a
      contribution may be, above 0.
    relation: a key of `RELATIONS`.
    cohort_size: clients of a round, drawn without replacement.
    num_clients: of how many, at least as many.
  """
  import dp_accounting

  event = dp_accounting.GaussianDpEvent(noise_multiplier / RELATIONS[relation])
  if relation != 'replace_one':
    return event
  return dp_accounting.SampledWithoutReplacementDpEvent(
    num_clients, cohort_size, event
  )


def discrete_event(
  deviation: float,
  num_noisy: int,
  longest: float,
  num_values: int,
  relation: str,
) -> Event:
  """Returns a round whose clients add discrete Gaussian noise of their own.

  A sum of discrete Gaussians is not quite one: the correction counts each of
  its values. No draw of clients is counted: those who hold shares know it.

  Args:
    deviation: the sigma of one client's noise, in integers, at least 1/2.
    num_noisy: clients that certainly add it, at least 1.
    longest: the L2 norm of a contribution at most, in integers.
    num_values: of a contribution.
    relation: a key of `RELATIONS`.
  """
  import dp_accounting

  changes = RELATIONS[relation] * longest
  return dp_accounting.ZCDpEvent(
    rho=changes**2 / (2 * num_noisy * deviation**2),
    xi=num_values * _difference_of_sum(deviation, num_noisy),
  )


def _difference_of_sum(deviation: float, num_noisy: int) -> float:
  """Returns tau: by how much a sum of them differs from a discrete Gaussian."""
  return 10 * math.fsum(
    math.exp(-2 * (math.pi * deviation) ** 2 * k / (k + 1))
    for k in range(1, num_noisy)
  )


@dataclasses.dataclass(frozen=True)
class Ledger:
  """What rounds of a run spend.

  Attributes:
    event: of one round, of `dp_accounting`.
    relation: a key of `RELATIONS`.
    delta: above 0 and below 1.
    noise_multiplier: of which the event is.
  """

  event: Event
  relation: str
  delta: float
  noise_multiplier: float

  @functools.cached_property
  def _once(self) -> Any:
    accountant = _accountant(self.relation)
    accountant.compose(self.event)
    return accountant

  def epsilon(self, count: int) -> float:
    """Returns what so many rounds come to, at least 0.

    Raises:
      ValueError: if the event is not one that can be counted.
    """
    from dp_accounting import rdp

    if not count:
      return 0.0
    once = self._once
    found = rdp.compute_epsilon(once.orders, count * once.rdp, self.delta)
    return float(found[0])


def calibrate(
  make_event: Callable[[float], Event],
  relation: str,
  epsilon: float,
  delta: float,
  count: int,
) -> float:
  """Returns the least noise multiplier under which epsilon is not exceeded.

  Args:
    make_event: noise multiplier -> event of a round.
    relation: a key of `RELATIONS`.
    epsilon: above 0.
    delta: above 0 and below 1.
    count: how many times the event takes place.

  Raises:
    ValueError: if there is none.
  """
  import dp_accounting

  try:
    return float(
      dp_accounting.calibrate_dp_mechanism(
        lambda: _accountant(relation),
        lambda noise: dp_accounting.SelfComposedDpEvent(
          make_event(noise), count
        ),
        epsilon,
        delta,
        dp_accounting.LowerEndpointAndGuess(_LEAST_NOISE, 1.0),
        tol=_TOLERANCE,
      )
    )
  except Exception as error:
    raise ValueError(
      f'no noise multiplier of at least {_LEAST_NOISE} makes {count} rounds '
      f'private to epsilon={epsilon} for delta={delta}: raise one of them, or '
      f'set the noise multiplier ({error})'
    ) from error


def _accountant(relation: str) -> Any:
  extras.require('dp_accounting', 'privacy', 'privacy.mode other than none')
  import dp_accounting
  from dp_accounting import rdp

  relations = dp_accounting.NeighboringRelation
  return rdp.RdpAccountant(
    neighboring_relation={
      'replace_one': relations.REPLACE_ONE,
      'zero_out': relations.REPLACE_SPECIAL,
    }[relation]
  )
