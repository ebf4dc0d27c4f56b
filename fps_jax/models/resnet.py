"""Residual networks for 32 x 32 images, with GroupNorm for BatchNorm.

BatchNorm's running statistics do not average over clients with different
data; GroupNorm has none.

References: K. He et al., Deep residual learning for image recognition, CVPR
2016, section 4.2; K. Hsieh et al., The non-IID data quagmire of decentralized
machine learning, ICML 2020.
"""

from flax import linen as nn

from fps_jax.core.types import Array
from fps_jax.models.dense import Dense
from fps_jax.models.layers import Conv, GroupNorm, check_groups


class ResidualBlock(nn.Module):
  """Two 3 x 3 convolutions around a shortcut.

  Attributes:
    features: output channels.
    stride: stride of the first convolution and of the shortcut.
    num_groups: groups of each GroupNorm.
  """

  features: int
  stride: int
  num_groups: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [B, h, w, c] to [B, ceil(h / s), ceil(w / s), features]."""
    y = Conv(self.features, 3, self.stride, use_bias=False, name='conv_0')(x)
    y = nn.relu(GroupNorm(self.num_groups, name='norm_0')(y))
    y = Conv(self.features, 3, use_bias=False, name='conv_1')(y)
    y = GroupNorm(self.num_groups, name='norm_1')(y)
    # Only where the block changes the resolution or the channels.
    if x.shape != y.shape:
      x = Conv(self.features, 1, self.stride, use_bias=False, name='shortcut')(
        x
      )
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Stages of residual blocks, each at half the resolution of the one before.

  Attributes:
    num_classes: length of the logits.
    blocks_per_stage: blocks in each stage, of two convolutions; the depth is
      that of all stages plus 2.
    width: channels of the first stage; doubled at each further one.
    num_groups: groups of each GroupNorm; divides `width`.
    num_stages: 3 in networks for CIFAR-10, 4 in those for ImageNet.
  """

  num_classes: int
  blocks_per_stage: int = 1
  width: int = 16
  num_groups: int = 8
  num_stages: int = 3

  def __post_init__(self):
    check_groups(self.num_groups, (self.width,))
    super().__post_init__()

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps images [B, height, width, channels] to logits [B, num_classes]."""
    x = Conv(self.width, 3, use_bias=False, name='conv')(x)
    x = nn.relu(GroupNorm(self.num_groups, name='norm')(x))
    for stage in range(self.num_stages):
      for block in range(self.blocks_per_stage):
        x = ResidualBlock(
          features=self.width * 2**stage,
          stride=2 if stage > 0 and block == 0 else 1,
          num_groups=self.num_groups,
          name=f'stage_{stage}_block_{block}',
        )(x)
    x = x.mean(axis=(1, 2))
    return Dense(self.num_classes, name='output')(x)


class ResNet8(ResNet):
  """ResNet of depth 8: one block a stage, about 78,000 parameters."""


class ResNet20(ResNet):
  """ResNet of depth 20: three blocks a stage, about 272,000 parameters."""

  blocks_per_stage: int = 3


class ResNet18(ResNet):
  """ResNet of depth 18 and width 64, about 11,170,000 parameters.

  Four stages of two blocks, as for ImageNet (He et al., table 1), behind the
  first convolution for 32 x 32 images: without stride and pooling.
  """

  blocks_per_stage: int = 2
  width: int = 64
  num_stages: int = 4
