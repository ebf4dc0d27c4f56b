"""Training clients, of whom malicious ones then attack what they send.

Malicious clients see what the others trained, and know the defence. Every
client's values stay on the device that trained it for as long as the round
lasts, since a defence weighs them later: memory grows with clients x kept
parameters.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.attacks.knowledge import KnownDefence
from fps_jax.attacks.updates import UpdateAttack
from fps_jax.core.rng import Stream
from fps_jax.core.types import Array, RoundMetrics
from fps_jax.federated import chunks, layout
from fps_jax.federated import mesh as meshes
from fps_jax.federated.broadcast import Received, make_train, prune_model
from fps_jax.federated.method import Guard, Method, RoundInput, TrainRoot
from fps_jax.federated.robust.known import know_defence


class Trained(NamedTuple):
  """What the clients of a round are about to share.

  Attributes:
    received: the model that they received.
    updates_CxM: float32 [C, `Tiling.padded_size`], values in the order in which
      they are shared, 0 beyond and where they are not finite.
    metrics: of the clients, so far.
    root_M: float32 [`Tiling.padded_size`], the same of the central server's own
      update; None where the defence needs none.
  """

  received: Received
  updates_CxM: Array
  metrics: RoundMetrics
  root_M: Array | None


def train_clients(method: Method, guard: Guard, inputs: RoundInput) -> Trained:
  """Trains a device's clients, and has the malicious ones attack.

  Returns:
    What they are about to share; every array but those of the model and of the
    central server has the device's rows alone.
  """
  received = prune_model(method, inputs)
  train = make_train(method, received, inputs)
  cohort, performance = inputs.plan.cohort, method.performance

  def train_chunk(chunk: chunks.Chunk) -> tuple[Array, RoundMetrics]:
    shape = (len(chunk.accepted_C), method.tiling.padded_size)
    result = chunks.train_chunk(
      train, chunk.cohort, jnp.zeros(shape, jnp.float32), performance
    )
    return _in_order(received, result.delta), chunks.measure(result)

  accepted_C = jnp.ones(len(cohort.client_ids), bool)
  everyone = chunks.Chunk(cohort, accepted_C, None)
  updates_CxM, metrics = chunks.map_chunks(
    train_chunk, everyone, performance.clients_per_chunk
  )
  root_M = None
  if guard.train_root is not None:
    with jax.named_scope('train'):
      root_M = _train_root(method, guard.train_root, inputs, received)
  if guard.attack is not None:
    with jax.named_scope('attack'):
      known = know_defence(method, guard, inputs, root_M)
      updates_CxM = _attack(guard.attack, inputs, updates_CxM, known)
  is_finite_C = chunks.are_finite(updates_CxM)
  updates_CxM = jnp.where(is_finite_C[:, None], updates_CxM, 0.0)
  summation = method.summation(inputs, None)
  weighted_CxM = summation.weigh(cohort, updates_CxM)
  metrics = dataclasses.replace(
    metrics,
    is_finite=is_finite_C,
    clipped_values=summation.count_clipped(cohort, weighted_CxM),
  )
  return Trained(received, updates_CxM, metrics, root_M)


def _in_order(received: Received, deltas_CxM: Array) -> Array:
  """Returns values in the order in which they are shared, 0 beyond."""
  if received.kept is None:
    return deltas_CxM
  return layout.take(deltas_CxM, received.kept)


def _train_root(
  method: Method, train_root: TrainRoot, inputs: RoundInput, received: Received
) -> Array:
  """Returns the central server's own update, [M], in order."""
  mask_D, round = received.mask_D, inputs.state.round
  result = train_root(
    method.unravel(received.params_D),
    None if mask_D is None else method.unravel(mask_D),
    round,
    inputs.round_key(Stream.ROOT_BATCHES),
  )
  result = method.in_units(result, round)
  delta_1xM = chunks.write_rows(
    jnp.zeros((1, method.tiling.padded_size), jnp.float32),
    jax.tree.map(lambda leaf: leaf[None], result.delta),
    0,
  )
  root_M = _in_order(received, delta_1xM)[0]
  # What cannot be trusted trusts nobody.
  return jnp.where(jnp.all(jnp.isfinite(root_M)), root_M, 0.0)


def _attack(
  attack: UpdateAttack,
  inputs: RoundInput,
  updates_CxM: Array,
  known: KnownDefence | None,
) -> Array:
  """Returns updates of which the malicious clients' are what they send."""
  cohort, keep_count = inputs.plan.cohort, inputs.plan.pruning.keep_count
  is_present_C = (cohort.client_ids >= 0) & chunks.are_finite(updates_CxM)
  everyone, malicious_C, present_C = meshes.gather(
    (updates_CxM, cohort.malicious, is_present_C)
  )
  key = inputs.round_key(Stream.ATTACK)
  attacked = attack(everyone, malicious_C, present_C, key, keep_count, known)
  own = meshes.own_rows(attacked, len(updates_CxM))
  return layout.zero_beyond(keep_count, own)
