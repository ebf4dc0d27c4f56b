"""Weights lowered until the sum that they weigh hides every client.

Weights are known, and what is opened of every entry is the integer sum of
weight times value. That may be more than one sum of values. Where one weight is
far above all others, the sum over the weight, rounded, is the client's value.
Where clients are few, weights need not even differ much: 361,392 x + 368,492 y
+ 318,690 z is another number for each of the 16,581,375 triples of 8-bit
values. And where all weights but one are multiples of a large number, what the
sum leaves when divided by it is of that one client.

So each weight is that of at least `min_contributors` clients. What is opened
can then be computed from plain sums of as many clients each, and says no more
than these. Weights are lowered for that: the largest to the one that
`min_contributors` clients reach, then those below it in the same way. What
remains, of fewer than `min_contributors` clients, becomes 0.
"""

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array


def hide(weights_C: Array, min_contributors: int) -> Array:
  """Returns weights each of which enough clients have.

  Guarantees:
    - a weight above 0 is that of at least `min_contributors` clients;
    - weights that are stay as they are, and so do those of fewer than
      `min_contributors` clients, whose sum is not opened;
    - no weight is raised, and equal weights stay equal;
    - of at least `min_contributors` clients with weight, fewer than
      `min_contributors` are left with none.

  Args:
    weights_C: uint32 [C].
    min_contributors: at least 1, which lets every weight be.

  Returns:
    uint32 [C].
  """
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
  hidden_C = jnp.zeros_like(weights_C).at[order_C].set(lowered_C)
  is_opened = jnp.sum(weights_C > 0) >= min_contributors
  return jnp.where(is_opened, hidden_C, weights_C)
