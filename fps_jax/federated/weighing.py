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
from fps_jax.sharing.sketch import Sketch
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
        examined.views,
        trained.root_M,
        present_C,
        opening,
        (
          device_key(key, Stream.SKETCH, plan.draw_number(round_number)),
          device_key(key, Stream.DEFENCE, plan.draw_number(round_number)),
        ),
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
  views: Array,
  root_M: Array | None,
  present_C: Array,
  opening: PlanArray,
  keys: tuple[Key, Key],
) -> Aggregate:
  protocol, tiling = method.protocol, method.tiling
  assert method.guard is not None
  sketch = method.guard.sketch
  sketch_key, defence_key = keys
  if sketch is not None:
    views = jax.vmap(
      lambda held: protocol.decode(protocol.open(held, opening))
    )(views)
  views = jnp.where(present_C[:, None], views, 0.0)
  if defence.aggregate is not None:
    return Aggregate(None, None, defence.aggregate(views, present_C))
  assert defence.weigh is not None
  seen = views
  if root_M is not None:
    root = root_M
    if sketch is not None:
      floats = Sketch(sketch.num_buckets)
      root = jnp.zeros(views.shape[1])
      for tile in range(tiling.padded_size // tiling.size):
        part = root_M[tile * tiling.size :][: tiling.size]
        columns = part.reshape(-1, protocol.alignment).T
        pieces = floats.apply(columns, sketch_key, tile)
        root = root + pieces.T.reshape(-1)
    seen = jnp.concatenate([views, root[None]])
  gram_VxV = jnp.matmul(seen, seen.T, precision='highest')
  weights_C = defence.weigh(gram_VxV, present_C, defence_key)
  if sketch is not None:
    return Aggregate(weights_C, None, None)
  return Aggregate(weights_C, None, weights_C @ views)
