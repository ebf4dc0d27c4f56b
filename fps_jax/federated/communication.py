"""Bytes of a round, both directions, from the lengths of its messages.

Python ints throughout. The lengths are those of `fps_jax.sharing.wire`, which
can encode every one of these messages; a test holds formula and encoder equal.
"""

import dataclasses

from fps_jax.sharing import wire
from fps_jax.sharing.shamir import Shamir


@dataclasses.dataclass(frozen=True)
class RoundBytes:
  """Bytes serialised in one round.

  Attributes:
    uplink_per_client: sent by one reporting client, to every server in all.
    downlink_per_client: received by one client of the cohort.
    server_to_central: sent by the k servers that the central one opens from.
  """

  uplink_per_client: int
  downlink_per_client: int
  server_to_central: int


def count_bytes(
  num_params: int,
  num_kept: int,
  num_reporting: int,
  scheme: Shamir | None,
  reveal: str = 'sum',
) -> RoundBytes:
  """Counts the bytes of a round.

  Args:
    num_params: D.
    num_kept: parameters that are not pruned.
    num_reporting: clients whose update arrives.
    scheme: the sharing scheme; None sends float32 values in the clear to the
      central server alone.
    reveal: `'sum'` or `'updates'`: with the latter the servers pass on every
      client's share.
  """
  downlink = wire.model_message_bytes(num_params, num_kept)
  if scheme is None:
    return RoundBytes(wire.update_message_bytes(num_kept), downlink, 0)
  message = wire.words_message_bytes(num_kept, scheme.field)
  messages_per_server = num_reporting if reveal == 'updates' else 1
  if not num_reporting:
    messages_per_server = 0
  return RoundBytes(
    uplink_per_client=scheme.num_servers * message,
    downlink_per_client=downlink,
    server_to_central=scheme.threshold * messages_per_server * message,
  )
