"""What a way to run FedPruneShare gives and takes, and which are best."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Self

from ml_collections import ConfigDict

from fps_jax.results.summary import Run, reduce
from fps_jax.sharing.schemes.channels import Sent, ShareChannel
from fps_jax.sharing.shamir import Shamir


@dataclasses.dataclass(frozen=True)
class TradeoffPoint:
  """One way to run FedPruneShare, and what it gives and takes.

  Attributes:
    sparsity: fraction of parameters removed in the last round.
    value_bits: of a value.
    num_servers: N.
    threshold: k.
    secrets_per_polynomial: l.
    prime: of the field.
    test_accuracy: in [0, 1], of the last round, mean over seeds.
    test_accuracy_min: of the worst seed.
    test_accuracy_max: of the best seed.
    uplink_bytes: sent by a client in all rounds, mean over seeds.
    colluding_servers: t = k - l, whose shares say nothing of an update.
    missing_servers: N - k, that may fail to answer.
  """

  sparsity: float
  value_bits: int
  num_servers: int
  threshold: int
  secrets_per_polynomial: int
  prime: int
  test_accuracy: float
  test_accuracy_min: float
  test_accuracy_max: float
  uplink_bytes: float
  colluding_servers: int
  missing_servers: int

  @classmethod
  def of(cls, variant: ConfigDict, scheme: Shamir, runs: Sequence[Run]) -> Self:
    """Returns what the runs of a variant came to, had they shared like that.

    Args:
      variant: that ran.
      scheme: that its sums fit.
      runs: of all seeds, none of which diverged.
    """
    accuracy = reduce(runs)['test_accuracy']
    assert accuracy is not None  # No run diverged, and each was evaluated.
    channel = ShareChannel(scheme)

    def uplink_bytes(run: Run) -> int:
      rounds = [
        (row['kept_parameters'], row['clients_reporting']) for row in run.rows
      ]
      return sum(
        channel.uplink_bytes(Sent(kept, kept, reporting))
        for kept, reporting in rounds
      )

    return cls(
      sparsity=runs[0].rows[-1]['sparsity'],
      value_bits=variant.sharing.value_bits,
      num_servers=scheme.num_servers,
      threshold=scheme.threshold,
      secrets_per_polynomial=scheme.secrets_per_polynomial,
      prime=scheme.field.modulus,
      test_accuracy=accuracy.middle,
      test_accuracy_min=accuracy.least,
      test_accuracy_max=accuracy.most,
      uplink_bytes=statistics.fmean(map(uplink_bytes, runs)),
      colluding_servers=scheme.num_random,
      missing_servers=scheme.num_servers - scheme.threshold,
    )

  def dominates(self, other: Self) -> bool:
    """Whether this point is as good in everything and better in something."""
    pairs = list(zip(self._merits(), other._merits(), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

  def _merits(self) -> tuple[float, ...]:
    return (
      self.test_accuracy,
      -self.uplink_bytes,
      self.colluding_servers,
      self.missing_servers,
    )


def frontier(points: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
  """Returns the points that no other dominates, by rising uplink."""
  best = [p for p in points if not any(other.dominates(p) for other in points)]
  return sorted(
    best, key=lambda point: (point.uplink_bytes, -point.test_accuracy)
  )
