"""Test accuracy of every client, and what is made of it in a round's row."""

import math
import typing
from typing import NamedTuple

import numpy as np

from fps_jax.core.types import Array, Examples
from fps_jax.federated.by_client import CountPersonalRight, CountRight
from fps_jax.results.metrics import BY_CLIENT, ByClientMetrics

# The part of clients that is called the worst.
WORST = 0.1
OverClients = tuple[float, float, float]


class Counted(NamedTuple):
  """Targets that are right of each client: int32 [clients].

  Attributes:
    by_global: of the global model.
    by_own: of what each client makes of it; None where that is not asked for.
  """

  by_global: Array
  by_own: Array | None


class ByClient(NamedTuple):
  """Tests of every client.

  Attributes:
    every_rounds: rounds between them; the last round always has one, but for
      one in which a run diverged.
    global_right: of the global model.
    own_right: of what each client makes of it; None where that is not asked
      for.
    num_targets: int [clients], test targets of each. Those with none, and those
      that an attacker controls, are in no accuracy.
    malicious: bool [clients], whom an attacker controls.
  """

  every_rounds: int
  global_right: CountRight
  own_right: CountPersonalRight | None
  num_targets: np.ndarray
  malicious: np.ndarray

  def start(
    self, params_D: Array, round_number: int, train: Examples
  ) -> Counted:
    """Starts the tests of a model that a round ended with; returns at once."""
    own = self.own_right
    return Counted(
      self.global_right(params_D),
      own(params_D, round_number, train) if own else None,
    )

  def summarise(self, counted: Counted) -> ByClientMetrics:
    """Returns what a round's row says, of NumPy's arrays."""
    honest = ~self.malicious
    tested = honest & (self.num_targets > 0)
    mean, worst, spread = self._over(tested, counted.by_global)
    own: OverClients | tuple[None, None, None] = (None, None, None)
    if counted.by_own is not None:
      own = self._over(tested, counted.by_own)
    return {
      'client_accuracy': mean,
      'client_accuracy_worst_tenth': worst,
      'client_accuracy_spread': spread,
      'personal_accuracy': own[0],
      'personal_accuracy_worst_tenth': own[1],
      'personal_accuracy_spread': own[2],
      'clients_untested': int(np.sum(honest & ~tested)),
    }

  def _over(self, tested: np.ndarray, right: Array) -> OverClients:
    return over_clients(np.asarray(right)[tested] / self.num_targets[tested])


# Of a round that did not ask.
NOT_ASKED = typing.cast(ByClientMetrics, dict.fromkeys(BY_CLIENT))


def over_clients(accuracy_K: np.ndarray) -> OverClients:
  """Returns mean, mean of the lowest tenth, and standard deviation.

  >>> over_clients(np.array([0.5, 1.0, 0.0, 0.5]))
  (0.5, 0.0, 0.3535533905932738)

  Args:
    accuracy_K: of each client, at least one. A tenth of them is rounded up.
  """
  lowest = np.sort(accuracy_K)[: math.ceil(WORST * len(accuracy_K))]
  return (
    float(accuracy_K.mean()),
    float(lowest.mean()),
    float(accuracy_K.std()),
  )
