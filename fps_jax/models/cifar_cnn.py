"""A small convolutional network for CIFAR-10 that two CPU cores can train."""

from collections.abc import Sequence

from flax import linen as nn

from fps_jax.core.types import Array
from fps_jax.models.dense import Dense
from fps_jax.models.layers import Conv, GroupNorm, check_groups, max_pool


class CifarCnn(nn.Module):
  """3 x 3 convolutions with GroupNorm, each pooled, then dense layers.

  66,730 parameters on CIFAR-10 with the defaults, 321,450 with 256 units.

  Attributes:
    num_classes: length of the logits.
    channels: output channels of each convolution.
    num_groups: groups of each GroupNorm; divides every entry of `channels`.
    hidden: units of a dense layer before the output; 0 = no such layer.
  """

  num_classes: int
  channels: Sequence[int] = (32, 64, 64)
  num_groups: int = 8
  hidden: int = 0

  def __post_init__(self):
    check_groups(self.num_groups, self.channels)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps images [B, height, width, channels] to logits [B, num_classes]."""
    for i, features in enumerate(self.channels):
      # GroupNorm takes the mean away, and has a bias of its own.
      x = Conv(features, 3, use_bias=False, name=f'conv_{i}')(x)
      x = GroupNorm(self.num_groups, name=f'norm_{i}')(x)
      x = max_pool(nn.relu(x))
    x = x.reshape(x.shape[0], -1)
    if self.hidden:
      x = nn.relu(Dense(self.hidden, name='hidden')(x))
    return Dense(self.num_classes, name='output')(x)
