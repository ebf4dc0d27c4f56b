"""Baselines in which every client chooses what it sends, by itself.

Clients train the whole model and send a part of their update, with its
positions: more bytes, and whoever reads the positions learns where a client's
update is large. What a shared mask saves shows against these.

What a client sends of its update with each mask:

- `local`: entries whose weights, after training, are largest in magnitude;
- `top_k`: the largest entries; the rest is added to its next update (error
  feedback).

The sum is divided by the weight of all clients, whether they sent an entry or
not.

Reference for `top_k`: S. Stich et al., Sparsified SGD with memory, NeurIPS
2018, algorithm 1.
"""

import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays, registry
from fps_jax.core.types import Array
from fps_jax.pruning import masks

MASKS = ('shared', 'local', 'top_k')


def select_local(
  params_D: Array,
  delta_D: Array,
  count: Array | int,
  exempt_D: Array | np.ndarray,
) -> Array:
  """Returns a client's update where its trained weights are largest, else 0.

  Args:
    params_D: float32 [D], what the client received.
    delta_D: float32 [D], trained minus received.
    count: int32 [], entries that are sent; may be traced.
    exempt_D: bool [D], entries that are sent whatever they are.

  Raises:
    ValueError: if the arguments do not fit.
  """
  arrays.check('params_D', params_D, np.float32, ('D',))
  arrays.check('delta_D', delta_D, np.float32, params_D.shape)
  arrays.check_integer('count', count, 0)
  mask_D = masks.keep_largest(params_D + delta_D, count, exempt_D)
  return jnp.where(mask_D, delta_D, 0.0)


def select_top_k(
  delta_D: Array, residual_D: Array, count: Array | int
) -> tuple[Array, Array]:
  """Returns the largest entries of a client's update, and what is left.

  Guarantee: the two add up to the update and the residual, bit for bit.

  Args:
    delta_D: float32 [D], trained minus received.
    residual_D: float32 [D], what the client has not sent so far.
    count: int32 [], entries that are sent; may be traced.

  Raises:
    ValueError: if the arguments do not fit.
  """
  arrays.check('delta_D', delta_D, np.float32, ('D',))
  arrays.check('residual_D', residual_D, np.float32, delta_D.shape)
  arrays.check_integer('count', count, 0)
  total_D = delta_D + residual_D
  mask_D = masks.keep_largest(total_D, count)
  # Every entry is in one of the two as it is: nothing is subtracted.
  return jnp.where(mask_D, total_D, 0.0), jnp.where(mask_D, 0.0, total_D)


def check(
  mask: str, scope: str, server: str, regrow_every: int, num_tiers: int
) -> None:
  """Checks settings that exclude each other.

  Raises:
    ValueError: if the mask is unknown, or combined with what needs a shared
      one.
  """
  registry.check_choice('mask', mask, MASKS)
  usual = (scope, server, regrow_every, num_tiers) == ('global', 'sparse', 0, 1)
  if mask != 'shared' and not usual:
    raise ValueError(
      f"mask={mask!r} is each client's own: scope={scope!r}, "
      f'server={server!r}, regrow_every={regrow_every} and {num_tiers} tiers '
      "belong to mask='shared'; set them to 'global', 'sparse', 0 and one"
    )
