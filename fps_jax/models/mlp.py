"""The multilayer perceptron, by default the '2NN' 784-200-200-10.

Reference: McMahan et al., Communication-efficient learning of deep networks
from decentralized data, AISTATS 2017, section 3.
"""

from collections.abc import Sequence

from flax import linen as nn

from fps_jax.core.types import Array
from fps_jax.models.dense import Dense


class Mlp(nn.Module):
  """Dense layers with ReLU between them. 199,210 parameters on MNIST.

  Attributes:
    num_classes: length of the logits.
    widths: units of each hidden layer.
  """

  num_classes: int
  widths: Sequence[int] = (200, 200)

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps images [B, height, width, channels] to logits [B, num_classes]."""
    x = x.reshape(x.shape[0], -1)
    for i, width in enumerate(self.widths):
      x = Dense(width, name=f'hidden_{i}')(x)
      x = nn.relu(x)
    return Dense(self.num_classes, name='output')(x)
