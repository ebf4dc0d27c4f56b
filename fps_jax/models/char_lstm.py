"""A recurrent model of text, character by character.

Reference: McMahan et al., Communication-efficient learning of deep networks
from decentralized data, AISTATS 2017, section 3 (Shakespeare): embedding of 8,
two layers of 256 units. It is smaller by default.
"""

import jax.numpy as jnp
from flax import linen as nn

from fps_jax.core.types import Array


class CharLstm(nn.Module):
  """An embedding, LSTM layers, and logits of the next token at every position.

  20,951 parameters on `text`.

  Attributes:
    num_classes: tokens that there are; each in [0, num_classes).
    embedding: numbers that a token becomes.
    width: units of each layer.
    layers: LSTM layers, one on the other.
    unroll: whether the loop over positions is written out: for programs whose
      operations are counted, which loops hide.
  """

  num_classes: int
  embedding: int = 8
  width: int = 64
  layers: int = 1
  unroll: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps int32 tokens [B, T] to logits [B, T, num_classes]."""
    unroll = x.shape[1] if self.unroll else 1
    x = nn.Embed(self.num_classes, self.embedding, name='embedding')(x)
    for i in range(self.layers):
      cell = nn.OptimizedLSTMCell(self.width, name=f'lstm_{i}')
      x = jnp.asarray(nn.RNN(cell, unroll=unroll)(x))
    return nn.Dense(self.num_classes, name='output')(x)
