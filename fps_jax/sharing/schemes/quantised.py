"""The scheme `quantised`: values of a few bits in the clear.

The sums are those of the codec's words, the bytes those of values in the clear
(as A. Reisizadeh et al., FedPAQ, AISTATS 2020).
"""

from collections.abc import Callable

from fps_jax.sharing.codec import Codec
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.channels import Channel, ClearChannel
from fps_jax.sharing.schemes.ideal import WordSum
from fps_jax.sharing.schemes.scheme import Scheme, Servers


class Quantised(Scheme):
  """Clients send it values of a few bits."""

  is_clear = True

  def make_sum(
    self, make_codec: Callable[[], Codec], servers: Servers
  ) -> SumProtocol:
    """Returns the sum of words, unpacked."""
    del servers
    return WordSum(make_codec())

  def make_channel(
    self, value_bits: int, servers: Servers, num_opened_columns: int
  ) -> Channel:
    """Returns that of rounded values in the clear."""
    del servers, num_opened_columns
    return ClearChannel(value_bits)
