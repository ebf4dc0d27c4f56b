"""Models by name: one flax.linen module a file.

To add one: write `fps_jax/models/NAME.py` and a line in `MODELS`. A model maps
inputs [B, ...], such as float32 images [B, height, width, channels] or int32
tokens [B, T], to logits [B, num_classes], or [B, T, num_classes] of sequences.
It keeps no state but its parameters (GroupNorm, no BatchNorm), names its last
layer `output` so that pruning can exempt it, and uses `layers.Conv`, which
stays a matrix product when clients are vmapped, and `dense.Dense`, which
updates weights in one pass on a CPU. If it loops, it has a field `unroll`,
which writes the loop out where its operations are counted.
"""

from typing import Any

from flax import linen as nn

from fps_jax.core.registry import Registry
from fps_jax.models.char_lstm import CharLstm
from fps_jax.models.cifar_cnn import CifarCnn
from fps_jax.models.mcmahan_cnn import McMahanCnn
from fps_jax.models.mlp import Mlp
from fps_jax.models.resnet import ResNet8, ResNet18, ResNet20

MODELS: Registry[nn.Module] = Registry(
  'model',
  {
    'char_lstm': CharLstm,
    'cifar_cnn': CifarCnn,
    'mcmahan_cnn': McMahanCnn,
    'mlp': Mlp,
    'resnet8': ResNet8,
    'resnet18': ResNet18,
    'resnet20': ResNet20,
  },
  given=('num_classes', 'parent', 'name'),
  noun='fields',
)


def make(name: str, num_classes: int, **kwargs: Any) -> nn.Module:
  """Returns a model by name.

  Args:
    name: a key of `MODELS`.
    num_classes: length of the logits.
    **kwargs: fields of that model.

  Raises:
    ValueError: if the name or a field is unknown, or fields do not fit.
  """
  return MODELS.make(name, kwargs, num_classes=num_classes)
