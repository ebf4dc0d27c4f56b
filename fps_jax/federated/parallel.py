"""Many clients at once: the only file that knows clients are an axis.

A device runs its clients a chunk at a time; `fps_jax.federated.sharded` puts
together what several devices sum. Within a chunk clients are vmapped on an
accelerator and run in sequence on a CPU, which is the faster way there. Their
updates are cut into tiles, lifted into the sum protocol and added to what the
servers hold, so no array grows with clients x parameters (but for what clients
remember with `pruning.mask='top_k'`), let alone times servers, and only as many
tiles are computed as parameters are kept: the count may be traced.

Guarantee: given the clients' updates, neither the chunk size nor the execution
nor the devices change a bit of a sum in the field. Run in sequence, they do not
change the updates either. Vmapping rounds those differently (another order of
additions in float32), as any change of batch shape does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.federated import bands
from fps_jax.federated.client import ClientResult
from fps_jax.federated.performance import Performance
from fps_jax.federated.tiling import Tiling
from fps_jax.sharing.protocol import Dealing, SumProtocol
from fps_jax.types import Array, CohortPlan, Key, Params, RoundPlan

_INFINITY_BITS = 0x7F800000

# (indices_SxB, num_steps, tier) -> one client's result.
TrainClient = Callable[[Array, Array, Array], ClientResult]


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
  keys, num_tiers = plan.keys, len(plan.pruning.keep_counts_T)
  values_per_column = protocol.values_per_column
  counts_at = bands.counts_at(plan.pruning.keep_counts_T, protocol.alignment)
  counts_at_T = jnp.stack(counts_at)
  auditor = protocol.auditor
  if auditor is not None and not auditor.checks_clients:
    auditor = None

  def add_chunk(
    number: Array, carry: tuple[ClientSums, Array]
  ) -> tuple[ClientSums, Array]:
    sums, deltas_CxM = carry
    held, contributors_T, measures = sums
    chunk: _Chunk = jax.tree.map(lambda rows: rows[number], chunks)
    train_chunk = _train_vmapped if performance.vmaps else _train_in_sequence
    with jax.named_scope('train'):
      result = train_chunk(train, chunk.cohort, deltas_CxM)
    deltas_CxM = result.delta
    finite_C = _are_finite(deltas_CxM)
    alive_C = (chunk.cohort.client_ids >= 0) & finite_C & chunk.accepted_C
    residuals = None
    sent_CxM = deltas_CxM
    if select is not None:
      with jax.named_scope('prune'):
        sent_CxM, left_CxD = select(deltas_CxM, chunk.cohort.client_ids)
      if left_CxD is not None:
        owners_C = jnp.where(alive_C, chunk.cohort.client_ids, -1)
        residuals = Residuals(owners_C, left_CxD)
    weight_C = chunk.cohort.num_examples.astype(jnp.float32) / max_count
    keys_C = _client_keys(round_key, chunk.cohort.client_ids)
    last_columns_C = counts_at_T[chunk.cohort.tiers] // values_per_column
    is_in_CxT = chunk.cohort.tiers[:, None] >= jnp.arange(num_tiers)
    contributors_T += jnp.sum(
      is_in_CxT & alive_C[:, None], axis=0, dtype=jnp.int32
    )

    def add_tile(
      tile: Array, carry: tuple[Array, Array, Any]
    ) -> tuple[Array, Array, Any]:
      held, clipped_C, checks_CxQxN = carry
      start, first_column = tile * tiling.size, tile * tiling.columns
      if kept is None:
        values_CxW = jax.lax.dynamic_slice_in_dim(
          sent_CxM, start, tiling.size, 1
        )
      else:
        kept_W = jax.lax.dynamic_slice_in_dim(kept, start, tiling.size)
        values_CxW = sent_CxM.at[:, kept_W].get(mode='clip')
      values_CxW = values_CxW * weight_C[:, None]
      positions_W = start + jnp.arange(tiling.size)
      is_count_W = jnp.any(positions_W[:, None] == counts_at_T, axis=1)
      contributions = jax.vmap(protocol.lift, (0, None, 0, 0, 0, None))(
        values_CxW,
        is_count_W,
        chunk.cohort.num_examples,
        keys_C,
        chunk.dealings,
        first_column,
      )
      if num_tiers > 1:
        columns_W = first_column + jnp.arange(tiling.columns)
        is_sent_CxW = columns_W <= last_columns_C[:, None]
        contributions = jnp.where(is_sent_CxW[:, None], contributions, 0)
      part = jax.lax.dynamic_slice_in_dim(held, first_column, tiling.columns, 1)
      with jax.named_scope('sum'):
        part = protocol.add(part, contributions, alive_C, plan.opening)
      held = jax.lax.dynamic_update_slice_in_dim(held, part, first_column, 1)
      if auditor is not None and keys is not None:
        coefficients_QxW = auditor.coefficients(
          keys.coins_Qx8, first_column, tiling.columns
        )
        checks_CxQxN = auditor.scheme.field.add(
          checks_CxQxN,
          jax.vmap(auditor.combine, (0, None))(contributions, coefficients_QxW),
        )
      clipped_C += jax.vmap(protocol.count_clipped)(values_CxW)
      return held, clipped_C, checks_CxQxN

    none_C = jnp.zeros(alive_C.shape, jnp.int32)
    blinds_CxQxN = None
    if auditor is not None and chunk.dealings is not None:
      blinds_CxQxN = jax.vmap(auditor.blind)(chunk.dealings.blinds_Kx8)
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
      is_finite=finite_C,
      residuals=residuals,
    )
    measures = jax.tree.map(
      lambda rows, values: rows.at[number].set(values),
      measures,
      measured,
    )
    return ClientSums(held, contributors_T, measures), deltas_CxM

  dealings = keys.dealings if keys else None
  everyone = _Chunk(plan.cohort, accepted_C, dealings)
  chunks = _split_chunks(everyone, performance.clients_per_chunk)
  num_chunks, chunk_size = chunks.accepted_C.shape
  num_present = jnp.sum(plan.cohort.client_ids >= 0)
  nothing = jnp.zeros((num_chunks, chunk_size), jnp.float32)
  no_checks = None
  if auditor is not None:
    shape = (*nothing.shape, auditor.num_checks, auditor.scheme.num_servers)
    no_checks = jnp.zeros(shape, jnp.uint32)
  no_deltas = jnp.zeros((chunk_size, tiling.padded_size), jnp.float32)
  no_residuals = None
  if select is not None:
    ids_C = chunks.cohort.client_ids[0]
    _, left = jax.eval_shape(select, no_deltas, ids_C)
    if left is not None:
      no_residuals = Residuals(
        owners=jnp.full_like(chunks.cohort.client_ids, -1),
        values=jnp.zeros((num_chunks, *left.shape), left.dtype),
      )
  nobody = ClientMeasures(
    checks=no_checks,
    loss_sum=nothing,
    num_trained=nothing,
    clipped=nothing.astype(jnp.int32),
    is_finite=nothing > 0,
    residuals=no_residuals,
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
  num_rows = accepted_C.shape[0]
  measures = jax.tree.map(
    lambda rows: rows.reshape(-1, *rows.shape[2:])[:num_rows], sums.measures
  )
  return sums._replace(measures=measures)


class _Chunk(NamedTuple):
  """The clients of a chunk, or all of them."""

  cohort: CohortPlan
  accepted_C: Array
  dealings: Dealing | None


def _train_vmapped(
  train: TrainClient, chunk: CohortPlan, deltas_CxM: Array
) -> ClientResult:
  """Trains a chunk's clients at once, all for the steps of the longest."""
  # An unbatched trip count keeps the loop free of per-client selects.
  num_steps = jnp.max(chunk.num_steps)
  result = jax.vmap(train, (0, None, 0))(chunk.indices, num_steps, chunk.tiers)
  return result._replace(delta=_write_rows(deltas_CxM, result.delta, 0))


def _train_in_sequence(
  train: TrainClient, chunk: CohortPlan, deltas_CxM: Array
) -> ClientResult:
  """Trains a chunk's clients one after another; padding is not trained.

  The trip count is traced on purpose: XLA would inline a loop of one and fuse
  it otherwise, and the chunk size would show in the last bits.

  Args:
    train: local training of one client.
    chunk: the clients.
    deltas_CxM: float32 [C, M >= D], zeros beyond D.

  Returns:
    The clients' results, with flat deltas written over `deltas_CxM`. Rows of
    padding stay as they are.
  """
  nothing_C = jnp.zeros(len(chunk.client_ids), jnp.float32)

  def train_row(row: Array, results: ClientResult) -> ClientResult:
    result = train(chunk.indices[row], chunk.num_steps[row], chunk.tiers[row])
    delta = jax.tree.map(lambda leaf: leaf[None], result.delta)
    return ClientResult(
      _write_rows(results.delta, delta, row),
      results.loss_sum.at[row].set(result.loss_sum),
      results.num_trained.at[row].set(result.num_trained),
    )

  num_present = jnp.sum(chunk.client_ids >= 0)
  empty = ClientResult(deltas_CxM, nothing_C, nothing_C)
  return jax.lax.fori_loop(0, num_present, train_row, empty)


def _write_rows(
  rows_CxM: Array, trees: Params, first_row: Array | int
) -> Array:
  """Writes pytrees as flat rows, in the order of `ravel_pytree`.

  A leaf at a time: the concatenation of all leaves is what XLA, on a CPU, would
  write value by value.
  """
  column = 0
  for leaf in jax.tree.leaves(trees):
    flat = leaf.reshape(leaf.shape[0], -1)
    rows_CxM = jax.lax.dynamic_update_slice(rows_CxM, flat, (first_row, column))
    column += flat.shape[1]
  return rows_CxM


def _are_finite(rows_CxM: Array) -> Array:
  """Returns whether all values of a row are finite, bool [C].

  The bits of a float32 without its sign are ordered as magnitudes are, with
  infinity and what is not a number last; integers have a fast maximum.
  """
  bits_CxM = jax.lax.bitcast_convert_type(jnp.abs(rows_CxM), jnp.int32)
  return jnp.max(bits_CxM, axis=1) < _INFINITY_BITS


def _client_keys(round_key: Key, client_ids_C: Array) -> Key:
  """Returns each client's key of this round."""
  # Padding has id -1; its draws are never used.
  ids_C = jnp.maximum(client_ids_C, 0)
  return jax.vmap(jax.random.fold_in, (None, 0))(round_key, ids_C)


def _split_chunks(everyone: _Chunk, chunk_size: int) -> _Chunk:
  """Reshapes [C, ...] to [chunks, chunk_size, ...], padded with nobody."""
  num_clients = everyone.accepted_C.shape[0]
  num_chunks = -(-num_clients // chunk_size)
  missing = num_chunks * chunk_size - num_clients

  def split(rows, fill=0):
    padding = ((0, missing),) + ((0, 0),) * (rows.ndim - 1)
    rows = jnp.pad(rows, padding, constant_values=fill)
    return rows.reshape(num_chunks, chunk_size, *rows.shape[1:])

  cohort = everyone.cohort
  return _Chunk(
    cohort=CohortPlan(
      client_ids=split(cohort.client_ids, -1),
      indices=split(cohort.indices, -1),
      num_steps=split(cohort.num_steps),
      num_examples=split(cohort.num_examples),
      tiers=split(cohort.tiers),
    ),
    accepted_C=split(everyone.accepted_C),
    dealings=jax.tree.map(split, everyone.dealings),
  )
