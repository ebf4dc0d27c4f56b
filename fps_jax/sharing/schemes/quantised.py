"""The scheme `quantised`: values of a few bits in the clear.

The sums are those of the codec's words, the bytes those of values in the clear
(as A. Reisizadeh et al., FedPAQ, AISTATS 2020).
"""

from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.channels import Channel, ClearChannel
from fps_jax.sharing.schemes.scheme import MakeCodec, Scheme, Setup


class Quantised(Scheme):
  """Clients send it values of a few bits."""

  is_clear = True

  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns the sum of words, unpacked."""
    del setup
    return SumProtocol(make_codec())

  def make_channel(self, setup: Setup) -> Channel:
    """Returns that of rounded values in the clear."""
    return ClearChannel(setup.value_bits)
