"""From what the central server has of a round to its next model.

Open the sums, average them, move the model, remember what is pruned, regrow,
rank.
"""

import dataclasses
import functools
from typing import Protocol

import jax
import jax.numpy as jnp

from fps_jax.core.types import (
  Array,
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
from fps_jax.pruning import scores


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


def make_step(method: Method) -> Step:
  """Returns the step of a round."""

  @functools.partial(jax.jit, donate_argnums=0)
  def step(
    state: RoundState,
    collected: Collected,
    pruning: PruningPlan,
    opening: PlanArray,
  ) -> tuple[RoundState, RoundMetrics]:
    received, sums = collected.received, collected.sums
    metrics = dataclasses.replace(sums.metrics, clip=state.clip)
    counts_at = method.counts_at(pruning)
    with jax.named_scope('reconstruct'):
      update_M, has_clients = _average(method, collected, counts_at, opening)
      update_D, moves_D = _by_parameters(
        update_M * method.unit(state.round), has_clients, counts_at, received
      )
    # Every client shares the first band.
    moves = has_clients[0]
    with jax.named_scope('server'):
      params_D, optimizer_state = jax.tree.map(
        # What is not one value a parameter moves where anybody reports.
        lambda new, old: jnp.where(
          moves_D if new.shape == received.params_D.shape else moves, new, old
        ),
        server.apply_update(
          method.server_optimizer,
          received.params_D,
          state.optimizer_state,
          update_D,
          received.received_mask,
          received.candidates_D,
          state.round,
        ),
        (received.params_D, state.optimizer_state),
      )
    remembered = _remember(state.remembered, received, params_D)
    with jax.named_scope('prune'):
      params_D = _regrow(method, params_D, received, pruning, has_clients[-1])
    state = RoundState(
      round=state.round + 1,
      params=params_D,
      remembered=remembered,
      residuals=_keep_residuals(state.residuals, sums.residuals, moves),
      optimizer_state=optimizer_state,
      scores=_rank(
        method, state.scores, received, pruning, update_D, has_clients[-1]
      ),
      clip=state.clip if collected.clip is None else collected.clip,
    )
    return state, metrics

  return step


def _average(
  method: Method,
  collected: Collected,
  counts_at: tuple[layout.Count, ...],
  opening: PlanArray,
) -> tuple[Array, list[Array]]:
  """Opens the sums, and divides them by the weight of those who share them.

  Returns:
    float32 [M], the mean update in the order in which values are shared,
    without meaning in a band that nobody shares; and bool [] each, whether
    anybody shares the band of a tier.
  """
  protocol, sums = method.protocol, collected.sums
  if collected.update_M is not None:
    return collected.update_M, [sums.contributors_T[0] > 0]
  opened_M = protocol.open(sums.held, opening)
  counts = [protocol.decode_count(opened_M[place]) for place in counts_at]
  has_clients = [count > 0 for count in counts]
  weight_M = layout.weights(
    [
      jnp.where(has, count / method.terms.max_count, 1.0)
      for has, count in zip(has_clients, counts, strict=True)
    ],
    counts_at,
    len(opened_M),
  )
  if collected.total_weight is not None:
    weight_M = jnp.where(has_clients[0], collected.total_weight, 1.0)
  return protocol.decode(opened_M) / weight_M, has_clients


def _by_parameters(
  update_M: Array,
  has_clients: list[Array],
  counts_at: tuple[layout.Count, ...],
  received: Received,
) -> tuple[Array, Array]:
  """Returns the mean update by parameters, and where it is anybody's.

  The latter is bool [D], or [] where it is the same for all parameters.
  """
  params_D, kept = received.params_D, received.kept
  if kept is None:
    return update_M[: len(params_D)], has_clients[0]
  update_D = jnp.zeros_like(params_D).at[kept].set(update_M, mode='drop')
  moves_D = has_clients[0]
  if len(has_clients) > 1:
    moves_M = layout.weights(has_clients, counts_at, len(update_M))
    moves_D = jnp.broadcast_to(moves_D, params_D.shape)
    moves_D = moves_D.at[kept].set(moves_M, mode='drop')
  if received.kept_D is not None and received.mask_D is not None:
    # What the optimiser remembers of pruned weights is to be forgotten.
    moves_D = moves_D & (received.mask_D | ~received.kept_D)
  return update_D, moves_D


def _remember(
  remembered_D: Array | None, received: Received, params_D: Array
) -> Array | None:
  """Returns the last value of every parameter; None where none is kept."""
  if received.mask_D is None or remembered_D is None:
    return remembered_D
  return jnp.where(received.mask_D, params_D, remembered_D)


def _regrow(
  method: Method,
  params_D: Array,
  received: Received,
  pruning: PruningPlan,
  is_shared: Array,
) -> Array:
  """Returns the model in which the best candidates have replaced weights.

  It stays as it is where nobody trained them, as `is_shared`, bool [], tells.
  """
  mask_D, candidates_D = received.mask_D, received.candidates_D
  if method.pruner is None or mask_D is None or candidates_D is None:
    return params_D
  regrown_D = method.pruner.regrow(
    params_D, candidates_D, mask_D & ~candidates_D, pruning
  )
  return jnp.where(is_shared, regrown_D, params_D)


def _rank(
  method: Method,
  scores_D: Array | None,
  received: Received,
  pruning: PruningPlan,
  update_D: Array,
  is_shared: Array,
) -> Array | None:
  """Returns what parameters are ranked by from now on.

  Saliency is that of the last round that pruned nothing and that somebody
  trained, as `is_shared`, bool [], tells: of what is pruned there is no update.
  """
  if scores_D is None or method.pruner is None:
    return scores_D
  if method.pruner.score != 'saliency':
    return scores_D
  is_whole = is_shared & (pruning.keep_count == len(scores_D))
  salient_D = scores.saliency(received.params_D, update_D)
  return jnp.where(is_whole, salient_D, scores_D)


def _keep_residuals(
  residuals: Array | None, left: Residuals | None, moves: Array
) -> Array | None:
  """Returns what all clients have not sent, [clients, D], the round's anew."""
  if residuals is None or left is None:
    return residuals
  # JAX would read -1 as the last row.
  rows_C = jnp.where(left.owners < 0, len(residuals), left.owners)
  sent = residuals.at[rows_C].set(left.values, mode='drop')
  return jnp.where(moves, sent, residuals)
