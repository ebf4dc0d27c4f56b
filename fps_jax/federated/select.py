"""What clients send of their updates where each chooses for itself."""

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import Array, RoundState
from fps_jax.federated.sums import Select
from fps_jax.pruning import selection


def make_select(
  mask: str, state: RoundState, count: Array, exempt_D: np.ndarray
) -> Select | None:
  """Returns what clients send of their updates, or None for everything.

  Args:
    mask: a member of `selection.MASKS`.
    state: before the round.
    count: int32 [], entries that each client sends.
    exempt_D: bool [D], what a mask of weights always has.
  """
  params_D, residuals = state.params, state.residuals
  num_params = len(params_D)

  def select_local(
    deltas_CxM: Array, client_ids_C: Array
  ) -> tuple[Array, Array | None]:
    del client_ids_C  # Clients remember nothing.
    sent_CxD = jax.vmap(selection.select_local, (None, 0, None, None))(
      params_D, deltas_CxM[:, :num_params], count, exempt_D
    )
    return deltas_CxM.at[:, :num_params].set(sent_CxD), None

  def select_top_k(
    deltas_CxM: Array, client_ids_C: Array
  ) -> tuple[Array, Array | None]:
    assert residuals is not None
    sent_CxD, left_CxD = jax.vmap(selection.select_top_k, (0, 0, None))(
      deltas_CxM[:, :num_params],
      residuals[jnp.maximum(client_ids_C, 0)],
      count,
    )
    return deltas_CxM.at[:, :num_params].set(sent_CxD), left_CxD

  selects = {'local': select_local, 'top_k': select_top_k}
  return selects.get(mask)
