"""What clients receive in a round, and how one of them trains on it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream
from fps_jax.core.types import Array, CohortPlan
from fps_jax.federated import layout
from fps_jax.federated.chunks import TrainClient
from fps_jax.federated.client import ClientResult, ClientWork
from fps_jax.federated.method import Method, RoundInput
from fps_jax.pruning.pruner import Pruner


class Received(NamedTuple):
  """The pruned model.

  Attributes:
    params_D: float32 [D], what clients of the last tier receive.
    mask_D: bool [D], what they train and send, or None for everything.
    candidates_D: bool [D], those of them that are pruned but tried out; None
      where nothing grows back.
    kept: of `layout.kept_positions`, or None for everything.
    masks_TxD: bool [T, D], what clients of each tier train; None where all
      train the same.
    kept_D: bool [D], what is not pruned, where clients train a part of it; None
      where they train all of it.
  """

  params_D: Array
  mask_D: Array | None
  candidates_D: Array | None
  kept: Array | None
  masks_TxD: Array | None
  kept_D: Array | None = None

  @property
  def received_mask(self) -> Array | None:
    """What is not pruned, trained or not: bool [D], or None for everything."""
    return self.mask_D if self.kept_D is None else self.kept_D


def prune_model(method: Method, inputs: RoundInput) -> Received:
  """Prunes the global model as the plan says."""
  pruner, state, pruning = method.pruner, inputs.state, inputs.plan.pruning
  if pruner is None:
    return Received(state.params, None, None, None, None)
  with jax.named_scope('prune'):
    params_D = state.params if state.remembered is None else state.remembered
    ranked_D = params_D if state.scores is None else state.scores
    num_tiers = len(pruning.keep_counts_T)
    *tier_masks, mask_D = [
      pruner.keep(ranked_D, pruning.model or pruning, tier)
      for tier in range(num_tiers)
    ]
    params_D = jnp.where(mask_D, params_D, 0.0)
    candidates_D = kept_D = None
    if pruner.regrows:
      candidates_D = pruner.draw_candidates(
        mask_D, pruning.num_candidates, inputs.round_key(Stream.REGROWTH)
      )
      mask_D = mask_D | candidates_D
    if pruning.model is not None:
      kept_D, mask_D = mask_D, draw_part(pruner, inputs, mask_D)
    tier_masks.append(mask_D)
    kept = layout.kept_positions(
      tier_masks,
      method.counts_at(pruning),
      method.protocol.alignment,
      method.tiling.padded_size,
    )
  masks_TxD = jnp.stack(tier_masks) if num_tiers > 1 else None
  return Received(params_D, mask_D, candidates_D, kept, masks_TxD, kept_D)


def draw_part(pruner: Pruner, inputs: RoundInput, kept_D: Array) -> Array:
  """Returns what clients of a round train of what they receive: bool [D]."""
  pruning = inputs.plan.pruning
  return pruner.draw_part(kept_D, pruning, inputs.round_key(Stream.ROUND_MASK))


def make_train(
  method: Method, received: Received, inputs: RoundInput
) -> TrainClient:
  """Returns the training of one client on what it receives, in units."""

  def train(row: CohortPlan) -> ClientResult:
    received_D, trained_D = received.params_D, received.mask_D
    if received.masks_TxD is not None:
      trained_D = received.masks_TxD[row.tiers]
      received_D = jnp.where(trained_D, received_D, 0.0)
    result = method.local_update(
      method.unravel(received_D),
      None if trained_D is None else method.unravel(trained_D),
      inputs.examples,
      ClientWork(
        indices_SxB=row.indices,
        num_steps=row.num_steps,
        is_malicious=row.malicious,
        client_id=row.client_ids,
        round=inputs.state.round,
        key=inputs.key,
      ),
    )
    return method.in_units(result, inputs.state.round)

  return train
