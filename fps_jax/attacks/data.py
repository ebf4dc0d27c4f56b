"""What malicious clients train on instead of their data, batch by batch.

To add an attack: a function that returns a `DataAttack`, and a line in
`DATA_ATTACKS`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from fps_jax.core import arrays, registry
from fps_jax.core.registry import Registry
from fps_jax.core.types import Array

_WHITE = 255
_IMAGES = ('B', 'height', 'width', 'channels')


class DataAttack(NamedTuple):
  """An attack by training data.

  Guarantee: a client that is not malicious trains on its own data, unchanged.

  Attributes:
    corrupt: (images uint8 [B, height, width, channels], labels int32 [B],
      malicious bool []) -> images and labels that the client trains on;
      `malicious` may be traced. Labels are in [0, num_classes). Of other inputs
      or targets that it does not take, it raises ValueError: before a run.
    trigger: uint8 [n, height, width, channels] -> the same images with the
      trigger, which the model is to take for `target`; None without a backdoor.
    target: the backdoor's label; None without one.
  """

  corrupt: Callable[[Array, Array, Array], tuple[Array, Array]]
  trigger: Callable[[Array], Array] | None
  target: int | None


def label_flip(num_classes: int) -> DataAttack:
  """Every label y becomes num_classes - 1 - y.

  M. Fang et al., Local model poisoning attacks to Byzantine-robust federated
  learning, USENIX Security 2020. With an odd number of classes the one in the
  middle stays.

  Args:
    num_classes: at least 2.
  """
  _check_classes(num_classes)

  def corrupt(
    images: Array, labels_B: Array, malicious: Array
  ) -> tuple[Array, Array]:
    _check_batch(images, labels_B, malicious)
    flipped_B = num_classes - 1 - labels_B
    return images, jnp.where(malicious, flipped_B, labels_B)

  return DataAttack(corrupt, None, None)


def backdoor(
  num_classes: int, size: int = 3, fraction: float = 0.5, target: int = 0
) -> DataAttack:
  """A part of every batch gets a trigger and the target's label.

  The trigger is a white square near the bottom right corner, one pixel off the
  border: T. Gu et al., BadNets, 2017 (the square); E. Bagdasaryan et al., How
  to backdoor federated learning, AISTATS 2020 (clients' batches mixed of clean
  and backdoored examples). Poisoned are the first round(fraction * B) examples
  of a batch, padding included, as Python rounds.

  Args:
    num_classes: at least 2.
    size: width and height of the trigger in pixels, at least 1.
    fraction: of a batch that is poisoned, in (0, 1].
    target: label of poisoned examples, in [0, num_classes).

  Raises:
    ValueError: if an argument is out of range; when called, if the trigger does
      not fit into the images, or the fraction of a batch is no example.
  """
  _check_classes(num_classes)
  registry.check_whole('size', size, least=1)
  if not 0 < fraction <= 1:
    raise ValueError(
      f'fraction={fraction} must be in (0, 1]: it is the part of a batch that '
      'is poisoned'
    )
  if not registry.is_whole(target) or not 0 <= target < num_classes:
    raise ValueError(
      f'target={target} must be a label, in [0, num_classes={num_classes})'
    )

  trigger = functools.partial(_draw_square, size)

  def corrupt(
    images: Array, labels_B: Array, malicious: Array
  ) -> tuple[Array, Array]:
    _check_batch(images, labels_B, malicious)
    num_examples = len(labels_B)
    num_poisoned = round(fraction * num_examples)
    if not num_poisoned:
      raise ValueError(
        f'fraction={fraction} of a batch of {num_examples} is no example: '
        f'raise it above {0.5 / num_examples}'
      )
    # The first ones: batches are in random order as they come.
    poisoned_B = malicious & (jnp.arange(num_examples) < num_poisoned)
    return (
      jnp.where(poisoned_B[:, None, None, None], trigger(images), images),
      jnp.where(poisoned_B, target, labels_B),
    )

  return DataAttack(corrupt, trigger, target)


DATA_ATTACKS: Registry[DataAttack] = Registry(
  'attack',
  {
    'backdoor': backdoor,
    'label_flip': label_flip,
  },
  num_first=1,
)


def make_data(name: str, num_classes: int, **args: Any) -> DataAttack:
  """Returns an attack by training data.

  Args:
    name: a key of `DATA_ATTACKS`.
    num_classes: as the attack takes it.
    **args: its other arguments.

  Raises:
    ValueError: if the name or an argument is unknown, or one is out of range.
  """
  return DATA_ATTACKS.make(name, args, num_classes)


def _draw_square(size: int, images: Array) -> Array:
  """Returns images with a white square of that size at its place."""
  arrays.check('images', images, jnp.uint8, _IMAGES)
  height, width = images.shape[1:3]
  if size >= min(height, width):
    raise ValueError(
      f'size={size} must be less than the height and the width of images, '
      f'{height} and {width}: lower it'
    )
  rows = slice(height - 1 - size, height - 1)
  columns = slice(width - 1 - size, width - 1)
  return jnp.asarray(images).at[:, rows, columns].set(_WHITE)


def _check_classes(num_classes: int) -> None:
  arrays.check_integer('num_classes', num_classes, 2)


def _check_batch(images: Array, labels_B: Array, malicious: Array) -> None:
  arrays.check('images', images, jnp.uint8, _IMAGES)
  arrays.check('labels_B', labels_B, jnp.int32, images.shape[:1])
  arrays.check('malicious', malicious, bool, ())
