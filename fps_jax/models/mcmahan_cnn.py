"""The MNIST convolutional network of the FedAvg paper.

Reference: McMahan et al., Communication-efficient learning of deep networks
from decentralized data, AISTATS 2017, section 3.
"""

from flax import linen as nn

from fps_jax.core.types import Array
from fps_jax.models.dense import Dense
from fps_jax.models.layers import Conv, max_pool


class McMahanCnn(nn.Module):
  """Two 5 x 5 convolutions, each pooled, and 512 units.

  1,663,370 parameters on MNIST.

  Attributes:
    num_classes: length of the logits.
  """

  num_classes: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps images [B, height, width, channels] to logits [B, num_classes]."""
    x = max_pool(nn.relu(Conv(32, 5, name='conv_0')(x)))
    x = max_pool(nn.relu(Conv(64, 5, name='conv_1')(x)))
    x = x.reshape(x.shape[0], -1)
    x = nn.relu(Dense(512, name='hidden')(x))
    return Dense(self.num_classes, name='output')(x)
