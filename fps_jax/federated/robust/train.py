"""Training clients, of whom malicious ones then attack what they send.

Malicious clients see what the others trained. Every client's values stay on the
device that trained it for as long as the round lasts, since a defence weighs
them later: memory grows with clients x kept parameters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Key, RoundPlan, RoundState
from fps_jax.federated import chunks
from fps_jax.federated import mesh as meshes
from fps_jax.federated.broadcast import Received, make_train, prune
from fps_jax.federated.method import Method
from fps_jax.federated.performance import Performance


class Trained(NamedTuple):
  """What the clients of a round are about to share.

  Attributes:
    received: the model that they received.
    updates_CxM: float32 [C, `Tiling.padded_size`], values in the order in which
      they are shared, 0 beyond and where they are not finite.
    loss_sum: float32 [C], as of `ClientMeasures`, like the next two.
    num_trained: float32 [C].
    is_finite: bool [C].
    root_M: float32 [`Tiling.padded_size`], the same of the central server's own
      update; None where the defence needs none.
  """

  received: Received
  updates_CxM: Array
  loss_sum: Array
  num_trained: Array
  is_finite: Array
  root_M: Array | None


def train_clients(
  method: Method,
  performance: Performance,
  state: RoundState,
  plan: RoundPlan,
  key: Key,
  images: Array,
  labels: Array,
) -> Trained:
  """Trains a device's clients, and has the malicious ones attack.

  Returns:
    What they are about to share; every array but those of the model and of the
    central server has the device's rows alone.
  """
  received = prune(method, state, plan, key)
  train = make_train(method, received, images, labels)
  train_chunk = (
    chunks.train_vmapped if performance.vmaps else chunks.train_in_sequence
  )
  num_rows = len(plan.cohort.client_ids)
  everyone = chunks.Chunk(plan.cohort, jnp.ones(num_rows, bool), None)

  def train_rows(chunk: chunks.Chunk) -> tuple[Array, Array, Array]:
    shape = (len(chunk.accepted_C), method.tiling.padded_size)
    result = train_chunk(train, chunk.cohort, jnp.zeros(shape, jnp.float32))
    values_CxM = _in_order(method, plan, received, result.delta)
    return values_CxM, result.loss_sum, result.num_trained

  with jax.named_scope('train'):
    trained = jax.lax.map(
      train_rows, chunks.split(everyone, performance.clients_per_chunk)
    )
  updates_CxM, loss_sum_C, num_trained_C = chunks.join(trained, num_rows)
  assert method.guard is not None
  if method.guard.attack is not None:
    with jax.named_scope('attack'):
      updates_CxM = _attack(
        method, plan, updates_CxM, device_key(key, Stream.ATTACK, state.round)
      )
  root_M = None
  if method.guard.train_root is not None:
    with jax.named_scope('train'):
      result = method.guard.train_root(
        method.unravel(received.params_D),
        None if received.mask_D is None else method.unravel(received.mask_D),
        device_key(key, Stream.ROOT_BATCHES, state.round),
      )
      flat_1xM = chunks.write_rows(
        jnp.zeros((1, method.tiling.padded_size), jnp.float32),
        jax.tree.map(lambda leaf: leaf[None], result.delta),
        0,
      )
      root_M = _in_order(method, plan, received, flat_1xM)[0]
      # What cannot be trusted trusts nobody.
      root_M = jnp.where(jnp.all(jnp.isfinite(root_M)), root_M, 0.0)
  is_finite_C = chunks.are_finite(updates_CxM)
  return Trained(
    received=received,
    updates_CxM=jnp.where(is_finite_C[:, None], updates_CxM, 0.0),
    loss_sum=loss_sum_C,
    num_trained=num_trained_C,
    is_finite=is_finite_C,
    root_M=root_M,
  )


def zero_beyond(count: Array, values_CxM: Array) -> Array:
  """Returns values [..., M] of which those from `count` on are 0."""
  return jnp.where(jnp.arange(values_CxM.shape[1]) < count, values_CxM, 0.0)


def _in_order(
  method: Method, plan: RoundPlan, received: Received, deltas_CxM: Array
) -> Array:
  """Returns values in the order in which they are shared, 0 beyond."""
  if received.kept is None:
    return deltas_CxM
  values_CxM = deltas_CxM.at[:, received.kept].get(mode='clip')
  return zero_beyond(plan.pruning.keep_count, values_CxM)


def _attack(
  method: Method, plan: RoundPlan, updates_CxM: Array, key: Key
) -> Array:
  """Returns updates of which the malicious clients' are what they send."""
  assert method.guard is not None and method.guard.attack is not None
  is_present_C = (plan.cohort.client_ids >= 0) & chunks.are_finite(updates_CxM)
  everyone, malicious_C, present_C = meshes.gather(
    (updates_CxM, plan.cohort.malicious, is_present_C)
  )
  attacked = method.guard.attack(
    everyone, malicious_C, present_C, key, plan.pruning.keep_count
  )
  own = meshes.own_rows(attacked, len(updates_CxM))
  return zero_beyond(plan.pruning.keep_count, own)
