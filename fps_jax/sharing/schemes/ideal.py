"""The scheme `ideal`: field words that nobody shares.

It is the functionality that `shamir` realises, for fast studies: the opened
sums are equal bit for bit, and as many bytes are counted.
"""

import dataclasses

from fps_jax.core import arrays
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.channels import Channel, ShareChannel
from fps_jax.sharing.schemes.scheme import MakeCodec, Scheme, Setup


@dataclasses.dataclass(frozen=True)
class IdealSum(SumProtocol):
  """Sums of words that lie as if they were shared.

  Attributes:
    codec: floats to field words.
    alignment: the l of the sharing scheme.

  Raises:
    ValueError: if `alignment` is below 1.
  """

  alignment: int = 1

  def __post_init__(self):
    arrays.check_integer('alignment', self.alignment, 1)


class Ideal(Scheme):
  """The sums and the bytes of shamir, without its arithmetic."""

  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns the sum of words."""
    return IdealSum(make_codec(), setup.shamir.secrets_per_polynomial)

  def make_channel(self, setup: Setup) -> Channel:
    """Returns that of shares."""
    num_sending, num_client_checks = None, 0
    if setup.auditor is not None:
      # Without an audit the central server asks no more than it needs.
      num_sending = len(setup.auditor.present)
      if setup.auditor.checks_clients:
        num_client_checks = setup.auditor.num_checks
    return ShareChannel(
      setup.shamir,
      setup.reveal,
      num_sending,
      num_client_checks,
      setup.num_opened_columns,
    )
