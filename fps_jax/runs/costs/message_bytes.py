"""Bytes of a round, both directions, from the lengths of its messages."""

import dataclasses
from collections.abc import Sequence
from statistics import fmean

from fps_jax.core.types import PruningPlan
from fps_jax.federated import layout
from fps_jax.privacy.distributed import AS_KEPT, Shared
from fps_jax.sharing.messages import clear
from fps_jax.sharing.schemes.channels import Channel, Sent


@dataclasses.dataclass(frozen=True)
class RoundBytes:
  """Bytes serialised in one round.

  Attributes:
    uplink_per_client: sent by one reporting client, to every server in all;
      the mean over clients where they differ.
    downlink_per_client: received by one client of the cohort; the mean.
    server_to_central: sent by all the servers that send, together.
  """

  uplink_per_client: float
  downlink_per_client: float
  server_to_central: int


@dataclasses.dataclass(frozen=True)
class ByteCounter:
  """Counts the bytes of rounds.

  Attributes:
    num_params: D.
    channel: the lengths of messages.
    has_own_mask: whether each client sends values of its own choice.
    min_contributors: clients that a band must be the sum of to be opened.
    shared: how many values are shared for those that are kept.
  """

  num_params: int
  channel: Channel
  has_own_mask: bool
  min_contributors: int
  shared: Shared = AS_KEPT

  def __call__(
    self,
    pruning: PruningPlan,
    tiers: Sequence[int],
    summed_tiers: Sequence[int],
    num_answering: int | None = None,
  ) -> RoundBytes:
    """Returns the bytes of a round.

    Args:
      pruning: the plan of the round.
      tiers: of the clients that send.
      summed_tiers: of those of them that are summed.
      num_answering: servers that answer; None for all that ever do.
    """
    kept = [int(count) for count in pruning.keep_counts_T]
    values = layout.counts_at(
      [self.shared(count) for count in kept], self.channel.alignment
    )
    bytes_T = [
      count_bytes(
        Sent(
          self.num_params,
          num_kept,
          len(tiers),
          num_values,
          self.has_own_mask,
          num_answering,
        ),
        self.channel,
        int(num_received),
      )
      for num_kept, num_values, num_received in zip(
        kept, values, pruning.received_counts, strict=True
      )
    ]
    return average_tiers(bytes_T, tiers, summed_tiers, self.min_contributors)


def count_bytes(
  sent: Sent, channel: Channel, num_received: int | None = None
) -> RoundBytes:
  """Counts the bytes of a round, whose clients are of one tier.

  Args:
    sent: by each client.
    channel: the lengths of messages.
    num_received: parameters that clients receive; None for those they send.
  """
  if num_received is None:
    num_received = sent.num_kept
  return RoundBytes(
    uplink_per_client=channel.uplink_bytes(sent),
    downlink_per_client=clear.model_message_bytes(
      sent.num_params, sent.num_params if sent.has_own_mask else num_received
    ),
    server_to_central=channel.central_bytes(sent),
  )


def average_tiers(
  bytes_T: Sequence[RoundBytes],
  tiers: Sequence[int],
  summed_tiers: Sequence[int],
  min_contributors: int,
) -> RoundBytes:
  """Returns the bytes of a round whose clients are of several tiers.

  Args:
    bytes_T: of a round whose clients were all of one tier, for each tier.
    tiers: of the clients that send. If there are none, nothing is.
    summed_tiers: of those of them that are summed.
    min_contributors: clients that a band must be the sum of to be opened.
  """
  if not tiers:
    return RoundBytes(0, 0, 0)
  sizes = [bytes_T[tier] for tier in tiers]
  # The last tier that is opened: those that reach it are enough.
  best = sorted(summed_tiers, reverse=True)
  opened = best[min_contributors - 1 : min_contributors]
  return RoundBytes(
    uplink_per_client=fmean(size.uplink_per_client for size in sizes),
    downlink_per_client=fmean(size.downlink_per_client for size in sizes),
    server_to_central=sum(bytes_T[tier].server_to_central for tier in opened),
  )
