"""Weights lowered until the sum that they weigh hides every client.

Weights are known, and what is opened of every entry is the integer sum of
weight times value. Where one weight is far above all others, that sum over the
weight, rounded, is the client's value. Where clients are few, weights need not
even differ much: 361,392 x + 368,492 y + 318,690 z is another number for each
of the 16,581,375 triples of 8-bit values. So weights are one of these:

- *spread*: the sum of their squares is at least 32 times the largest square
  (`min_contributors` times, if that is more). What the others add to a client's
  value is as large as what 31 clients of its weight would add;
- *shared*: each weight is that of at least `min_contributors` clients. What is
  opened can be computed from plain sums of as many clients each, and says no
  more than these.

Weights that are neither are lowered until they are shared: the largest to the
weight that `min_contributors` clients reach, then those below it in the same
way. What remains, of fewer than `min_contributors` clients, becomes 0.
"""

import jax
import jax.numpy as jnp

from fps_jax.types import Array

# In clients of the largest weight. A sum that only one choice of values fits
# is of fewer: it has at most 31 bits, and each value has a bit or more.
SPREAD = 32


def hide(weights_C: Array, min_contributors: int) -> Array:
  """Returns weights that are spread or shared.

  Guarantees:
    - weights that are spread or shared stay as they are, and so do those of
      fewer than `min_contributors` clients, whose sum is not opened;
    - no weight is raised, and equal weights stay equal;
    - of at least `min_contributors` clients with weight, fewer than
      `min_contributors` are left with none.

  Args:
    weights_C: uint32 [C], at most 2^20.
    min_contributors: at least 1, which lets every weight be.

  Returns:
    uint32 [C].
  """
  is_too_few = jnp.sum(weights_C > 0) < min_contributors
  as_they_are = is_too_few | _are_spread(weights_C, min_contributors)
  return jnp.where(as_they_are, weights_C, _share(weights_C, min_contributors))


def _are_spread(weights_C: Array, min_contributors: int) -> Array:
  """Returns whether no client stands out, bool []."""
  with jax.enable_x64(True):
    squares_C = jnp.square(weights_C.astype(jnp.uint64))
    least = max(SPREAD, min_contributors) * jnp.max(squares_C)
    return jnp.sum(squares_C) >= least


def _share(weights_C: Array, min_contributors: int) -> Array:
  """Returns the weights, each lowered to one that enough clients have."""
  order_C = jnp.flip(jnp.argsort(weights_C))
  sorted_C = weights_C[order_C]
  # The weight that as many clients reach, from each one on.
  reached_C = jnp.pad(sorted_C, (0, min_contributors - 1))
  reached_C = reached_C[min_contributors - 1 :]

  def lower(
    group: tuple[Array, Array], client: tuple[Array, Array, Array]
  ) -> tuple[tuple[Array, Array], Array]:
    weight, end = group
    place, own, reached = client
    begins = (place >= end) & (own < weight)
    weight = jnp.where(begins, reached, weight)
    end = jnp.where(begins, place + min_contributors, end)
    return (weight, end), weight

  places_C = jnp.arange(len(weights_C))
  no_group = (jnp.uint32(2**32 - 1), jnp.zeros_like(places_C[0]))
  _, lowered_C = jax.lax.scan(lower, no_group, (places_C, sorted_C, reached_C))
  return jnp.zeros_like(weights_C).at[order_C].set(lowered_C)
