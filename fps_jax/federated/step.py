"""From what the central server has of a round to its next model.

Open the sums, average them, move the model, remember what is pruned, regrow.
"""

import functools
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import (
  Array,
  OptimizerState,
  PlanArray,
  PruningPlan,
  RoundMetrics,
  RoundState,
)
from fps_jax.federated import layout, server
from fps_jax.federated.broadcast import Received
from fps_jax.federated.collection import Collected
from fps_jax.federated.method import Method
from fps_jax.federated.sums import Residuals


class Step(Protocol):
  """Opens the sums of a round and updates the model; compiled."""

  def __call__(
    self,
    state: RoundState,
    collected: Collected,
    pruning: PruningPlan,
    opening: PlanArray,
  ) -> tuple[RoundState, RoundMetrics]:
    """Returns the state after the round, and what it measured.

    Args:
      state: before the round; donated.
      collected: what the central server has of it.
      pruning: of the round's plan.
      opening: what opens the sums.
    """


class Averaged(NamedTuple):
  """The mean update of a round.

  Attributes:
    update_M: float32 [M], in the order in which values are shared; without
      meaning in a band that nobody shares.
    has_clients: bool [] each, whether anybody shares the band of a tier.
  """

  update_M: Array
  has_clients: list[Array]


class Mean(NamedTuple):
  """The mean update by parameters.

  Attributes:
    update_D: float32 [D], 0 where nothing is shared.
    moves_D: bool [D], whether it is a mean of anybody's; [] where it is the
      same for all parameters.
  """

  update_D: Array
  moves_D: Array


def make_step(method: Method) -> Step:
  """Returns the step of a round."""

  @functools.partial(jax.jit, donate_argnums=0)
  def step(
    state: RoundState,
    collected: Collected,
    pruning: PruningPlan,
    opening: PlanArray,
  ) -> tuple[RoundState, RoundMetrics]:
    received = collected.received
    counts_at = _counts_at(method, received, pruning)
    with jax.named_scope('reconstruct'):
      averaged = average(method, collected, counts_at, opening)
      mean = by_parameters(averaged, counts_at, received)
    moves = averaged.has_clients[0]
    with jax.named_scope('server'):
      params_D, optimizer_state = move(method, state, received, mean, moves)
    remembered = remember(state.remembered, received, params_D)
    with jax.named_scope('prune'):
      params_D = regrow(
        method, params_D, received, pruning, averaged.has_clients[-1]
      )
    measures = collected.sums.measures
    state = RoundState(
      round=state.round + 1,
      params=params_D,
      remembered=remembered,
      residuals=keep_residuals(state.residuals, measures.residuals, moves),
      optimizer_state=optimizer_state,
    )
    return state, _measure(collected)

  return step


def _counts_at(
  method: Method, received: Received, pruning: PruningPlan
) -> tuple[layout.Count, ...]:
  keep_counts_T = pruning.keep_counts_T
  if method.pruner is None:
    keep_counts_T = np.array(received.params_D.shape, np.int32)
  return layout.counts_at(keep_counts_T, method.protocol.alignment)


def average(
  method: Method,
  collected: Collected,
  counts_at: tuple[layout.Count, ...],
  opening: PlanArray,
) -> Averaged:
  """Opens the sums, and divides them by the weight of those who share them.

  Args:
    method: the parts of a round.
    collected: what the central server has.
    counts_at: of `layout.counts_at`.
    opening: what opens the sums.
  """
  protocol, aggregate = method.protocol, collected.aggregate
  if aggregate is not None and aggregate.update_M is not None:
    has_clients = [collected.sums.contributors_T[0] > 0]
    return Averaged(aggregate.update_M, has_clients)
  opened_M = protocol.open(collected.sums.held, opening)
  counts = [protocol.decode_count(opened_M[place]) for place in counts_at]
  has_clients = [count > 0 for count in counts]
  weight_M = layout.weights(
    [
      jnp.where(has, count / method.max_count, 1.0)
      for has, count in zip(has_clients, counts, strict=True)
    ],
    counts_at,
    len(opened_M),
  )
  if aggregate is not None and aggregate.total_weight is not None:
    weight_M = jnp.where(has_clients[0], aggregate.total_weight, 1.0)
  return Averaged(protocol.decode(opened_M) / weight_M, has_clients)


def by_parameters(
  averaged: Averaged, counts_at: tuple[layout.Count, ...], received: Received
) -> Mean:
  """Returns the mean update of every parameter of the model."""
  update_M, has_clients = averaged
  params_D, kept = received.params_D, received.kept
  if kept is None:
    return Mean(update_M[: len(params_D)], has_clients[0])
  update_D = jnp.zeros_like(params_D).at[kept].set(update_M, mode='drop')
  moves_D = has_clients[0]
  if len(has_clients) > 1:
    moves_M = layout.weights(has_clients, counts_at, len(update_M))
    moves_D = jnp.broadcast_to(moves_D, params_D.shape)
    moves_D = moves_D.at[kept].set(moves_M, mode='drop')
  return Mean(update_D, moves_D)


def move(
  method: Method,
  state: RoundState,
  received: Received,
  mean: Mean,
  moves: Array,
) -> tuple[Array, OptimizerState]:
  """Takes the server's step where the mean is anybody's.

  Args:
    method: the parts of a round.
    state: before the round.
    received: what clients received, from which the step is taken.
    mean: update.
    moves: bool [], whether anybody reports: what the optimiser's state that is
      not by parameters depends on.

  Returns:
    float32 [D] and the optimiser's state, the old ones where nobody shares.
  """
  stepped = server.apply_update(
    method.server_optimizer,
    received.params_D,
    state.optimizer_state,
    mean.update_D,
    received.mask_D,
    received.candidates_D,
  )
  before = received.params_D, state.optimizer_state
  return jax.tree.map(
    lambda new, old: jnp.where(
      mean.moves_D if new.shape == received.params_D.shape else moves, new, old
    ),
    stepped,
    before,
  )


def remember(
  remembered_D: Array | None, received: Received, params_D: Array
) -> Array | None:
  """Returns the last value of every parameter; None where none is kept."""
  if received.mask_D is None or remembered_D is None:
    return remembered_D
  return jnp.where(received.mask_D, params_D, remembered_D)


def regrow(
  method: Method,
  params_D: Array,
  received: Received,
  pruning: PruningPlan,
  is_shared: Array,
) -> Array:
  """Returns the model in which the best candidates have replaced weights.

  Args:
    method: the parts of a round.
    params_D: float32 [D], after the server's step.
    received: what clients received, candidates among it.
    pruning: of the round's plan.
    is_shared: bool [], whether anybody trained the candidates.
  """
  mask_D, candidates_D = received.mask_D, received.candidates_D
  if method.pruner is None or mask_D is None or candidates_D is None:
    return params_D
  regrown_D = method.pruner.regrow(
    params_D, candidates_D, mask_D & ~candidates_D, pruning
  )
  return jnp.where(is_shared, regrown_D, params_D)


def keep_residuals(
  residuals: Array | None, left: Residuals | None, moves: Array
) -> Array | None:
  """Returns what all clients have not sent, those of the round anew.

  Args:
    residuals: float32 [clients, D], before the round; None where clients send
      all that they train.
    left: what the clients of the round have not sent.
    moves: bool [], whether anybody reports.
  """
  if residuals is None or left is None:
    return residuals
  # JAX would read -1 as the last row.
  rows_C = jnp.where(left.owners < 0, len(residuals), left.owners)
  sent = residuals.at[rows_C].set(left.values, mode='drop')
  return jnp.where(moves, sent, residuals)


def _measure(collected: Collected) -> RoundMetrics:
  measures, aggregate = collected.sums.measures, collected.aggregate
  return RoundMetrics(
    loss_sum=measures.loss_sum,
    num_trained=measures.num_trained,
    clipped_values=measures.clipped,
    is_finite=measures.is_finite,
    weights=aggregate.weights_C if aggregate else None,
    is_sound=aggregate.is_sound_C if aggregate else None,
    capped_weight=aggregate.capped_weight if aggregate else None,
  )
