"""Masks by global magnitude: exactly k weights, ties broken the same always.

The k-th largest magnitude is found without sorting: the bits of a non-negative
float32, read as an integer, are ordered as the floats are, so a binary search
over the 31 bits needs 31 counts. As many more as a position has bits find which
of equal magnitudes are kept. `k` may be traced, so a sparsity schedule never
recompiles, and everything works under `vmap`.

Example:
  >>> import jax.numpy as jnp
  >>> weights = jnp.float32([0.1, -3.0, 2.0, 0.0, -2.0])
  >>> keep_largest(weights, 2).tolist()  # the tie goes to the lower index
  [False, True, True, False, False]
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays, registry
from fps_jax.core.types import Array

# Above +infinity, whose bits are 0x7F800000: NaN of any bits, then the exempt.
_NAN_SCORE = np.uint32(0x7F800001)
_EXEMPT_SCORE = np.uint32(0x7F800002)


def keep_largest(
  weights_D: Array,
  keep_count: Array | int,
  exempt_D: Array | np.ndarray | None = None,
) -> Array:
  """Returns the mask of the `keep_count` largest magnitudes, one threshold.

  Guarantees:
    - exactly `keep_count` entries are True (all D if it exceeds D);
    - exempt entries are kept first, whatever they and the others hold; then
      those that are NaN, infinite ones, and finite ones by magnitude. So a
      model that diverged is not made finite by pruning it;
    - of equal ranks the lower index is kept first;
    - masks of one vector are nested: a smaller count keeps a subset.

  Args:
    weights_D: float32 [D].
    keep_count: int32 [], may be traced; at least the number of exempt ones.
    exempt_D: bool [D], entries that are kept before any other.

  Returns:
    bool [D].

  Raises:
    ValueError: if the arguments do not fit, or fewer are known to be kept than
      are exempt.
  """
  arrays.check('weights_D', weights_D, np.float32, ('D',))
  num_exempt = 0
  if exempt_D is not None:
    arrays.check('exempt_D', exempt_D, bool, weights_D.shape)
    known = arrays.known(exempt_D)
    num_exempt = 0 if known is None else int(known.sum())
  arrays.check_integer('keep_count', keep_count, num_exempt)
  scores = jax.lax.bitcast_convert_type(jnp.abs(weights_D), jnp.uint32)
  scores = jnp.minimum(scores, _NAN_SCORE)
  if exempt_D is not None:
    scores = jnp.where(exempt_D, _EXEMPT_SCORE, scores)

  most = np.uint32(2**31 - 1)  # bit 31 is the sign, which a magnitude has not
  positions_D = jnp.arange(weights_D.size, dtype=jnp.uint32)

  def keep(bound_2):
    # How far down from the most, and how many places of those just that far.
    threshold, num_places = most - bound_2[0], bound_2[1]
    tied_D = (scores == threshold) & (positions_D < num_places)
    return (scores > threshold) | tied_D

  def raise_bit(bound_2, bit_2):
    kept_D = keep(bound_2 + bit_2)
    fits = jnp.sum(kept_D, dtype=jnp.int32) <= keep_count
    return jnp.where(fits, bound_2 + bit_2, bound_2), None

  down = [(1 << i, 0) for i in reversed(range(31))]
  places = [(0, 1 << i) for i in reversed(range(weights_D.size.bit_length()))]
  bound_2 = jnp.zeros(2, jnp.uint32)
  bound_2, _ = jax.lax.scan(
    raise_bit, bound_2, np.array(down + places, np.uint32)
  )
  return keep(bound_2)


def kept_indices(mask_D: Array, size: int) -> Array:
  """Returns the positions of True, in order, padded with D.

  Args:
    mask_D: bool [D].
    size: static length of the result, at least the number of True.

  Returns:
    int32 [size].

  Raises:
    ValueError: if the arguments do not fit, or more are known to be True.
  """
  arrays.check('mask_D', mask_D, bool, ('D',))
  known = arrays.known(mask_D)
  num_kept = 0 if known is None else int(known.sum())
  arrays.check_integer('size', size, num_kept)
  num_params = mask_D.shape[0]
  # What `jnp.nonzero` makes of it, with one running sum instead of two.
  places_D = jnp.cumsum(mask_D, dtype=jnp.int32) - 1
  places_D = jnp.where(mask_D, places_D, size)
  positions_D = jnp.arange(num_params, dtype=jnp.int32)
  nothing = jnp.full(size, num_params, jnp.int32)
  return nothing.at[places_D].set(positions_D, mode='drop')


def keep_count(num_params: int, sparsity: float, num_exempt: int = 0) -> int:
  """Returns how many parameters a sparsity keeps: D - round(sparsity * D).

  Args:
    num_params: D.
    sparsity: fraction of all D parameters that is removed, in [0, 1).
    num_exempt: parameters that are never pruned.

  Raises:
    ValueError: if the sparsity is out of range, or keeps fewer parameters
      than are exempt.
  """
  arrays.check_integer('num_params', num_params, 1)
  arrays.check_integer('num_exempt', num_exempt, 0, num_params)
  check_sparsity(sparsity)
  kept = num_params - round(sparsity * num_params)
  if kept < max(1, num_exempt):
    largest = math.floor(1e4 * (1 - max(1, num_exempt) / num_params)) / 1e4
    raise ValueError(
      f'sparsity={sparsity} keeps {kept} of {num_params} parameters, but must '
      f'keep the {num_exempt} exempt from pruning and at least one: lower it '
      f'to {largest} or exempt fewer (pruning.exempt)'
    )
  return kept


def check_sparsity(sparsity: float) -> None:
  """Checks the fraction of a model's parameters that is removed.

  Raises:
    ValueError: if it is not in [0, 1).
  """
  if not 0 <= sparsity < 1:
    raise ValueError(
      f'sparsity={sparsity} must be in [0, 1): it is the fraction of the '
      "model's parameters that is removed"
    )


def tier_counts(
  keep_count: int, tiers: Sequence[float], num_exempt: int = 0
) -> tuple[int, ...]:
  """Returns how many parameters clients of each tier keep.

  Args:
    keep_count: parameters that the last tier keeps.
    tiers: the part of the prunable ones among them that each tier keeps,
      ascending, in (0, 1]; the last is 1.
    num_exempt: parameters that every tier keeps.

  Raises:
    ValueError: if the tiers are not ascending to 1, or a count is out of range.
  """
  arrays.check_integer('num_exempt', num_exempt, 0)
  arrays.check_integer('keep_count', keep_count, num_exempt)
  numbers = all(registry.is_number(part) and part > 0 for part in tiers)
  if not numbers or not tiers or tiers[-1] != 1:
    raise ValueError(f'tiers={tuple(tiers)} must be above 0 and end with 1')
  if any(low >= high for low, high in itertools.pairwise(tiers)):
    raise ValueError(f'tiers={tuple(tiers)} must ascend strictly')
  return tuple(
    num_exempt + round(part * (keep_count - num_exempt)) for part in tiers
  )
