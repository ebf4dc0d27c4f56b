"""The lengths of a round's messages, in the clear and in shares.

Python ints throughout. The lengths are those of
`fps_jax.sharing.messages.shared` and `clear`, which can encode every one of
these messages; a test holds formula and encoder equal.
"""

import dataclasses
from typing import Protocol

from fps_jax.sharing.messages import clear, shared
from fps_jax.sharing.shamir import Shamir


@dataclasses.dataclass(frozen=True)
class Sent:
  """What the messages of a round carry.

  Attributes:
    num_params: D.
    num_kept: parameters that are not pruned.
    num_reporting: clients whose update arrives.
    num_values: shared values, all sample counts but the last included; None
      where that is the only one, and `num_kept` values are shared.
    has_own_mask: whether each client sends values of its own choice, to
      everyone with their positions, and receives the whole model.
    num_answering: servers that answer at most; None for all that are asked.
  """

  num_params: int
  num_kept: int
  num_reporting: int
  num_values: int | None = None
  has_own_mask: bool = False
  num_answering: int | None = None

  @property
  def position_bytes(self) -> int:
    """Bytes that tell one receiver which values a client chose to send."""
    if not self.has_own_mask:
      return 0
    return clear.positions_message_bytes(self.num_params, self.num_kept)


class Channel(Protocol):
  """How many bytes travel between whom."""

  @property
  def alignment(self) -> int:
    """Bands of clients that share prefixes start at its multiples."""

  def uplink_bytes(self, sent: Sent) -> int:
    """Returns what one client sends, to every server in all."""

  def central_bytes(self, sent: Sent) -> int:
    """Returns what all servers send the central one, together."""


@dataclasses.dataclass(frozen=True)
class ClearChannel:
  """Clients send values to the central server alone.

  Attributes:
    value_bits: of a value, in [2, 16]; None for float32.
  """

  value_bits: int | None = None
  alignment: int = 1

  def uplink_bytes(self, sent: Sent) -> int:
    """Returns what one client sends."""
    if self.value_bits is None:
      update = clear.update_message_bytes(sent.num_kept)
    else:
      update = clear.quantised_update_message_bytes(
        sent.num_kept, self.value_bits
      )
    return update + sent.position_bytes

  def central_bytes(self, sent: Sent) -> int:
    """Returns 0: there is no server between."""
    del sent
    return 0


@dataclasses.dataclass(frozen=True)
class ShareChannel:
  """Clients send shares to servers, and those their sums to the central one.

  Attributes:
    shamir: the sharing scheme.
    reveal: `'sum'` or `'updates'`: with the latter the servers pass on every
      client's share, expanded where it travelled as a seed.
    num_sending: servers that send to the central one: all that are present
      where it checks them against each other; None is the k that it needs.
    num_client_checks: words that each of them sends for each client so that the
      central one can check what the clients dealt; 0 sends none.
    num_opened_columns: words that each server sends of each client for a
      defence, in a message like that of its checks; 0 opens none.

  Raises:
    ValueError: if `num_sending` is not in [0, N], or clients are checked whose
      updates are opened.
  """

  shamir: Shamir
  reveal: str = 'sum'
  num_sending: int | None = None
  num_client_checks: int = 0
  num_opened_columns: int = 0

  def __post_init__(self):
    if not 0 <= self._num_sending <= self.shamir.num_servers:
      raise ValueError(
        f'num_sending={self.num_sending} must be in [0, num_servers='
        f'{self.shamir.num_servers}]'
      )
    if self.reveal == 'updates' and self.num_client_checks:
      raise ValueError(
        f"num_client_checks={self.num_client_checks} with reveal='updates': "
        'the central server has every share and needs none'
      )

  @property
  def alignment(self) -> int:
    """l, which words hold values of."""
    return self.shamir.secrets_per_polynomial

  @property
  def _num_sending(self) -> int:
    if self.num_sending is None:
      return self.shamir.threshold
    return self.num_sending

  def _share_bytes(self, sent: Sent) -> int:
    # A word that blinds each check is shared, and travels, like the others.
    num_blinds = self.num_client_checks * self.shamir.secrets_per_polynomial
    return shared.share_message_bytes(
      _num_values(sent) + num_blinds, self.shamir
    )

  def uplink_bytes(self, sent: Sent) -> int:
    """Returns what one client sends, to every server in all."""
    num_servers = self.shamir.num_servers
    num_seeds = self.shamir.num_random if self.shamir.seeded else 0
    shares = (num_servers - num_seeds) * self._share_bytes(sent)
    seeds = num_seeds * shared.seed_message_bytes()
    return shares + seeds + num_servers * sent.position_bytes

  def central_bytes(self, sent: Sent) -> int:
    """Returns what all servers send the central one; 0 if nobody reports."""
    if not sent.num_reporting:
      return 0
    if self.reveal == 'updates':
      each = sent.num_reporting * self._share_bytes(sent)
    else:
      each = shared.sum_message_bytes(
        sent.num_params if sent.has_own_mask else _num_values(sent),
        self.shamir,
      )
    for num_words in (self.num_opened_columns, self.num_client_checks):
      if num_words:
        each += shared.check_message_bytes(
          sent.num_reporting, num_words, self.shamir
        )
    num_sending = self._num_sending
    if sent.num_answering is not None:
      num_sending = min(num_sending, sent.num_answering)
    return num_sending * each


def _num_values(sent: Sent) -> int:
  return sent.num_kept if sent.num_values is None else sent.num_values
