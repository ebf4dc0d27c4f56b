"""Many clients at once: training them and adding up what they share.

A device runs its clients a chunk at a time; `fps_jax.federated.sharded` puts
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

from fps_jax.federated import bands
from fps_jax.federated.chunks import (
  Chunk,
  TrainClient,
  are_finite,
  split,
  train_in_sequence,
  train_vmapped,
)
from fps_jax.federated.client import ClientResult
from fps_jax.federated.lifting import add_checks, make_lift_tile, start_checks
from fps_jax.federated.performance import Performance
from fps_jax.federated.tiling import Tiling
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.types import Array, Key, RoundPlan

# (deltas [C, M], client numbers [C]) -> what each client sends of them, [C, M],
# and what it has not sent, [C, D], or None where nobody keeps that.
Select = Callable[[Array, Array], tuple[Array, Array | None]]


class Residuals(NamedTuple):
  """What clients have not sent.

  Attributes:
    owners: int32 [C], client numbers, -1 where nothing is to be remembered.
    values: float32 [C, D].
  """

  owners: Array
  values: Array


class ClientMeasures(NamedTuple):
  """What is measured of each client; of a row of padding it means nothing.

  Attributes:
    checks: uint32 [C, Q, N], the servers' blinded combinations of each client's
      shares; None where clients are not checked.
    loss_sum: float32 [C], training loss (nats) summed over examples.
    num_trained: float32 [C], examples trained on, repeats counted.
    clipped: int32 [C], values that the codec clipped.
    is_finite: bool [C]; an update that is not finite is left out of the sum.
    residuals: what clients have not sent; None where they send everything.
  """

  checks: Array | None
  loss_sum: Array
  num_trained: Array
  clipped: Array
  is_finite: Array
  residuals: Residuals | None


class ClientSums(NamedTuple):
  """Sums over clients, and each client's measures.

  Attributes:
    held: [R, columns], what the servers hold: sums of the weighted values and
      of sample counts, laid out as `fps_jax.federated.bands` says.
    contributors_T: int32 [T], clients that are in the sums of each band.
    measures: of every row of the plan.
  """

  held: Array
  contributors_T: Array
  measures: ClientMeasures


class StoredUpdates(NamedTuple):
  """Updates of clients that have trained already.

  Attributes:
    values_CxM: float32 [C, `Tiling.padded_size`], values in the order in which
      they are shared, 0 beyond.
    weights_C: uint32 [C], what servers multiply each client's share by before
      they add it; None for 1. A client of weight 0 is not in the sum.
  """

  values_CxM: Array
  weights_C: Array | None


def sum_clients(
  train: TrainClient,
  protocol: SumProtocol,
  tiling: Tiling,
  plan: RoundPlan,
  accepted_C: Array,
  kept: Array | None,
  max_count: int,
  round_key: Key,
  performance: Performance,
  select: Select | None = None,
) -> ClientSums:
  """Trains every client of the plan and sums their weighted updates.

  Each update is weighted by num_examples / max_count, in [0, 1], before it is
  lifted, so that the codec's range does not depend on who takes part.

  Args:
    train: local training of one client.
    protocol: how the sum is formed.
    tiling: how updates are cut.
    plan: of the round; rows with client id -1 add nothing. Clients of tier t
      share `keep_counts_T[t]` positions, all D without pruning.
    accepted_C: bool [C]; clients whose row is False add nothing either.
    kept: int32 [`tiling.padded_size`], of `bands.kept_positions`, or None to
      share all parameters in order.
    max_count: largest sample count of a client.
    round_key: key of this round's rounding; every client's draws are folded
      from it by client id.
    performance: chunk size and execution.
    select: what clients send of their updates; None for everything.

  Returns:
    The sums, not yet opened.
  """
  train_chunk = train_vmapped if performance.vmaps else train_in_sequence

  def compute(chunk: Chunk, deltas_CxM: Array) -> _Computed:
    with jax.named_scope('train'):
      result = train_chunk(train, chunk.cohort, deltas_CxM)
    is_finite_C = are_finite(result.delta)
    if select is None:
      return _Computed(result, result.delta, None, is_finite_C, None)
    with jax.named_scope('prune'):
      sent_CxM, left_CxD = select(result.delta, chunk.cohort.client_ids)
    return _Computed(result, sent_CxM, left_CxD, is_finite_C, None)

  dealings = plan.keys.dealings if plan.keys else None
  return _sum_chunks(
    compute,
    Chunk(plan.cohort, accepted_C, dealings),
    protocol,
    tiling,
    plan,
    kept,
    max_count,
    round_key,
    performance,
  )


def sum_stored(
  stored: StoredUpdates,
  protocol: SumProtocol,
  tiling: Tiling,
  plan: RoundPlan,
  accepted_C: Array,
  max_count: int,
  round_key: Key,
  performance: Performance,
) -> ClientSums:
  """Sums updates of clients that have trained already, as `sum_clients`.

  Guarantee: clients that are weighed are not checked. What weighed them has
  checked them, and the words that blind a check hide one alone.

  Args:
    stored: the updates.
    protocol: how the sum is formed; over a field if there are weights.
    tiling: how updates are cut.
    plan: of the round, with one tier.
    accepted_C: bool [C]; clients whose row is False add nothing.
    max_count: largest sample count of a client.
    round_key: key of this round's rounding.
    performance: chunk size.
  """

  def compute(chunk: Chunk, deltas_CxM: Array) -> _Computed:
    del deltas_CxM  # Nobody trains.
    values_CxM, weights_C = chunk.rows
    nothing_C = jnp.zeros(len(values_CxM), jnp.float32)
    result = ClientResult(values_CxM, nothing_C, nothing_C)
    return _Computed(result, values_CxM, None, nothing_C == 0, weights_C)

  dealings = plan.keys.dealings if plan.keys else None
  if stored.weights_C is not None:
    accepted_C &= stored.weights_C > 0
    protocol = protocol._replace(auditor=None)
  return _sum_chunks(
    compute,
    Chunk(plan.cohort, accepted_C, dealings, stored),
    protocol,
    tiling,
    plan,
    None,
    max_count,
    round_key,
    performance,
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


def _sum_chunks(
  compute: Callable[[Chunk, Array], _Computed],
  everyone: Chunk,
  protocol: SumProtocol,
  tiling: Tiling,
  plan: RoundPlan,
  kept: Array | None,
  max_count: int,
  round_key: Key,
  performance: Performance,
) -> ClientSums:
  """Sums what clients have to share, a chunk at a time."""
  num_tiers = len(plan.pruning.keep_counts_T)
  counts_at = bands.counts_at(plan.pruning.keep_counts_T, protocol.alignment)
  lift_tile = make_lift_tile(protocol, tiling, plan, kept, max_count, round_key)
  auditor = protocol.auditor

  def add_chunk(
    number: Array, carry: tuple[ClientSums, Array]
  ) -> tuple[ClientSums, Array]:
    sums, deltas_CxM = carry
    held, contributors_T, measures = sums
    chunk: Chunk = jax.tree.map(lambda rows: rows[number], chunks)
    computed = compute(chunk, deltas_CxM)
    result, sent_CxM, left_CxD, is_finite_C, weights_C = computed
    client_ids_C = chunk.cohort.client_ids
    alive_C = (client_ids_C >= 0) & is_finite_C & chunk.accepted_C
    residuals = None
    if left_CxD is not None:
      owners_C = jnp.where(alive_C, client_ids_C, -1)
      residuals = Residuals(owners_C, left_CxD)
    is_in_CxT = chunk.cohort.tiers[:, None] >= jnp.arange(num_tiers)
    contributors_T += jnp.sum(
      is_in_CxT & alive_C[:, None], axis=0, dtype=jnp.int32
    )

    def add_tile(
      tile: Array, carry: tuple[Array, Array, Array | None]
    ) -> tuple[Array, Array, Array | None]:
      held, clipped_C, checks_CxQxN = carry
      first_column = tile * tiling.columns
      values_CxW, contributions = lift_tile(chunk, sent_CxM, tile)
      part = jax.lax.dynamic_slice_in_dim(held, first_column, tiling.columns, 1)
      with jax.named_scope('sum'):
        weighted = contributions
        if weights_C is not None:
          # What servers do to shares, which only words of a field can bear.
          assert protocol.field is not None
          weighted = protocol.field.multiply(
            contributions, weights_C[:, None, None]
          )
        part = protocol.add(part, weighted, alive_C, plan.opening)
      held = jax.lax.dynamic_update_slice_in_dim(held, part, first_column, 1)
      if plan.keys is not None:
        checks_CxQxN = add_checks(
          auditor,
          checks_CxQxN,
          contributions,
          plan.keys.client_coins_Qx8,
          first_column,
        )
      clipped = jax.vmap(protocol.count_clipped)(values_CxW)
      clipped_C += jnp.where(chunk.cohort.malicious, 0, clipped)
      return held, clipped_C, checks_CxQxN

    none_C = jnp.zeros(alive_C.shape, jnp.int32)
    blinds_CxQxN = start_checks(auditor, chunk)
    held, clipped_C, checks_CxQxN = jax.lax.fori_loop(
      0,
      tiling.used(counts_at[-1]),
      add_tile,
      (held, none_C, blinds_CxQxN),
    )
    measured = ClientMeasures(
      checks=checks_CxQxN,
      loss_sum=result.loss_sum,
      num_trained=result.num_trained,
      clipped=clipped_C,
      is_finite=is_finite_C,
      residuals=residuals,
    )
    measures = jax.tree.map(
      lambda rows, values: rows.at[number].set(values),
      measures,
      measured,
    )
    return ClientSums(held, contributors_T, measures), result.delta

  chunks = split(everyone, performance.clients_per_chunk)
  num_chunks, chunk_size = chunks.accepted_C.shape
  num_present = jnp.sum(plan.cohort.client_ids >= 0)
  no_deltas = jnp.zeros((chunk_size, tiling.padded_size), jnp.float32)
  one_chunk: Chunk = jax.tree.map(lambda rows: rows[0], chunks)
  left = jax.eval_shape(compute, one_chunk, no_deltas).left_CxD
  nothing = jnp.zeros((num_chunks, chunk_size), jnp.float32)
  blinds = start_checks(auditor, one_chunk)
  nobody = ClientMeasures(
    checks=(
      None
      if blinds is None
      else jnp.zeros((num_chunks, *blinds.shape), blinds.dtype)
    ),
    loss_sum=nothing,
    num_trained=nothing,
    clipped=nothing.astype(jnp.int32),
    is_finite=nothing > 0,
    residuals=(
      None
      if left is None
      else Residuals(
        owners=jnp.full_like(chunks.cohort.client_ids, -1),
        values=jnp.zeros((num_chunks, *left.shape), left.dtype),
      )
    ),
  )
  # Chunks of empty rows are not run at all.
  no_sums = ClientSums(
    held=protocol.zeros(tiling.padded_columns),
    contributors_T=jnp.zeros(num_tiers, jnp.int32),
    measures=nobody,
  )
  sums, _ = jax.lax.fori_loop(
    0, -(-num_present // chunk_size), add_chunk, (no_sums, no_deltas)
  )
  num_rows = everyone.accepted_C.shape[0]
  measures = jax.tree.map(
    lambda rows: rows.reshape(-1, *rows.shape[2:])[:num_rows], sums.measures
  )
  return sums._replace(measures=measures)
