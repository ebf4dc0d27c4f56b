"""Updates weighed by a defence, or all alike, and summed.

Weights are integers, so that the servers add up shares exactly.
"""

import jax
import jax.numpy as jnp

from fps_jax.defences import Defence
from fps_jax.federated import parallel, sharded
from fps_jax.federated.attacking import Trained
from fps_jax.federated.collected import Aggregate, Collected, report
from fps_jax.federated.examining import Examined
from fps_jax.federated.method import Method
from fps_jax.federated.performance import Performance
from fps_jax.rng import Stream, device_key
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.types import Array, Key, PlanArray, RoundPlan

# Weights are computed in float32, which holds integers of up to 24 bits.
_MOST_WEIGHT = 2**20


def aggregate_clients(
  method: Method,
  performance: Performance,
  plan: RoundPlan,
  key: Key,
  round_number: Array,
  trained: Trained,
  examined: Examined | None,
  accepted_C: Array,
  opening: PlanArray,
) -> Collected:
  """Weighs the updates and sums them.

  Args:
    method: the parts of a round.
    performance: chunk size.
    plan: of the round.
    key: the run's root key.
    round_number: int32 [].
    trained: of this device's clients.
    examined: of all clients; None without a defence.
    accepted_C: bool [C], of this device's clients.
    opening: what opens sketches.
  """
  protocol, tiling = method.protocol, method.tiling
  assert method.guard is not None
  defence = method.guard.defence
  may_count_C = accepted_C & trained.is_finite
  present_C = sharded.gather(may_count_C & (plan.cohort.client_ids >= 0))
  aggregate, weights_C = None, None
  if defence is not None and examined is not None:
    with jax.named_scope('defend'):
      aggregate = _defend(
        method,
        defence,
        examined,
        trained.root_M,
        present_C,
        opening,
        device_key(key, Stream.DEFENCE, plan.draw_number(round_number)),
      )
  weight_C = plan.cohort.num_examples.astype(jnp.float32) / method.max_count
  clipped_C = jax.vmap(protocol.count_clipped)(
    trained.updates_CxM * weight_C[:, None]
  )
  measures = parallel.ClientMeasures(
    checks=None,
    loss_sum=trained.loss_sum,
    num_trained=trained.num_trained,
    clipped=jnp.where(plan.cohort.malicious, 0, clipped_C),
    is_finite=trained.is_finite,
    residuals=None,
  )
  if aggregate is not None and aggregate.update_M is not None:
    sums = parallel.ClientSums(
      held=protocol.zeros(0),
      contributors_T=jnp.sum(present_C, dtype=jnp.int32)[None],
      measures=sharded.gather(measures),
    )
    return Collected(trained.received, sums, None, aggregate)
  if aggregate is not None and aggregate.weights_C is not None:
    all_weights_C, total_weight = integer_weights(
      aggregate.weights_C, most_weight(protocol)
    )
    aggregate = aggregate._replace(total_weight=total_weight)
    weights_C = sharded.own_rows(all_weights_C, len(accepted_C))
  sums = parallel.sum_stored(
    parallel.StoredUpdates(trained.updates_CxM, weights_C),
    protocol,
    tiling,
    plan,
    may_count_C,
    method.max_count,
    device_key(key, Stream.UPDATE, round_number),
    performance,
  )
  sums = sums._replace(measures=measures._replace(checks=sums.measures.checks))
  sums, checks_QxN = report(method, plan, sums)
  return Collected(trained.received, sums, checks_QxN, aggregate)


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


def _defend(
  method: Method,
  defence: Defence,
  examined: Examined,
  root_M: Array | None,
  present_C: Array,
  opening: PlanArray,
  key: Key,
) -> Aggregate:
  protocol, views = method.protocol, examined.views
  assert method.guard is not None
  is_shared = method.guard.sketch is not None
  if is_shared:
    views = jax.vmap(
      lambda held: protocol.decode(protocol.open(held, opening))
    )(views)
  views = jnp.where(present_C[:, None], views, 0.0)
  if defence.aggregate is not None:
    return Aggregate(None, None, defence.aggregate(views, present_C))
  assert defence.weigh is not None
  gram_VxV = _inner_products(method, views, root_M, examined.root_step)
  weights_C = defence.weigh(gram_VxV, present_C, key)
  return Aggregate(weights_C, None, None if is_shared else weights_C @ views)


def _inner_products(
  method: Method,
  views: Array,
  root_M: Array | None,
  root_step: Array | None,
) -> Array:
  """Returns the Gram matrix of updates, or of what is opened of them."""
  guard, num_secrets = method.guard, method.protocol.alignment
  assert guard is not None
  if root_M is None:
    return _gram(views)
  if guard.sketch is None or guard.projection is None or root_step is None:
    return _gram(jnp.concatenate([views, root_M[None]]))
  num_sketched = guard.sketch.num_buckets * num_secrets
  gram_CxC = _gram(views[:, :num_sketched])
  square = jnp.vdot(root_M, root_M, precision='highest')
  products_C = root_step * guard.projection.total(
    views[:, num_sketched:], num_secrets
  )
  # Of no vector is a product larger, unless a sum wrapped around.
  bounds_C = jnp.sqrt(jnp.diagonal(gram_CxC) * square)
  products_C = jnp.clip(products_C, -bounds_C, bounds_C)
  return jnp.block(
    [[gram_CxC, products_C[:, None]], [products_C[None], square[None, None]]]
  )


def _gram(rows: Array) -> Array:
  return jnp.matmul(rows, rows.T, precision='highest')
