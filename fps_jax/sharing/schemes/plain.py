"""The scheme `none`: float32 values in the clear."""

from fps_jax.sharing.floats import Floats
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.channels import Channel, ClearChannel
from fps_jax.sharing.schemes.scheme import MakeCodec, Scheme, Setup


class Plain(Scheme):
  """Clients send float32 values to the central server."""

  is_clear = True
  has_codec = False

  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns the sum of floats."""
    del make_codec, setup
    return SumProtocol(Floats())

  def make_channel(self, setup: Setup) -> Channel:
    """Returns that of floats in the clear."""
    del setup
    return ClearChannel()
