"""What clients send of their updates where each chooses for itself."""

from typing import Protocol

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array
from fps_jax.federated.method import Method, RoundInput
from fps_jax.pruning import selection


class Select(Protocol):
  """What each client of a chunk sends of its update."""

  def __call__(
    self, deltas_CxM: Array, client_ids_C: Array
  ) -> tuple[Array, Array | None]:
    """Returns what is sent [C, M], and what is not [C, D].

    The latter is None where nobody remembers that.
    """


def make_select(method: Method, inputs: RoundInput) -> Select | None:
  """Returns what clients send of their updates, or None for everything."""
  params_D, residuals = inputs.state.params, inputs.state.residuals
  num_params, count = len(params_D), inputs.plan.pruning.keep_count

  def select_local(
    deltas_CxM: Array, client_ids_C: Array
  ) -> tuple[Array, Array | None]:
    del client_ids_C  # Clients remember nothing.
    sent_CxD = jax.vmap(selection.select_local, (None, 0, None, None))(
      params_D, deltas_CxM[:, :num_params], count, method.exempt_D
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

  selects: dict[str, Select] = {'local': select_local, 'top_k': select_top_k}
  return selects.get(method.mask)
