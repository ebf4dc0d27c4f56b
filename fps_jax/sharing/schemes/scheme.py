"""What a sharing scheme is to those who build, check and describe a run."""

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar

from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.coder import Coder
from fps_jax.sharing.protocol import NO_FAULTS, Faults, SumProtocol
from fps_jax.sharing.schemes.channels import Channel
from fps_jax.sharing.shamir import Shamir

# Floats to field words, over the field of the shares; a ValueError if a sum
# could wrap.
MakeCodec = Callable[[], Coder]


@dataclasses.dataclass(frozen=True)
class Setup:
  """What a config says of sharing; schemes that share nothing read less.

  Attributes:
    shamir: k-of-N sharing.
    present: numbers of the servers that answer, at least k.
    value_bits: the codec's bits of a value.
    reveal: a member of `protocol.REVEALS`.
    auditor: what finds wrong sums and shares; None where nothing does.
    faults: who does not follow the protocol.
    num_opened_columns: words that each server sends of each client for a
      defence.
  """

  shamir: Shamir
  present: tuple[int, ...]
  value_bits: int
  reveal: str = 'sum'
  auditor: Auditor | None = None
  faults: Faults = NO_FAULTS
  num_opened_columns: int = 0


class Scheme(abc.ABC):
  """How updates are sent and summed. Its docstring begins with what users read.

  Attributes:
    is_clear: whether clients send values to the central server, which sees
      every update.
    has_codec: whether values are words of a field, which can be weighed.
    has_servers: whether servers hold shares, so that they can fail or lie.
    sums_own_masks: whether values at positions that each client chose by
      itself can be summed.
  """

  is_clear: ClassVar[bool] = False
  has_codec: ClassVar[bool] = True
  has_servers: ClassVar[bool] = False
  sums_own_masks: ClassVar[bool] = True

  def sees_updates(self, reveal: str) -> bool:
    """Returns whether the central server gets every update, not the sum."""
    return self.is_clear or reveal == 'updates'

  @abc.abstractmethod
  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns how the sum over clients is formed.

    Raises:
      ValueError: if the parts do not fit, or a sum could wrap.
    """

  @abc.abstractmethod
  def make_channel(self, setup: Setup) -> Channel:
    """Returns how long the messages are."""
