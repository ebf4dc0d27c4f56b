"""Many clients at once: training them and adding up what they share.

A device runs its clients a chunk at a time; `fps_jax.federated.mesh` puts
together what several devices sum. Their updates are cut into tiles, lifted into
the sum protocol and added to what the servers hold, so no array grows with
clients x parameters (but for what clients remember with `pruning.mask='top_k'`,
and where updates are attacked or defended against), let alone times servers,
and only as many tiles are computed as parameters are kept: the count may be
traced.

Guarantee: given the clients' updates, neither the chunk size nor the execution
nor the devices change a bit of a sum in the field. Run in sequence, they do not
change the updates either. Vmapping rounds those differently (another order of
additions in float32), as any change of batch shape does.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array
from fps_jax.federated.chunks import (
  Chunk,
  TrainClient,
  are_finite,
  join,
  split,
  train_in_sequence,
  train_vmapped,
)
from fps_jax.federated.client import ClientResult
from fps_jax.federated.contributions import (
  LiftTile,
  add_checks,
  make_lift_tile,
  start_checks,
)
from fps_jax.federated.sums import (
  ClientMeasures,
  ClientSums,
  Residuals,
  Select,
  StoredUpdates,
  Summation,
)


class _Computed(NamedTuple):
  """What a chunk's clients have to share.

  Attributes:
    result: of their training; `delta` as [C, M].
    sent_CxM: what they send of it.
    left_CxD: what they keep; None where nobody keeps that.
    is_finite_C: whether it can be sent.
    weights_C: as of `StoredUpdates`.
  """

  result: ClientResult
  sent_CxM: Array
  left_CxD: Array | None
  is_finite_C: Array
  weights_C: Array | None


class _Shared(NamedTuple):
  """What becomes of a chunk's values, tile by tile.

  Attributes:
    held: what servers hold, the chunk's clients added.
    clipped_C: int32 [C], values that the codec clipped.
    checks_CxQxN: as of `ClientMeasures`.
  """

  held: Array
  clipped_C: Array
  checks_CxQxN: Array | None


def sum_clients(
  train: TrainClient,
  summation: Summation,
  accepted_C: Array,
  select: Select | None = None,
) -> ClientSums:
  """Trains every client of the plan and sums their weighted updates.

  Each update is weighted by num_examples / max_count, in [0, 1], before it is
  lifted, so that the codec's range does not depend on who takes part.

  Args:
    train: local training of one client.
    summation: how they are summed.
    accepted_C: bool [C]; clients whose row is False add nothing either.
    select: what clients send of their updates; None for everything.

  Returns:
    The sums, not yet opened.
  """
  train_chunk = (
    train_vmapped if summation.performance.vmaps else train_in_sequence
  )

  def compute(chunk: Chunk, deltas_CxM: Array) -> _Computed:
    with jax.named_scope('train'):
      result = train_chunk(train, chunk.cohort, deltas_CxM)
    is_finite_C = are_finite(result.delta)
    if select is None:
      return _Computed(result, result.delta, None, is_finite_C, None)
    with jax.named_scope('prune'):
      sent_CxM, left_CxD = select(result.delta, chunk.cohort.client_ids)
    return _Computed(result, sent_CxM, left_CxD, is_finite_C, None)

  return _sum_chunks(compute, summation, accepted_C, None)


def sum_stored(
  stored: StoredUpdates, summation: Summation, accepted_C: Array
) -> ClientSums:
  """Sums updates of clients that have trained already, as `sum_clients`.

  Guarantee: clients that are weighed are not checked. What weighed them has
  checked them, and the words that blind a check hide one alone.

  Args:
    stored: the updates.
    summation: how they are summed: with one tier, all values in order, and over
      a field if there are weights.
    accepted_C: bool [C]; clients whose row is False add nothing.
  """

  def compute(chunk: Chunk, deltas_CxM: Array) -> _Computed:
    del deltas_CxM  # Nobody trains.
    values_CxM, weights_C = chunk.rows
    nothing_C = jnp.zeros(len(values_CxM), jnp.float32)
    result = ClientResult(values_CxM, nothing_C, nothing_C)
    return _Computed(result, values_CxM, None, nothing_C == 0, weights_C)

  if stored.weights_C is not None:
    accepted_C &= stored.weights_C > 0
    unchecked = summation.protocol.without_auditor()
    summation = summation._replace(protocol=unchecked)
  return _sum_chunks(compute, summation, accepted_C, stored)


def _sum_chunks(
  compute: Callable[[Chunk, Array], _Computed],
  summation: Summation,
  accepted_C: Array,
  stored: StoredUpdates | None,
) -> ClientSums:
  """Sums what clients have to share, a chunk at a time."""
  plan, tiling = summation.plan, summation.tiling
  dealings = plan.keys.dealings if plan.keys else None
  everyone = Chunk(plan.cohort, accepted_C, dealings, stored)
  chunks = split(everyone, summation.performance.clients_per_chunk)
  num_tiers = len(plan.pruning.keep_counts_T)
  lift_tile = make_lift_tile(summation)

  def add_chunk(
    number: Array, carry: tuple[ClientSums, Array]
  ) -> tuple[ClientSums, Array]:
    sums, deltas_CxM = carry
    chunk: Chunk = jax.tree.map(lambda rows: rows[number], chunks)
    computed = compute(chunk, deltas_CxM)
    client_ids_C = chunk.cohort.client_ids
    alive_C = (client_ids_C >= 0) & computed.is_finite_C & chunk.accepted_C
    shared = _share(summation, lift_tile, chunk, computed, alive_C, sums.held)
    is_in_CxT = chunk.cohort.tiers[:, None] >= jnp.arange(num_tiers)
    contributors_T = sums.contributors_T + jnp.sum(
      is_in_CxT & alive_C[:, None], axis=0, dtype=jnp.int32
    )
    measures = jax.tree.map(
      lambda rows, values: rows.at[number].set(values),
      sums.measures,
      _measure(chunk, computed, alive_C, shared),
    )
    sums = ClientSums(shared.held, contributors_T, measures)
    return sums, computed.result.delta

  chunk_size = chunks.accepted_C.shape[1]
  no_deltas = jnp.zeros((chunk_size, tiling.padded_size), jnp.float32)
  one_chunk: Chunk = jax.tree.map(lambda rows: rows[0], chunks)
  left = jax.eval_shape(compute, one_chunk, no_deltas).left_CxD
  blinds = start_checks(summation.protocol.auditor, one_chunk)
  no_sums = ClientSums(
    held=summation.protocol.zeros(tiling.padded_columns),
    contributors_T=jnp.zeros(num_tiers, jnp.int32),
    measures=_measures_of_nobody(chunks, blinds, left),
  )
  # Chunks of empty rows are not run at all.
  num_present = jnp.sum(plan.cohort.client_ids >= 0)
  sums, _ = jax.lax.fori_loop(
    0, -(-num_present // chunk_size), add_chunk, (no_sums, no_deltas)
  )
  return sums._replace(measures=join(sums.measures, len(accepted_C)))


def _share(
  summation: Summation,
  lift_tile: LiftTile,
  chunk: Chunk,
  computed: _Computed,
  alive_C: Array,
  held: Array,
) -> _Shared:
  """Adds what a chunk's clients share to what the servers hold."""
  protocol, tiling, plan = (
    summation.protocol,
    summation.tiling,
    summation.plan,
  )

  def add_tile(tile: Array, before: _Shared) -> _Shared:
    held, clipped_C, checks_CxQxN = before
    first_column = tile * tiling.columns
    values_CxW, contributions = lift_tile(chunk, computed.sent_CxM, tile)
    part = jax.lax.dynamic_slice_in_dim(held, first_column, tiling.columns, 1)
    with jax.named_scope('sum'):
      weighted = contributions
      if computed.weights_C is not None:
        # What servers do to shares, which only words of a field can bear.
        assert protocol.field is not None
        weighted = protocol.field.multiply(
          contributions, computed.weights_C[:, None, None]
        )
      part = protocol.add(part, weighted, alive_C, plan.opening)
    held = jax.lax.dynamic_update_slice_in_dim(held, part, first_column, 1)
    if plan.keys is not None:
      checks_CxQxN = add_checks(
        protocol.auditor,
        checks_CxQxN,
        contributions,
        plan.keys.client_coins_Qx8,
        first_column,
      )
    clipped = jax.vmap(protocol.count_clipped)(values_CxW)
    clipped_C += jnp.where(chunk.cohort.malicious, 0, clipped)
    return _Shared(held, clipped_C, checks_CxQxN)

  none_C = jnp.zeros(alive_C.shape, jnp.int32)
  blinds_CxQxN = start_checks(protocol.auditor, chunk)
  return jax.lax.fori_loop(
    0,
    tiling.used(summation.counts_at[-1]),
    add_tile,
    _Shared(held, none_C, blinds_CxQxN),
  )


def _measure(
  chunk: Chunk, computed: _Computed, alive_C: Array, shared: _Shared
) -> ClientMeasures:
  residuals = None
  if computed.left_CxD is not None:
    owners_C = jnp.where(alive_C, chunk.cohort.client_ids, -1)
    residuals = Residuals(owners_C, computed.left_CxD)
  return ClientMeasures(
    checks=shared.checks_CxQxN,
    loss_sum=computed.result.loss_sum,
    num_trained=computed.result.num_trained,
    clipped=shared.clipped_C,
    is_finite=computed.is_finite_C,
    residuals=residuals,
  )


def _measures_of_nobody(
  chunks: Chunk, blinds: Array | None, left: jax.ShapeDtypeStruct | None
) -> ClientMeasures:
  """Returns measures before any client has any.

  Args:
    chunks: of `split`.
    blinds: of a chunk; None where clients are not checked.
    left: what a chunk keeps; None where nobody keeps anything.
  """
  nothing = jnp.zeros(chunks.accepted_C.shape, jnp.float32)
  num_chunks = len(nothing)
  checks, residuals = None, None
  if blinds is not None:
    checks = jnp.zeros((num_chunks, *blinds.shape), blinds.dtype)
  if left is not None:
    residuals = Residuals(
      owners=jnp.full_like(chunks.cohort.client_ids, -1),
      values=jnp.zeros((num_chunks, *left.shape), left.dtype),
    )
  return ClientMeasures(
    checks=checks,
    loss_sum=nothing,
    num_trained=nothing,
    clipped=nothing.astype(jnp.int32),
    is_finite=nothing > 0,
    residuals=residuals,
  )
