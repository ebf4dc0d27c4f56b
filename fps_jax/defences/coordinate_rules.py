"""Rules that order the clients' values of every coordinate: plaintext alone.

Every rule takes updates_CxM, float32 [C, M] and finite, present_C, bool [C] and
somewhere True, and num_malicious, int32 [], f, which may be traced. It returns
float32 [M], and raises ValueError where an argument does not fit.
"""

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.defences import gram, krum, order


def check(
  updates_CxM: Array, present_C: Array, num_malicious: Array | int = 0
) -> None:
  """Checks what a rule is given.

  Args:
    updates_CxM: float32 [C, M].
    present_C: bool [C].
    num_malicious: int32 [] or an int, at least 0.

  Raises:
    ValueError: if an argument is of another type or shape, or out of range.
  """
  gram.check_present(present_C, num_malicious)
  shape = (present_C.shape[0], 'M')
  arrays.check('updates_CxM', updates_CxM, jnp.float32, shape)


def median(
  updates_CxM: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns the median of every coordinate, of two middle ones their mean.

  Reference: D. Yin, Y. Chen, K. Ramchandran and P. Bartlett, Byzantine-robust
  distributed learning: towards optimal statistical rates, ICML 2018.
  """
  check(updates_CxM, present_C, num_malicious)
  del num_malicious
  values_CxM = jnp.where(present_C[:, None], updates_CxM, jnp.inf)
  return order.median(values_CxM, order.count(present_C))


def trimmed_mean(
  updates_CxM: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns the mean of every coordinate without f values on either side.

  Where that would leave none, as many are trimmed as leave the median.

  Reference: D. Yin, Y. Chen, K. Ramchandran and P. Bartlett, Byzantine-robust
  distributed learning: towards optimal statistical rates, ICML 2018.
  """
  check(updates_CxM, present_C, num_malicious)
  num_present = order.count(present_C)
  trimmed = jnp.minimum(num_malicious, (num_present - 1) // 2)
  values_CxM = jnp.where(present_C[:, None], updates_CxM, jnp.inf)
  ordered_CxM = jnp.sort(values_CxM, axis=0)
  places_C = jnp.arange(len(present_C))
  is_kept_C = (places_C >= trimmed) & (places_C < num_present - trimmed)
  return _mean(ordered_CxM, is_kept_C)


def bulyan(
  updates_CxM: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns the mean, in every coordinate, of the values nearest the median.

  Krum chooses n - 2f clients, one after the other, each among those that are
  left: one where n - 2f is less. Of the chosen ones, the n - 4f values of a
  coordinate that are nearest to their median are averaged; where that would be
  none, it is the median. Of equal scores and distances the lowest index comes
  first.

  Reference: E. M. El Mhamdi, R. Guerraoui and S. Rouault, The hidden
  vulnerability of distributed learning in Byzantium, ICML 2018.
  """
  check(updates_CxM, present_C, num_malicious)
  gram_CxC, present_C = gram.leave_out(updates_CxM @ updates_CxM.T, present_C)
  distances_CxC = gram.squared_distances(gram_CxC)
  num_present = order.count(present_C)
  num_selected = jnp.maximum(num_present - 2 * num_malicious, 1)
  # The median is the mean of one value or of two.
  num_kept = jnp.maximum(num_present - 4 * num_malicious, 2 - num_selected % 2)
  numbers_C = jnp.arange(len(present_C))

  def select(_: Array, left_C: Array) -> Array:
    scores_C = krum.scores(distances_CxC, left_C, num_malicious)
    return left_C & (numbers_C != jnp.argmin(scores_C))

  # A loop, as the number is traced; distances are computed once for all of it.
  left_C = jax.lax.fori_loop(0, num_selected, select, present_C)
  selected_Cx1 = (present_C & ~left_C)[:, None]
  # Infinite ones sort behind all that are selected.
  values_CxM = jnp.where(selected_Cx1, updates_CxM, jnp.inf)
  median_M = order.median(values_CxM, num_selected)
  gaps_CxM = jnp.where(selected_Cx1, jnp.abs(updates_CxM - median_M), jnp.inf)
  _, ordered_CxM = jax.lax.sort((gaps_CxM, updates_CxM), dimension=0)
  return _mean(ordered_CxM, numbers_C < num_kept)


def _mean(values_CxM: Array, is_kept_C: Array) -> Array:
  kept_CxM = jnp.where(is_kept_C[:, None], values_CxM, 0.0)
  return jnp.sum(kept_CxM / order.count(is_kept_C), axis=0)
