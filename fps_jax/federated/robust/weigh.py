"""Updates weighed by a defence, or all alike, and summed.

Weights are integers, so that the servers add up shares exactly.
"""

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Key, PlanArray, RoundPlan
from fps_jax.defences import Defence
from fps_jax.federated import mesh as meshes
from fps_jax.federated import parallel
from fps_jax.federated.chunks import sample_weights
from fps_jax.federated.collection import Aggregate, Collected, report
from fps_jax.federated.method import Method, Opened
from fps_jax.federated.performance import Performance
from fps_jax.federated.robust import sketch as sketching
from fps_jax.federated.robust.examine import Examined
from fps_jax.federated.robust.hide import hide
from fps_jax.federated.robust.sketch import Seen
from fps_jax.federated.robust.train import Trained
from fps_jax.federated.sums import ClientMeasures, ClientSums, StoredUpdates
from fps_jax.sharing.protocol import SumProtocol

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
  protocol = method.protocol
  assert method.guard is not None
  defence = method.guard.defence
  may_count_C = accepted_C & trained.is_finite
  present_C = meshes.gather(may_count_C & (plan.cohort.client_ids >= 0))
  aggregate, weights_C = None, None
  if defence is not None and examined is not None:
    # Of a round with fewer clients servers send nothing.
    present_C &= jnp.sum(present_C) >= method.min_contributors
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
  weight_C = sample_weights(plan.cohort, method.max_count)
  clipped_C = jax.vmap(protocol.count_clipped)(
    trained.updates_CxM * weight_C[:, None]
  )
  measures = ClientMeasures(
    checks=None,
    loss_sum=trained.loss_sum,
    num_trained=trained.num_trained,
    clipped=jnp.where(plan.cohort.malicious, 0, clipped_C),
    is_finite=trained.is_finite,
    residuals=None,
  )
  if aggregate is not None and aggregate.update_M is not None:
    sums = ClientSums(
      held=protocol.zeros(0),
      contributors_T=jnp.sum(present_C, dtype=jnp.int32)[None],
      measures=meshes.gather(measures),
    )
    return Collected(trained.received, sums, None, aggregate)
  if aggregate is not None and aggregate.weights_C is not None:
    all_weights_C, aggregate = _to_integers(method, aggregate)
    weights_C = meshes.own_rows(all_weights_C, len(accepted_C))
  sums = parallel.sum_stored(
    StoredUpdates(trained.updates_CxM, weights_C),
    method.summation(
      plan, None, device_key(key, Stream.UPDATE, round_number), performance
    ),
    may_count_C,
  )
  sums = sums._replace(measures=measures._replace(checks=sums.measures.checks))
  sums, checks_QxN = report(method, plan, sums)
  return Collected(trained.received, sums, checks_QxN, aggregate)


def _to_integers(
  method: Method, aggregate: Aggregate
) -> tuple[Array, Aggregate]:
  """Returns the weights that servers use, and what comes of the aggregate.

  Guarantees:
    - the weighted sum hides its clients as `federated.robust.hide` says;
    - who is lowered for that has less say, and nobody has more: what stands for
      weight 1 stays the same.
  """
  assert aggregate.weights_C is not None
  integers_C, one = integer_weights(
    aggregate.weights_C, most_weight(method.protocol)
  )
  hidden_C = hide(integers_C, method.min_contributors)
  is_capped_C = hidden_C < integers_C
  all_weight = jnp.sum(integers_C).astype(jnp.float32)
  taken = jnp.sum(integers_C - hidden_C).astype(jnp.float32)
  capped_C = hidden_C / jnp.where(one > 0, one, 1.0)
  return hidden_C, aggregate._replace(
    weights_C=jnp.where(is_capped_C, capped_C, aggregate.weights_C),
    total_weight=one,
    capped_weight=taken / jnp.where(all_weight > 0, all_weight, 1.0),
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
  if method.guard.opened is not None:
    opened_CxV = jax.vmap(
      lambda held: protocol.decode(protocol.open(held, opening))
    )(views)
    gram_VxV, is_sound_C = inner_products(
      method.guard.opened, sketching.split(method, opened_CxV), root_M
    )
    assert defence.weigh is not None
    weights_C = defence.weigh(gram_VxV, present_C & is_sound_C, key)
    # Where nobody is present nothing is opened, and nobody found wanting.
    is_sound_C |= ~jnp.any(present_C)
    return Aggregate(weights_C=weights_C, is_sound_C=is_sound_C)
  views = jnp.where(present_C[:, None], views, 0.0)
  if defence.aggregate is not None:
    return Aggregate(update_M=defence.aggregate(views, present_C))
  assert defence.weigh is not None
  rows = views if root_M is None else jnp.concatenate([views, root_M[None]])
  weights_C = defence.weigh(_gram(rows), present_C, key)
  update_M = jnp.matmul(weights_C, views, precision='highest')
  return Aggregate(weights_C=weights_C, update_M=update_M)


def inner_products(
  opened: Opened, seen: Seen, root_M: Array | None
) -> tuple[Array, Array]:
  """Returns the inner products of updates, as far as they are opened.

  Guarantee: whose words wrapped around in a product is not sound, nor is who
  does not pass the range check.

  Args:
    opened: what it was opened by.
    seen: what was opened of each client.
    root_M: float32 [M], the central server's own update; None where the defence
      needs none.

  Returns:
    float32 [C, C], or [C + 1, C + 1] with the central server's own update in
    the last row, and bool [C], whether what a client shared is sound.
  """
  gram_CxC = _gram(seen.sketches_CxK)
  norms_C = jnp.sqrt(jnp.diagonal(gram_CxC))
  is_sound_C = opened.range_check.is_within(seen.ranges_CxS, norms_C)
  if root_M is None or opened.projection is None:
    return gram_CxC, is_sound_C
  root_norm = jnp.linalg.norm(root_M)
  products_C = opened.projection.total(seen.products_CxP)
  products_C = products_C * opened.projection.step(root_M)
  # Norms are estimates, but not by a factor of two.
  is_sound_C &= jnp.abs(products_C) <= 2 * norms_C * root_norm
  gram_VxV = jnp.block(
    [
      [gram_CxC, products_C[:, None]],
      [products_C[None], jnp.square(root_norm)[None, None]],
    ]
  )
  return gram_VxV, is_sound_C


def _gram(rows: Array) -> Array:
  return jnp.matmul(rows, rows.T, precision='highest')
