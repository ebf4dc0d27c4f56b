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
  if method.mask == 'shared':
    return None
  unit = method.unit(inputs.state.round)
  params_D, residuals = inputs.state.params, inputs.state.residuals
  num_params, count = len(params_D), inputs.plan.pruning.keep_count

  def select(
    deltas_CxM: Array, client_ids_C: Array
  ) -> tuple[Array, Array | None]:
    deltas_CxD, left_CxD = deltas_CxM[:, :num_params], None
    if residuals is None:
      sent_CxD = jax.vmap(selection.select_local, (None, 0, None, None))(
        params_D / unit, deltas_CxD, count, method.exempt_D
      )
    else:
      # Padding, -1, reads somebody's; nothing of it is sent or remembered.
      own_CxD = residuals[jnp.maximum(client_ids_C, 0)] / unit
      sent_CxD, left_CxD = jax.vmap(selection.select_top_k, (0, 0, None))(
        deltas_CxD, own_CxD, count
      )
      left_CxD = left_CxD * unit
    return deltas_CxM.at[:, :num_params].set(sent_CxD), left_CxD

  return select
