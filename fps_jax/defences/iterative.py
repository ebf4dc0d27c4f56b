"""Rules that move a centre, step by step, as weights of the updates.

Both begin at the zero vector, the model as it is: one client with a huge update
moves the mean of all, but not that.

Every rule takes gram_CxC, float32 [C, C] as `gram.leave_out` returns it,
present_C, bool [C], and num_malicious, int32 [], f, which may be traced. It
returns float32 [C], and raises ValueError where an argument does not fit.
"""

import jax
import jax.numpy as jnp

from fps_jax.core import registry
from fps_jax.core.types import Array
from fps_jax.defences import gram, order, scaling

# Of a distance. Sums of its inverses stay far below infinity.
_MIN_DISTANCE = 1e-30


def geometric_median(
  gram_CxC: Array,
  present_C: Array,
  num_malicious: Array | int,
  *,
  iterations: int,
  smoothing: float,
) -> Array:
  """Returns the weights of the smoothed Weiszfeld algorithm.

  Each step weighs every client by the inverse of its distance to the centre,
  normalised to sum to 1. A distance below `smoothing` times the median distance
  of those present counts as that much; the paper has a fixed bound. Distances
  below about 1e-3 of the norms are rounding, which bounds what a smaller
  smoothing can do.

  Reference: K. Pillutla, S. M. Kakade and Z. Harchaoui, Robust aggregation for
  federated learning, IEEE Transactions on Signal Processing 2022.

  There are `iterations` steps, at least 1; `smoothing` is above 0.
  """
  gram.check(gram_CxC, present_C, num_malicious)
  del num_malicious
  registry.check_whole('iterations', iterations, least=1)
  registry.check_positive('smoothing', smoothing)

  def move(_: int, weights_C: Array) -> Array:
    distances_C = gram.distances_to_centre(gram_CxC, weights_C)
    least = smoothing * _median_distance(distances_C, present_C)
    # Where most updates are equal, the median distance is 0.
    least = jnp.maximum(least, _MIN_DISTANCE)
    inverses_C = jnp.where(present_C, 1 / jnp.maximum(distances_C, least), 0.0)
    return inverses_C / jnp.maximum(jnp.sum(inverses_C), _MIN_DISTANCE)

  return jax.lax.fori_loop(0, iterations, move, jnp.zeros(len(present_C)))


def centred_clipping(
  gram_CxC: Array,
  present_C: Array,
  num_malicious: Array | int,
  *,
  iterations: int,
  radius_factor: float,
) -> Array:
  """Returns the weights of centred clipping.

  Each step adds to the centre the mean of all differences to it, each scaled
  down to the radius where it is longer. The radius is `radius_factor` times the
  median distance of those present to the current centre, so that it follows
  the updates as they shrink. In the paper it is a fixed number, and the centre
  begins where that of the last round was.

  Reference: S. P. Karimireddy, L. He and M. Jaggi, Learning from history for
  Byzantine robust optimization, ICML 2021.

  There are `iterations` steps, at least 1; `radius_factor` is above 0. The sum
  of the weights is at most 1.
  """
  gram.check(gram_CxC, present_C, num_malicious)
  del num_malicious
  registry.check_whole('iterations', iterations, least=1)
  registry.check_positive('radius_factor', radius_factor)
  num_present = order.count(present_C)

  def move(_: int, weights_C: Array) -> Array:
    distances_C = gram.distances_to_centre(gram_CxC, weights_C)
    radius = radius_factor * _median_distance(distances_C, present_C)
    steps_C = scaling.scale_to(distances_C, radius) * present_C / num_present
    # The centre is never computed: to add a part s of x - c to c is to scale
    # the weights of c by 1 - s and to add s to that of x.
    return weights_C * (1 - jnp.sum(steps_C)) + steps_C

  return jax.lax.fori_loop(0, iterations, move, jnp.zeros(len(present_C)))


def _median_distance(distances_C: Array, present_C: Array) -> Array:
  distances_C = jnp.where(present_C, distances_C, jnp.inf)
  return order.median(distances_C, order.count(present_C))
