"""Random changes of the examples that clients train on, made on the device.

To add one: a function of its own arguments that returns an `Augment`, and a
line in `AUGMENTATIONS`.
"""

from typing import Protocol

import jax
import jax.numpy as jnp

from fps_jax.core import arrays, registry
from fps_jax.core.registry import Registry
from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Key


class Augment(Protocol):
  """Changes one example's input at random."""

  def __call__(self, key: Key, input: Array, /) -> Array:
    """Returns an input of the same type and shape; traced."""


def crop_flip(padding: int = 4, flips: bool = True) -> Augment:
  """Images moved by up to `padding` pixels, half of them mirrored.

  What comes in at the border is black: K. He et al., Deep residual learning
  for image recognition, CVPR 2016, section 4.2.

  Args:
    padding: pixels by which an image moves at most, in each direction, at
      least 0.
    flips: whether an image is mirrored, left to right, with probability 1/2:
      not for digits.

  Raises:
    ValueError: if an argument is out of range, or nothing is to be changed;
      when called, if the input is no image.
  """
  registry.check_whole('padding', padding, 0)
  if not isinstance(flips, bool):
    raise ValueError(f'flips={flips!r} must be True or False')
  if not padding and not flips:
    raise ValueError(
      'padding=0 with flips=False changes nothing: set one of them'
    )

  def augment(key: Key, image: Array) -> Array:
    arrays.check('image', image, jnp.uint8, ('height', 'width', 'channels'))
    place, side = jax.random.split(key)
    if padding:
      border = ((padding, padding), (padding, padding), (0, 0))
      first = jax.random.randint(place, (2,), 0, 2 * padding + 1)
      image = jax.lax.dynamic_slice(
        jnp.pad(image, border), (*first, 0), image.shape
      )
    if flips:
      image = jnp.where(jax.random.bernoulli(side), image[:, ::-1], image)
    return image

  return augment


AUGMENTATIONS: Registry[Augment] = Registry(
  'augmentation', {'crop_flip': crop_flip}
)


def client_key(key: Key, round: Array | int, client_id: Array | int) -> Key:
  """Returns what a client's draws of a round are derived from.

  Args:
    key: the run's root key.
    round: from 0; every attempt at it draws the same.
    client_id: the client's number.
  """
  return device_key(key, Stream.AUGMENTATION, round, client_id)


def augment_batch(
  augment: Augment, key: Key, step: Array | int, inputs: Array
) -> Array:
  """Returns a step's inputs [B, ...], each changed by draws of its own.

  Args:
    augment: of one input.
    key: of `client_key`.
    step: of the client's round, from 0.
    inputs: of the batch; draws depend on the place of an example in it.

  Raises:
    ValueError: if the inputs change in type or shape.
  """
  keys_B = jax.random.split(jax.random.fold_in(key, step), len(inputs))
  changed = jax.vmap(augment)(keys_B, inputs)
  arrays.check('augmented inputs', changed, inputs.dtype, inputs.shape)
  return changed
