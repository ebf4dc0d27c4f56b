"""One round of FedPruneShare and, with parts switched off, of its baselines.

Prune the global model, train every client of the cohort on it, sum the updates
through the sum protocol, average, take the server's step. One compiled program
whatever the sparsity and whoever takes part.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from fps_jax.federated import parallel, server
from fps_jax.federated.client import ClientResult, LocalUpdate
from fps_jax.pruning import masks
from fps_jax.rng import Stream, device_key
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.types import (
  Array,
  Key,
  Params,
  RoundMetrics,
  RoundPlan,
  RoundState,
)


class Method(NamedTuple):
  """What makes up a round; all of it fixed while a run lasts.

  Attributes:
    local_update: local training of one client.
    protocol: how the sum over clients is formed.
    server_optimizer: the central server's optimiser.
    unravel: float32 [D] -> pytree of parameters.
    exempt_D: bool [D], parameters never pruned, or None for no pruning at all.
    max_count: largest sample count of a client.
  """

  local_update: LocalUpdate
  protocol: SumProtocol
  server_optimizer: optax.GradientTransformation
  unravel: Callable[[Array], Params]
  exempt_D: Array | None
  max_count: int


# (state, plan, key, images, labels) -> (state, metrics)
RoundFn = Callable[
  [RoundState, RoundPlan, Key, Array, Array],
  tuple[RoundState, RoundMetrics],
]


def make_round(method: Method, performance: parallel.Performance) -> RoundFn:
  """Returns the compiled round.

  The returned function takes the state (donated: it must not be used again),
  the plan of the round, the run's root key, into which each round folds its
  number, and the training set, which stays on the device.

  Guarantee: if no client reports a finite update, the model and the
  optimiser's state stay as they are, but for pruning.

  Args:
    method: the parts of a round.
    performance: chunk size and execution.
  """

  def run_round(
    state: RoundState,
    plan: RoundPlan,
    key: Key,
    images: Array,
    labels: Array,
  ) -> tuple[RoundState, RoundMetrics]:
    params_D, mask_D, kept, mask = state.params, None, None, None
    num_params, keep_count = params_D.shape[0], plan.keep_count
    if method.exempt_D is None:
      keep_count = jnp.int32(num_params)
    else:
      mask_D = masks.keep_largest(params_D, keep_count, method.exempt_D)
      params_D = jnp.where(mask_D, params_D, 0.0)
      mask = method.unravel(mask_D.astype(jnp.float32))
      kept = masks.kept_indices(mask_D, parallel.padded_size(num_params))
    received = method.unravel(params_D)

    def train(indices_SxB: Array, num_steps: Array) -> ClientResult:
      result = method.local_update(
        received, mask, images, labels, indices_SxB, num_steps
      )
      delta_D = ravel_pytree(result.delta)[0]
      return result._replace(delta=delta_D)

    sums = parallel.sum_clients(
      train=train,
      protocol=method.protocol,
      plan=plan.cohort,
      opening=plan.opening,
      kept=kept,
      keep_count=keep_count,
      num_params=num_params,
      max_count=method.max_count,
      round_key=device_key(key, Stream.UPDATE, state.round),
      performance=performance,
    )
    opened_M = method.protocol.open(sums.held, plan.opening)
    count = method.protocol.decode_count(opened_M[keep_count])
    has_clients = count > 0
    weight = jnp.where(has_clients, count / method.max_count, 1.0)
    update_M = method.protocol.decode(opened_M) / weight
    if kept is None:
      update_D = update_M[:num_params]
    else:
      update_D = jnp.zeros_like(params_D).at[kept].set(update_M, mode='drop')
    stepped = server.apply_update(
      method.server_optimizer,
      params_D,
      state.optimizer_state,
      update_D,
      mask_D,
    )
    params_D, optimizer_state = jax.tree.map(
      lambda new, old: jnp.where(has_clients, new, old),
      stepped,
      (params_D, state.optimizer_state),
    )
    metrics = RoundMetrics(
      train_loss=_sum_finite(sums.loss_sum, sums.is_finite)
      / _sum_finite(sums.num_trained, sums.is_finite),
      clipped_values=_sum_finite(sums.clipped, sums.is_finite),
      is_finite=sums.is_finite,
    )
    state = RoundState(
      round=state.round + 1, params=params_D, optimizer_state=optimizer_state
    )
    return state, metrics

  return jax.jit(run_round, donate_argnums=0)


def _sum_finite(values_C: Array, is_finite_C: Array) -> Array:
  """Returns the sum over the clients whose update counted."""
  return jnp.sum(jnp.where(is_finite_C, values_C, 0.0))
