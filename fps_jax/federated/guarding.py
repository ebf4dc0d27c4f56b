"""A round in which updates are attacked, or weighed by a defence.

Between training and summing, malicious clients see what the others trained, and
a defence sees something of every update: the update itself where the central
server does anyway, otherwise a sketch of the shares, of which the servers hold
enough without anybody sending more. Weights are integers, so that the servers
add up shares exactly.

Every client's values stay on the device that trained it for as long as the
round lasts: memory grows with clients x kept parameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.defences import Defence
from fps_jax.devices import CLIENT_AXES
from fps_jax.federated import chunks, lifting, parallel
from fps_jax.federated.collected import Aggregate, Collected, report
from fps_jax.federated.method import Method
from fps_jax.federated.performance import Performance
from fps_jax.federated.received import Received, make_train, prune
from fps_jax.rng import Stream, device_key
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.sketch import Sketch
from fps_jax.types import Array, Key, PlanArray, RoundPlan, RoundState

# Weights are computed in float32, which holds integers of up to 24 bits.
_MOST_WEIGHT = 2**20


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


class Examined(NamedTuple):
  """What the defence is to see, of every row of the plan on all devices.

  Attributes:
    views: what servers hold of each client: uint32 [C, R, buckets], sketches;
      or float32 [C, M], the updates that the central server sees.
    client_checks: as of `ClientMeasures.checks`.
    checks_QxN: the audit's combinations of the sketches; None without an audit.
  """

  views: Array
  client_checks: Array | None
  checks_QxN: Array | None


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
  updates_CxM, loss_sum_C, num_trained_C = jax.tree.map(
    lambda rows: rows.reshape(-1, *rows.shape[2:])[:num_rows], trained
  )
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
  is_finite_C = chunks.are_finite(updates_CxM)
  return Trained(
    received=received,
    updates_CxM=jnp.where(is_finite_C[:, None], updates_CxM, 0.0),
    loss_sum=loss_sum_C,
    num_trained=num_trained_C,
    is_finite=is_finite_C,
    root_M=root_M,
  )


def examine_clients(
  method: Method,
  performance: Performance,
  plan: RoundPlan,
  key: Key,
  round_number: Array,
  trained: Trained,
) -> Examined:
  """Returns what the defence is to see of the updates, once shares are fixed.

  The sketch's key is drawn after that, so that no update was made to fit it.
  """
  protocol, tiling, auditor = (
    method.protocol,
    method.tiling,
    method.protocol.auditor,
  )
  assert method.guard is not None
  sketch = method.guard.sketch
  lift_tile = lifting.make_lift_tile(
    protocol,
    tiling,
    plan,
    None,
    method.max_count,
    _rounding_key(key, round_number),
  )
  sketch_key = device_key(key, Stream.SKETCH, round_number)

  def start(chunk: chunks.Chunk) -> tuple[Array, Array | None]:
    size = len(chunk.accepted_C)
    if sketch is None:
      views = jnp.zeros((size, tiling.padded_size), jnp.float32)
    else:
      rows = protocol.zeros(1).shape[0]
      shape = (size, rows, sketch.num_buckets * _slots(protocol))
      views = jnp.zeros(shape, jnp.uint32)
    return views, lifting.start_checks(auditor, chunk)

  def add(
    carry: tuple[Array, Array | None], contributions: Array, tile: Array
  ) -> tuple[Array, Array | None]:
    views, checks = carry
    if sketch is None:
      values_CxW = jax.vmap(_open_one(protocol), (0, None))(
        contributions, plan.opening
      )
      views = jax.lax.dynamic_update_slice_in_dim(
        views, values_CxW, tile * tiling.size, 1
      )
    else:
      views = sketch.add(
        views,
        _sketch_columns(sketch, protocol, contributions, sketch_key, tile),
      )
    if plan.keys is not None:
      checks = lifting.add_checks(
        auditor,
        checks,
        contributions,
        plan.keys.sketch_coins_Qx8,
        tile * tiling.columns,
      )
    return views, checks

  everyone = chunks.Chunk(
    plan.cohort,
    trained.is_finite,
    plan.keys.dealings if plan.keys else None,
    trained.updates_CxM,
  )
  with jax.named_scope('examine'):
    views, client_checks = lifting.fold_tiles(
      lift_tile,
      everyone,
      tiling.used(plan.pruning.keep_count),
      start,
      add,
      performance,
    )
  if sketch is None:
    # The sample count is not part of an update.
    views = _zero_beyond(plan.pruning.keep_count, views)
  views, client_checks = _gather((views, client_checks))
  checks_QxN = None
  if sketch is not None:
    # As servers have them: one vector each.
    held = jnp.moveaxis(views, 0, 1).reshape(views.shape[1], -1)
    if protocol.distort is not None:
      held = protocol.distort(held, plan.keys)
      views = jnp.moveaxis(
        held.reshape(views.shape[1], views.shape[0], -1), 0, 1
      )
    if auditor is not None:
      missing = -held.shape[1] % tiling.columns
      checks_QxN = auditor.examine(
        jnp.pad(held, ((0, 0), (0, missing))),
        plan.keys.sketch_coins_Qx8,
        (held.shape[1] + missing) // tiling.columns,
        tiling.columns,
      )
  return Examined(views, client_checks, checks_QxN)


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
  present_C = _gather(may_count_C & (plan.cohort.client_ids >= 0))
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
          device_key(key, Stream.SKETCH, round_number),
          device_key(key, Stream.DEFENCE, round_number),
        ),
      )
  measures = parallel.ClientMeasures(
    checks=None,
    loss_sum=trained.loss_sum,
    num_trained=trained.num_trained,
    clipped=jnp.zeros(len(accepted_C), jnp.int32),
    is_finite=trained.is_finite,
    residuals=None,
  )
  if aggregate is not None and aggregate.update_M is not None:
    sums = parallel.ClientSums(
      held=protocol.zeros(0),
      contributors_T=jnp.sum(present_C, dtype=jnp.int32)[None],
      measures=_gather(measures),
    )
    return Collected(trained.received, sums, None, aggregate)
  if aggregate is not None and aggregate.weights_C is not None:
    all_weights_C, total_weight = integer_weights(
      aggregate.weights_C, most_weight(protocol)
    )
    aggregate = aggregate._replace(total_weight=total_weight)
    weights_C = _own_rows(all_weights_C, len(accepted_C))
  sums = parallel.sum_stored(
    parallel.StoredUpdates(trained.updates_CxM, weights_C),
    protocol,
    tiling,
    plan,
    may_count_C,
    method.max_count,
    _rounding_key(key, round_number),
    performance,
  )
  sums = sums._replace(
    measures=measures._replace(
      checks=sums.measures.checks, clipped=sums.measures.clipped
    )
  )
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


def _sketch_columns(
  sketch: Sketch,
  protocol: SumProtocol,
  contributions: Array,
  key: Key,
  tile: Array,
) -> Array:
  """Returns sketches of what is held in a tile, [C, R, columns]."""
  slots = _slots(protocol)
  if slots == 1:
    return sketch.apply(contributions, key, tile)
  # Words that nobody shares, sketched as if they were packed.
  columns = contributions.reshape(*contributions.shape[:-1], -1, slots)
  pieces = sketch.apply(jnp.moveaxis(columns, -1, -2), key, tile)
  return jnp.moveaxis(pieces, -2, -1).reshape(*contributions.shape[:-1], -1)


def _slots(protocol: SumProtocol) -> int:
  """Returns the values that share a sign and a bucket, but not a column."""
  return protocol.alignment // protocol.values_per_column


def _open_one(protocol: SumProtocol) -> Callable[[Array, PlanArray], Array]:
  """Returns what the central server makes of one client's contribution."""

  def open_one(contribution: Array, opening: PlanArray) -> Array:
    alive = jnp.ones(1, bool)
    zeros = protocol.zeros(contribution.shape[-1])
    sums = protocol.add(zeros, contribution[None], alive, opening)
    return protocol.decode(protocol.open(sums, opening))

  return open_one


def _in_order(
  method: Method, plan: RoundPlan, received: Received, deltas_CxM: Array
) -> Array:
  """Returns values in the order in which they are shared, 0 beyond."""
  if received.kept is None:
    return deltas_CxM
  values_CxM = deltas_CxM.at[:, received.kept].get(mode='clip')
  return _zero_beyond(plan.pruning.keep_count, values_CxM)


def _zero_beyond(count: Array, values_CxM: Array) -> Array:
  return jnp.where(jnp.arange(values_CxM.shape[1]) < count, values_CxM, 0.0)


def _attack(
  method: Method, plan: RoundPlan, updates_CxM: Array, key: Key
) -> Array:
  """Returns updates of which the malicious clients' are what they send."""
  assert method.guard is not None and method.guard.attack is not None
  is_present_C = (plan.cohort.client_ids >= 0) & chunks.are_finite(updates_CxM)
  everyone, malicious_C, present_C = _gather(
    (updates_CxM, plan.cohort.malicious, is_present_C)
  )
  attacked = method.guard.attack(everyone, malicious_C, present_C, key)
  own = _own_rows(attacked, len(updates_CxM))
  return _zero_beyond(plan.pruning.keep_count, own)


def _gather(rows):
  """Returns the rows of all devices."""
  return jax.tree.map(
    lambda own: jax.lax.all_gather(own, CLIENT_AXES, tiled=True), rows
  )


def _own_rows(rows: Array, num_rows: int) -> Array:
  """Returns this device's rows of those of all devices."""
  first = jax.lax.axis_index(CLIENT_AXES) * num_rows
  return jax.lax.dynamic_slice_in_dim(rows, first, num_rows, 0)


def _rounding_key(key: Key, round_number: Array) -> Key:
  return device_key(key, Stream.UPDATE, round_number)
