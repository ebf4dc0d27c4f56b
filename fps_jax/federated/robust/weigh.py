"""Updates weighed by a defence, or all alike, and summed.

Weights are integers, so that the servers add up shares exactly.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream
from fps_jax.core.types import Array, PlanArray
from fps_jax.defences import Defence
from fps_jax.federated import mesh as meshes
from fps_jax.federated.collection import Collected, publish_sums
from fps_jax.federated.method import Guard, Method, RoundInput
from fps_jax.federated.robust import sketch as sketching
from fps_jax.federated.robust.examine import Examined
from fps_jax.federated.robust.hide import hide
from fps_jax.federated.robust.train import Trained
from fps_jax.federated.sums import ClientSums, StoredUpdates, sum_stored
from fps_jax.sharing.protocol import SumProtocol

# Weights are computed in float32, which holds integers of up to 24 bits.
_MOST_WEIGHT = 2**20


class _Weights(NamedTuple):
  """Weights of all clients as servers use them.

  Attributes:
    integers_C: uint32 [C].
    one: float32 [], what of them stands for weight 1.
    weights_C: float32 [C], the weights, lowered where the integers are.
    capped_weight: as of `RoundMetrics`.
  """

  integers_C: Array
  one: Array
  weights_C: Array
  capped_weight: Array


def aggregate_clients(
  method: Method,
  guard: Guard,
  inputs: RoundInput,
  trained: Trained,
  examined: Examined | None,
  opening: PlanArray,
  accepted_C: Array,
) -> Collected:
  """Weighs the updates and sums them.

  What is trained and accepted, bool [C], is of this device's clients; what is
  examined, of all. `opening` is what opens sketches.
  """
  accepted_C &= trained.metrics.is_finite
  if guard.defence is None or examined is None:
    return _sum(method, inputs, trained, accepted_C)
  present_C = meshes.gather(accepted_C & (inputs.plan.cohort.client_ids >= 0))
  # Of a round with fewer clients servers send nothing.
  present_C &= jnp.sum(present_C) >= method.terms.min_contributors
  if guard.opened is None:
    return _aggregate_updates(
      method, guard.defence, inputs, trained, examined.views, present_C
    )
  with jax.named_scope('defend'):
    seen = sketching.open_views(
      method.protocol, guard.opened, examined.views, opening
    )
    gram_VxV, is_sound_C = sketching.inner_products(
      guard.opened, seen, trained.root_M
    )
    weights_C = _weigh(guard.defence, inputs, gram_VxV, present_C & is_sound_C)
    # Where nobody is present nothing is opened, and nobody found wanting.
    is_sound_C |= ~jnp.any(present_C)
  weights = _to_integers(method, weights_C)
  own_C = meshes.own_rows(weights.integers_C, len(accepted_C))
  collected = _sum(method, inputs, trained, accepted_C, own_C)
  metrics = dataclasses.replace(
    collected.sums.metrics,
    weights=weights.weights_C,
    is_sound=is_sound_C,
    capped_weight=weights.capped_weight,
  )
  sums = collected.sums._replace(metrics=metrics)
  return collected._replace(sums=sums, total_weight=weights.one)


def _aggregate_updates(
  method: Method,
  defence: Defence,
  inputs: RoundInput,
  trained: Trained,
  views_CxM: Array,
  present_C: Array,
) -> Collected:
  """Returns the mean of updates that the central server sees."""
  weights_C = None
  with jax.named_scope('defend'):
    views_CxM = jnp.where(present_C[:, None], views_CxM, 0.0)
    if defence.aggregate is not None:
      update_M = defence.aggregate(views_CxM, present_C)
    else:
      root = [] if trained.root_M is None else [trained.root_M[None]]
      gram_VxV = sketching.gram(jnp.concatenate([views_CxM, *root]))
      weights_C = _weigh(defence, inputs, gram_VxV, present_C)
      update_M = jnp.matmul(weights_C, views_CxM, precision='highest')
  metrics = meshes.gather(trained.metrics)
  sums = ClientSums(
    held=method.protocol.zeros(0),
    contributors_T=jnp.sum(present_C, dtype=jnp.int32)[None],
    metrics=dataclasses.replace(metrics, weights=weights_C),
  )
  return Collected(trained.received, sums, None, update_M=update_M)


def _weigh(
  defence: Defence, inputs: RoundInput, gram_VxV: Array, present_C: Array
) -> Array:
  assert defence.weigh is not None
  key = inputs.attempt_key(Stream.DEFENCE)
  return defence.weigh(gram_VxV, present_C, key)


def _sum(
  method: Method,
  inputs: RoundInput,
  trained: Trained,
  accepted_C: Array,
  weights_C: Array | None = None,
) -> Collected:
  """Sums what clients share; servers multiply it by integer weights, if any."""
  sums = sum_stored(
    StoredUpdates(trained.updates_CxM, weights_C),
    method.summation(inputs, None),
    accepted_C,
  )
  sums = sums._replace(metrics=trained.metrics)
  published = publish_sums(method, inputs.plan, sums)
  return Collected(trained.received, *published)


def _to_integers(method: Method, weights_C: Array) -> _Weights:
  """Returns the weights that servers use.

  Guarantees:
    - the weighted sum hides its clients as `federated.robust.hide` says;
    - who is lowered for that has less say, and nobody has more: what stands for
      weight 1 stays the same.
  """
  integers_C, one = integer_weights(weights_C, most_weight(method.protocol))
  hidden_C = hide(integers_C, method.terms.min_contributors)
  all_weight = jnp.sum(integers_C).astype(jnp.float32)
  taken = jnp.sum(integers_C - hidden_C).astype(jnp.float32)
  lowered_C = hidden_C / jnp.where(one > 0, one, 1.0)
  return _Weights(
    hidden_C,
    one,
    jnp.where(hidden_C < integers_C, lowered_C, weights_C),
    taken / jnp.where(all_weight > 0, all_weight, 1.0),
  )


def most_weight(protocol: SumProtocol) -> int:
  """Returns the largest sum of integer weights for which no sum wraps."""
  assert protocol.field is not None
  return min(_MOST_WEIGHT, protocol.field.modulus // 2 // protocol.largest)


def integer_weights(weights_C: Array, most_weight: int) -> tuple[Array, Array]:
  """Returns integers in proportion to weights, and what stands for weight 1.

  Guarantees:
    - they add up to at most `most_weight`;
    - equal weights stay equal, and weights of 0 stay 0;
    - each is too small by less than one.

  Args:
    weights_C: float32 [C], at least 0.
    most_weight: of the sum, in [C, 2^20].

  Returns:
    uint32 [C], and float32 [], what to divide the weighted sum by.
  """
  total = jnp.sum(weights_C)
  share_C = weights_C / jnp.where(total > 0, total, 1.0)
  # So that a product just below an integer is not rounded down to the last.
  slack = min(1e-3, 0.25 / len(weights_C))
  integers_C = jnp.floor(share_C * most_weight + slack).astype(jnp.uint32)
  integers_C = jnp.where(weights_C > 0, integers_C, 0)
  summed = jnp.sum(integers_C).astype(jnp.float32)
  return integers_C, summed / jnp.where(total > 0, total, 1.0)
