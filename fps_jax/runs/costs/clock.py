"""How long clients take, and how much of the model each has time for.

Time is simulated: nothing here depends on the machine that runs the study.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from fps_jax.runs.costs.profiles import Fleet

TOO_SLOW = -1


@dataclasses.dataclass(frozen=True)
class Work:
  """What a client of some tier does in a round.

  Attributes:
    download_bytes: received from the central server.
    upload_bytes: sent, to all servers together.
    flops_per_example: of one training example's gradient.
  """

  download_bytes: float
  upload_bytes: float
  flops_per_example: float


@dataclasses.dataclass(frozen=True)
class Clock:
  """Simulated time of a run.

  Attributes:
    fleet: the clients' devices.
    work: round, from 0 -> the work of each tier in it.
    deadline_seconds: what a client's round may take; 0 waits for everyone.
  """

  fleet: Fleet
  work: Callable[[int], Sequence[Work]]
  deadline_seconds: float

  def seconds(
    self, round_number: int, client_ids: np.ndarray, num_examples: np.ndarray
  ) -> np.ndarray:
    """Returns how long each client would take in each tier.

    It downloads, trains and uploads, one after another.

    Args:
      round_number: from 0.
      client_ids: int [C].
      num_examples: int [C], examples that they train on, repeats counted.

    Returns:
      float64 [T, C] seconds.
    """
    profile = self.fleet.in_round(round_number, client_ids)
    return np.array(
      [
        8 * work.download_bytes / profile.download_bits_per_second
        + num_examples * work.flops_per_example / profile.flops_per_second
        + 8 * work.upload_bytes / profile.upload_bits_per_second
        for work in self.work(round_number)
      ]
    )

  def choose_tiers(
    self, round_number: int, client_ids: np.ndarray, num_examples: np.ndarray
  ) -> np.ndarray:
    """Returns the largest tier that each client finishes by the deadline.

    Arguments are those of `seconds`.

    Returns:
      int32 [C], `TOO_SLOW` for clients that finish none.
    """
    seconds_TxC = self.seconds(round_number, client_ids, num_examples)
    tiers = np.arange(len(seconds_TxC))[:, None]
    in_time = seconds_TxC <= (self.deadline_seconds or np.inf)
    return np.max(np.where(in_time, tiers, TOO_SLOW), axis=0).astype(np.int32)

  def round_seconds(
    self,
    round_number: int,
    client_ids: np.ndarray,
    tiers: np.ndarray,
    num_examples: np.ndarray,
    num_dropped: int = 0,
  ) -> float:
    """Returns how long a round takes: as long as its slowest client.

    A round that nobody takes part in takes until the deadline, and so does one
    in which clients drop out: they are waited for.
    """
    if num_dropped or not len(client_ids):
      return self.deadline_seconds
    seconds_TxC = self.seconds(round_number, client_ids, num_examples)
    return float(seconds_TxC[tiers, np.arange(len(tiers))].max())
