"""What a model's outputs are worth, given the targets: losses by name.

To add a loss: a function of its own arguments that returns a `Loss`, and a line
in `LOSSES`.
"""

import math
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.core import arrays, registry
from fps_jax.core.registry import Registry
from fps_jax.core.types import Array, PlanArray


class Compare(Protocol):
  """Compares outputs with targets."""

  def __call__(self, outputs: Array, targets: Array, /) -> Array:
    """Returns a value of each target that counts, [B] or [B, T]."""


class CompareKnowing(Protocol):
  """Makes a comparison for a client from all classes it trains on."""

  def __call__(self, owned: Array, num_classes: int, /) -> Compare:
    """Returns what the client minimises in a round.

    Args:
      owned: int32 [n], the classes of all its batches' examples, or positions,
        repeats counted; -1 where there is none.
      num_classes: length of the logits.
    """


class Loss(NamedTuple):
  """What is minimised, and what is reported of a model.

  Targets are int32 classes [B] or [B, T], of which -1 is padding, or float32
  [B] or [B, K]. Functions get no -1: what they return in its place counts
  nowhere. A loss of classes counts each of T positions by itself, one of
  numbers each example.

  Attributes:
    train: what clients minimise the mean of, float32.
    test: what evaluation reports the mean of, float32.
    is_right: whether predictions are right, bool; None where they are not right
      or wrong, so that there is no accuracy.
    train_knowing: makes what clients minimise instead of `train`, of what
      classes a client has; None where it does not depend on them.
  """

  train: Compare
  test: Compare
  is_right: Compare | None
  train_knowing: CompareKnowing | None = None


def of_classes(train: Compare) -> Loss:
  """Returns a loss of logits that is reported as the plain cross-entropy.

  Args:
    train: of logits [..., classes] and int32 classes [...].
  """
  return Loss(train, cross_entropy_of, _is_largest)


def cross_entropy_of(logits: Array, classes: Array) -> Array:
  """Returns -log of what the softmax gives the right class, in nats."""
  _check_classes(logits, classes)
  return optax.softmax_cross_entropy_with_integer_labels(logits, classes)


def cross_entropy() -> Loss:
  """Cross-entropy of the softmax, in nats."""
  return of_classes(cross_entropy_of)


def label_smoothing(smoothing: float = 0.1) -> Loss:
  """Cross-entropy with a part of every target spread over all classes alike.

  C. Szegedy et al., Rethinking the Inception architecture for computer vision,
  CVPR 2016. It is of training alone: evaluation reports the plain
  cross-entropy.

  Args:
    smoothing: the part, in (0, 1).

  Raises:
    ValueError: if it is out of range.
  """
  if not registry.is_number(smoothing) or not 0 < smoothing < 1:
    raise ValueError(
      f'smoothing={smoothing!r} must be in (0, 1): for none, use cross_entropy'
    )

  def smoothed(logits: Array, classes: Array) -> Array:
    right = cross_entropy_of(logits, classes)
    uniform = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
    return (1 - smoothing) * right + smoothing * uniform

  return of_classes(smoothed)


def logit_adjustment(strength: float = 1.0) -> Loss:
  """Cross-entropy of logits moved by how frequent classes are for the client.

  A client with few classes raises their logits, and the mean of such clients
  names what the clients of the round have most of. With the logarithm of a
  class's frequency added to its logit in training, the model's own logits need
  not have it.

  Frequencies are of all batches of the client in the round, one more of each
  class, with the labels that a data set has: not with those that a malicious
  client makes of them. They are not sent, though the update depends on them, as
  it does on labels without.

  It is of training alone: models are used, and tested, without. So it is for
  tests whose classes are about as frequent as each other. Elsewhere, as with
  letters of a text, frequency is part of what is tested, and is taken out.

  A. Menon et al., Long-tail learning via logit adjustment, ICLR 2021, eq. 10;
  with clients' frequencies: J. Zhang et al., Federated learning with label
  distribution skew via logits calibration, ICML 2022, who subtract a
  multiple of the fourth root of 1 / count instead.

  Args:
    strength: what the logarithm is multiplied by, above 0; 1 aims at logits as
      of even classes.

  Raises:
    ValueError: if it is out of range.
  """
  if not registry.is_number(strength) or not 0 < strength < math.inf:
    raise ValueError(
      f'strength={strength!r} must be above 0 and finite: for none, use '
      'cross_entropy'
    )

  def knowing(owned: Array, num_classes: int) -> Compare:
    # Of -1 all entries are 0.
    counts = jnp.sum(jax.nn.one_hot(owned, num_classes), axis=0) + 1
    moved_by = strength * jnp.log(counts / jnp.sum(counts))

    def adjusted(logits: Array, classes: Array) -> Array:
      # Before a sum makes another type float32.
      _check_classes(logits, classes)
      return cross_entropy_of(logits + moved_by, classes)

    return adjusted

  return of_classes(cross_entropy_of)._replace(train_knowing=knowing)


def mean_squared_error() -> Loss:
  """Squared distance of numbers, its mean over the numbers of an example."""
  return Loss(_squared_error, _squared_error, None)


LOSSES: Registry[Loss] = Registry(
  'loss',
  {
    function.__name__: function
    for function in (
      cross_entropy,
      label_smoothing,
      logit_adjustment,
      mean_squared_error,
    )
  },
)


def are_classes(targets: PlanArray) -> bool:
  """Returns whether targets are classes, not numbers."""
  return bool(np.issubdtype(targets.dtype, np.integer))


def num_counted(targets: np.ndarray) -> int:
  """Returns how many targets count: all examples, or positions without -1."""
  return int(np.sum(targets >= 0)) if are_classes(targets) else len(targets)


def _is_largest(logits: Array, classes: Array) -> Array:
  return jnp.argmax(logits, axis=-1) == classes


def _squared_error(outputs: Array, targets: Array) -> Array:
  arrays.check('outputs', outputs, jnp.float32)
  if are_classes(targets):
    raise ValueError(
      f'targets are {targets.dtype} {list(targets.shape)}, must be float32, as '
      'mean_squared_error is of numbers: use cross_entropy for classes'
    )
  # A model's outputs always have an axis of their own, of one number, too.
  if targets.ndim == 1 and outputs.shape[1:] == (1,):
    outputs = outputs[:, 0]
  arrays.check('outputs', outputs, jnp.float32, targets.shape)
  errors = jnp.square(outputs - targets)
  return errors.reshape(len(errors), -1).mean(axis=1)


def _check_classes(logits: Array, classes: Array) -> None:
  if not are_classes(classes):
    raise ValueError(
      f'targets are {classes.dtype} {list(classes.shape)}, must be int32, as '
      'the loss is of classes: use mean_squared_error for numbers'
    )
  arrays.check('logits', logits, jnp.float32, (*classes.shape, 'classes'))
