"""Gradient inversion: images whose updates look like what was seen.

The attacker knows the model, the mask, the labels, how many images each client
has, its learning rate and its number of steps, and how what it sees is made of
updates. It searches for images in [0, 1] by gradient descent.

References: L. Zhu et al., Deep leakage from gradients, NeurIPS 2019 (the
search); J. Geiping et al., Inverting gradients: how easy is it to break privacy
in federated learning?, NeurIPS 2020 (cosine distance, total variation, Adam on
signs of gradients, updates of several steps); L. T. Phong et al.,
Privacy-preserving deep learning via additively homomorphic encryption, IEEE
Transactions on Information Forensics and Security 13(5), 2018 (the closed
form).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fps_jax.core.types import Array, Key
from fps_jax.jobs.inversion.model import LocalUpdate
from fps_jax.jobs.inversion.views import Expect

_TINY = 1e-20


@dataclasses.dataclass(frozen=True)
class Search:
  """How images are searched for.

  Attributes:
    num_iterations: of Adam, >= 1.
    num_restarts: from random images, >= 1; the one whose loss ends lowest is
      taken.
    step_size: of Adam at first, in grey values; it decays to 0 as a cosine.

  Raises:
    ValueError: if an attribute is out of range.
  """

  num_iterations: int
  num_restarts: int
  step_size: float

  def __post_init__(self):
    for name in ('num_iterations', 'num_restarts'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)} must be at least 1')
    if not self.step_size > 0:
      raise ValueError(f'step_size={self.step_size} must be above 0')


class Known(NamedTuple):
  """What an attacker has of a round besides what it sees.

  Attributes:
    params_D: float32 [D], what the clients received.
    kept_D: bool [D], what they train.
    labels_CxB: int32 [C, B], the labels of each client.
  """

  params_D: Array
  kept_D: Array
  labels_CxB: Array


@dataclasses.dataclass(frozen=True)
class Attack:
  """How an attacker searches; programs are compiled for each.

  Attributes:
    local_update: a client's training.
    expect: what updates would look like.
    image_shape: (height, width, channels).
    search: how long and how often.
    layer_sizes: see `distance`.
  """

  local_update: LocalUpdate
  expect: Expect
  image_shape: tuple[int, int, int]
  search: Search
  layer_sizes: tuple[int, ...] = ()


def cosine_distance(a_V: Array, b_V: Array) -> Array:
  """Returns 1 - the cosine of the angle between two vectors, in [0, 2]."""
  # The norm of zeros, as of a layer that is pruned, has no derivative.
  norms = [jnp.sqrt(jnp.sum(x * x) + _TINY) for x in (a_V, b_V)]
  return 1 - jnp.vdot(a_V, b_V) / (norms[0] * norms[1])


def distance(a_V: Array, b_V: Array, layer_sizes: Sequence[int]) -> Array:
  """Returns the mean cosine distance of layers, in [0, 2].

  Args:
    a_V: float32 [V].
    b_V: float32 [V].
    layer_sizes: of the parts that are compared one by one, in order; none
      compares the whole.
  """
  if not layer_sizes:
    return cosine_distance(a_V, b_V)
  ends = np.cumsum(layer_sizes)[:-1]
  layers = zip(jnp.split(a_V, ends), jnp.split(b_V, ends), strict=True)
  return jnp.mean(jnp.stack([cosine_distance(a, b) for a, b in layers]))


def total_variation(images: Array) -> Array:
  """Returns the mean absolute difference of neighbours, rows plus columns.

  Args:
    images: [..., height, width, channels].
  """
  down, right = (jnp.abs(jnp.diff(images, axis=axis)) for axis in (-3, -2))
  return jnp.mean(down) + jnp.mean(right)


@functools.partial(jax.jit, static_argnames='attack')
def invert(
  seen_V: Array,
  known: Known,
  smoothness: Array | float,
  key: Key,
  *,
  attack: Attack,
) -> tuple[Array, Array]:
  """Reconstructs the images of all clients from what was seen of them.

  Args:
    seen_V: float32 [V].
    known: of the round.
    smoothness: weight of the images' total variation, >= 0.
    key: of the images that the search starts from; it is consumed.
    attack: how to search.

  Returns:
    Images, float32 [C, B, *image_shape] in [0, 1], in no particular order among
    those of one label, and their loss, float32 [].
  """
  search = attack.search
  clients = jax.vmap(attack.local_update, (None, None, 0, 0))

  def loss(images: Array) -> Array:
    updates_CxD = clients(
      known.params_D, known.kept_D, images, known.labels_CxB
    )
    expected_V = attack.expect(updates_CxD)
    unlike = distance(expected_V, seen_V, attack.layer_sizes)
    return unlike + smoothness * total_variation(images)

  adam = optax.adam(
    optax.cosine_decay_schedule(search.step_size, search.num_iterations)
  )

  def step(carry, _):
    images, state = carry
    value, gradient = jax.value_and_grad(loss)(images)
    moves, state = adam.update(jnp.sign(gradient), state)
    return (jnp.clip(images + moves, 0.0, 1.0), state), value

  def run(start_key: Key) -> tuple[Array, Array]:
    shape = (*known.labels_CxB.shape, *attack.image_shape)
    images = jax.random.uniform(start_key, shape)
    start = (images, adam.init(images))
    # The last step has size 0: it evaluates what the others found.
    length = search.num_iterations + 1
    (images, _), losses = jax.lax.scan(step, start, length=length)
    return images, losses[-1]

  found, losses = jax.vmap(run)(jax.random.split(key, search.num_restarts))
  best = jnp.argmin(losses)
  return found[best], losses[best]


def divide(kernel_PxU: Array, bias_U: Array) -> Array:
  """Returns the image behind an update of a dense first layer: no search.

  Of one image and one step, the update of a unit's weights is the image times
  that of its bias. Units are averaged by the squares of the latter. Of several
  images it is a blend of them.

  Args:
    kernel_PxU: float32 [P, U], the update of the layer's kernel.
    bias_U: float32 [U], the update of its bias.

  Returns:
    float32 [P], clipped to [0, 1].
  """
  image_P = kernel_PxU @ bias_U / (jnp.vdot(bias_U, bias_U) + _TINY)
  return jnp.clip(image_P, 0.0, 1.0)
