"""The models under attack, and a client's update as a differentiable function.

Two have sigmoid units, unlike those of `fps_jax.models`: an attack by gradients
differentiates the update, hence the model twice, and the second derivative of a
ReLU is zero wherever it exists. Zhu et al. (2019) replace ReLU for the same
reason.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from fps_jax.core.types import Array, Key
from fps_jax.models.layers import Conv
from fps_jax.pruning.pruner import Pruner


class LocalUpdate(Protocol):
  """A client's training, which can be differentiated by its images."""

  def __call__(
    self, params_D: Array, kept_D: Array, images: Array, labels_B: Array
  ) -> Array:
    """Returns the client's update.

    Args:
      params_D: float32 [D], what it received.
      kept_D: bool [D], what it trains.
      images: float32 [B, height, width, channels] in [0, 1].
      labels_B: int32 [B].

    Returns:
      float32 [D], its parameters after training less `params_D`.
    """


class SigmoidMlp(nn.Module):
  """A perceptron with one hidden layer of sigmoid units.

  Attributes:
    num_classes: length of the logits.
    width: hidden units.
  """

  num_classes: int
  width: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps images [B, height, width, channels] to logits [B, num_classes]."""
    x = x.reshape(x.shape[0], -1)
    x = nn.sigmoid(nn.Dense(self.width, name='hidden_0')(x))
    return nn.Dense(self.num_classes, name='output')(x)


class LeNet(nn.Module):
  """Three 5 x 5 convolutions of 12 channels, the first two with stride 2.

  Reference: L. Zhu et al., Deep leakage from gradients, NeurIPS 2019, whose
  weights start out larger than these.

  Attributes:
    num_classes: length of the logits.
    activation: after each convolution.
  """

  num_classes: int
  activation: Callable[[Array], Array] = nn.sigmoid

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps images [B, height, width, channels] to logits [B, num_classes]."""
    for i, stride in enumerate((2, 2, 1)):
      x = self.activation(Conv(12, 5, stride, name=f'conv_{i}')(x))
    return nn.Dense(self.num_classes, name='output')(x.reshape(x.shape[0], -1))


PERCEPTRON = 'perceptron'
# By name: from the number of classes and the perceptron's hidden units.
NETWORKS: Mapping[str, Callable[[int, int], nn.Module]] = {
  PERCEPTRON: SigmoidMlp,
  'lenet': lambda num_classes, width: LeNet(num_classes),
  'lenet_relu': lambda num_classes, width: LeNet(num_classes, nn.relu),
}


class FlatModel(NamedTuple):
  """A model over its parameters as one vector.

  Attributes:
    init: key -> float32 [D].
    apply: (float32 [D], images [B, height, width, channels]) -> logits.
    exempt_D: bool [D], parameters that are never pruned.
    hidden: (float32 [D]) -> kernel [pixels, width] and bias [width] of the
      perceptron's hidden layer.
    layer_sizes: of the arrays of parameters, in order.
  """

  init: Callable[[Key], Array]
  apply: Callable[[Array, Array], Array]
  exempt_D: np.ndarray
  hidden: Callable[[Array], tuple[Array, Array]]
  layer_sizes: tuple[int, ...]


def make_model(
  image_shape: tuple[int, int, int],
  num_classes: int,
  width: int,
  exempt: Sequence[str] = (),
  network: str = PERCEPTRON,
) -> FlatModel:
  """Returns a network over a vector of parameters.

  Args:
    image_shape: (height, width, channels).
    num_classes: length of the logits.
    width: hidden units of the perceptron.
    exempt: patterns of parameters that are never pruned; see `Pruner.of`.
    network: one of `NETWORKS`.
  """
  module = NETWORKS[network](num_classes, width)
  image = jnp.zeros((1, *image_shape))
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)['params']
  unravel = ravel_pytree(
    jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  )[1]

  def hidden(params_D: Array) -> tuple[Array, Array]:
    layer = unravel(params_D)['hidden_0']
    return layer['kernel'], layer['bias']

  def apply(params_D: Array, images: Array) -> Array:
    logits = module.apply({'params': unravel(params_D)}, images)
    return cast(Array, logits)

  return FlatModel(
    init=jax.jit(
      lambda key: ravel_pytree(module.init(key, image)['params'])[0]
    ),
    apply=apply,
    exempt_D=Pruner.of(shapes, exempt).exempt_mask,
    hidden=hidden,
    layer_sizes=tuple(leaf.size for leaf in jax.tree.leaves(shapes)),
  )


def make_local_update(
  apply: Callable[[Array, Array], Array], learning_rate: float, num_steps: int
) -> LocalUpdate:
  """Returns local training, each step on the whole of the client's images.

  Guarantee: what comes back is the `delta` of `fps_jax.federated.client`, to
  float rounding.

  Args:
    apply: (params_D, images) -> logits.
    learning_rate: of gradient descent.
    num_steps: of gradient descent, >= 1.
  """

  def loss(params_D: Array, images: Array, labels_B: Array) -> Array:
    logits = apply(params_D, images)
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(logits, labels_B)
    )

  def local_update(params_D, kept_D, images, labels_B):
    trained_D = params_D
    for _ in range(num_steps):
      gradient_D = jax.grad(loss)(trained_D, images, labels_B)
      trained_D -= learning_rate * jnp.where(kept_D, gradient_D, 0.0)
    return trained_D - params_D

  return local_update
