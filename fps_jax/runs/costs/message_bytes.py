"""Bytes of a round, both directions, from the lengths of its messages.

Python ints throughout. The lengths are those of
`fps_jax.sharing.messages.shared` and `clear`, which can encode every one of
these messages; a test holds formula and encoder equal.
"""

import dataclasses
from collections.abc import Sequence
from statistics import fmean

from fps_jax.sharing.messages import clear, shared
from fps_jax.sharing.shamir import Shamir


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


def count_bytes(
  num_params: int,
  num_kept: int,
  num_reporting: int,
  scheme: Shamir | None,
  reveal: str = 'sum',
  num_sending: int | None = None,
  num_client_checks: int = 0,
  value_bits: int | None = None,
  num_values: int | None = None,
  has_own_mask: bool = False,
  num_opened_columns: int = 0,
) -> RoundBytes:
  """Counts the bytes of a round.

  Args:
    num_params: D.
    num_kept: parameters that are not pruned.
    num_reporting: clients whose update arrives.
    scheme: the sharing scheme; None sends values in the clear to the central
      server alone.
    reveal: `'sum'` or `'updates'`: with the latter the servers pass on every
      client's share, expanded where it travelled as a seed.
    num_sending: servers that send to the central one: all that are present
      where it checks them against each other, fewer than k where a round
      fails; None is the k that it needs.
    num_client_checks: words that each of them sends for each client so that the
      central one can check what the clients dealt; 0 sends none.
    value_bits: of a value in the clear; None for float32. Not read where values
      are shared.
    num_values: shared values, all sample counts but the last included; None
      where that is the only one, and `num_kept` values are shared.
    has_own_mask: whether each client sends values of its own choice, to
      everyone with their positions, and receives the whole model.
    num_opened_columns: words that each server sends of each client for a
      defence, in a message like that of its checks; 0 opens none.

  Raises:
    ValueError: if `num_sending` is not in [0, N], or clients are checked whose
      updates are opened.
  """
  downlink = clear.model_message_bytes(
    num_params, num_params if has_own_mask else num_kept
  )
  positions = (
    clear.positions_message_bytes(num_params, num_kept) if has_own_mask else 0
  )
  if scheme is None:
    uplink = (
      clear.quantised_update_message_bytes(num_kept, value_bits)
      if value_bits
      else clear.update_message_bytes(num_kept)
    )
    return RoundBytes(uplink + positions, downlink, 0)
  if num_sending is None:
    num_sending = scheme.threshold
  if not 0 <= num_sending <= scheme.num_servers:
    raise ValueError(
      f'num_sending={num_sending} must be in [0, num_servers='
      f'{scheme.num_servers}]'
    )
  if reveal == 'updates' and num_client_checks:
    raise ValueError(
      f"num_client_checks={num_client_checks} with reveal='updates': the "
      'central server has every share and needs none'
    )
  # A word that blinds each check is shared, and travels, like the others.
  num_blinds = num_client_checks * scheme.secrets_per_polynomial
  num_values = num_kept if num_values is None else num_values
  share = shared.share_message_bytes(num_values + num_blinds, scheme)
  num_seeds = scheme.num_random if scheme.seeded else 0
  uplink = num_seeds * shared.seed_message_bytes()
  uplink += (scheme.num_servers - num_seeds) * share
  uplink += scheme.num_servers * positions
  each_sends = 0
  if num_reporting:
    if reveal == 'updates':
      each_sends += num_reporting * share
    else:
      each_sends += shared.sum_message_bytes(
        num_params if has_own_mask else num_values, scheme
      )
    if num_opened_columns:
      each_sends += shared.check_message_bytes(
        num_reporting, num_opened_columns, scheme
      )
    if num_client_checks:
      each_sends += shared.check_message_bytes(
        num_reporting, num_client_checks, scheme
      )
  return RoundBytes(
    uplink_per_client=uplink,
    downlink_per_client=downlink,
    server_to_central=num_sending * each_sends,
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
