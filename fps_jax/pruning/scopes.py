"""Scopes: what decides which weights of all layers are kept.

To add one, derive from `Scope` and add the class to `SCOPES`:

  >>> class Scaled(Scope):
  ...   '''The largest magnitudes times the square root of the layer's size.'''
  ...
  ...   def score(self, layer):
  ...     return layer * layer.size**0.5
  >>> Scaled().score(jnp.ones(4)).tolist()
  [2.0, 2.0, 2.0, 2.0]

Every function of a scope depends on public data alone, so that whoever has the
model that was pruned knows the mask.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.pruning import erk


class Scope:
  """Scores of weights, and, if it likes, a number for each layer.

  Attributes:
    sees_whole_layer: whether a weight's score depends on others of its layer:
      clients that receive a part of the model could not compute it.
  """

  sees_whole_layer = False

  def score(self, layer: Array) -> Array:
    """Returns what the magnitudes of weights are compared by.

    Args:
      layer: float32 [size], finite; ValueError is raised for anything else.

    Returns:
      float32 [size], finite; signs do not matter.
    """
    arrays.check('layer', layer, jnp.float32, ('size',))
    return layer

  def counts(
    self,
    shapes: Sequence[tuple[int, ...]],
    exempt: Sequence[bool],
    keep_count: int,
  ) -> tuple[int, ...] | None:
    """Returns how many of each layer are kept, or None for one threshold.

    Args:
      shapes: of the layers' arrays.
      exempt: which of them are never pruned: they are kept whole.
      keep_count: parameters kept in all, which the counts must add up to.
        When it grows none of them may fall, so that masks are nested.
    """
    del shapes, exempt, keep_count
    return None

  @classmethod
  def has_counts(cls) -> bool:
    """Whether it says how many of each layer are kept."""
    return cls.counts is not Scope.counts


class Global(Scope):
  """The largest magnitudes of all layers, under one threshold."""


class LayerNormalised(Scope):
  """The largest magnitudes over the L2 norm of their layer, one threshold."""

  sees_whole_layer = True

  def score(self, layer: Array) -> Array:
    """Returns weights over the norm of all; 0 where all are 0."""
    arrays.check('layer', layer, jnp.float32, ('size',))
    norm = jnp.linalg.norm(layer)
    return layer / jnp.where(norm > 0, norm, 1.0)


class Erk(Scope):
  """Of each layer the largest magnitudes, as many as ERK says."""

  def counts(
    self,
    shapes: Sequence[tuple[int, ...]],
    exempt: Sequence[bool],
    keep_count: int,
  ) -> tuple[int, ...]:
    """Returns those of `fps_jax.pruning.erk.counts_per_layer`."""
    return erk.counts_per_layer(shapes, exempt, keep_count)


SCOPES: dict[str, type[Scope]] = {
  'global': Global,
  'layer_normalised': LayerNormalised,
  'erk': Erk,
}
