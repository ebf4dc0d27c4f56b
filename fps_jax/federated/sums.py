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

import dataclasses
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, RoundMetrics
from fps_jax.federated.chunks import (
  Chunk,
  TrainClient,
  join,
  measure,
  split,
  train_chunk,
)
from fps_jax.federated.client import ClientResult
from fps_jax.federated.contributions import Summation
from fps_jax.federated.loops import repeat
from fps_jax.federated.select import Select


class Residuals(NamedTuple):
  """What clients have not sent.

  Attributes:
    owners: int32 [C], client numbers, -1 where nothing is to be remembered.
    values: float32 [C, D].
  """

  owners: Array
  values: Array


class ClientSums(NamedTuple):
  """Sums over clients, and what is measured of each.

  Attributes:
    held: [R, columns], what the servers hold: sums of the weighted values and
      of sample counts, laid out as `fps_jax.federated.layout` says.
    contributors_T: int32 [T], clients that are in the sums of each band.
    metrics: of every row of the plan.
    checks_CxQxN: uint32 [C, Q, N], the servers' blinded combinations of each
      client's shares; None where clients are not checked.
    residuals: what clients have not sent; None where they send everything.
  """

  held: Array
  contributors_T: Array
  metrics: RoundMetrics
  checks_CxQxN: Array | None = None
  residuals: Residuals | None = None


class StoredUpdates(NamedTuple):
  """Updates of clients that have trained already.

  Attributes:
    values_CxM: float32 [C, `Tiling.padded_size`], values in the order in which
      they are shared, finite, 0 beyond.
    weights_C: uint32 [C], what servers multiply each client's share by before
      they add it; None for 1. A client of weight 0 is not in the sum.
  """

  values_CxM: Array
  weights_C: Array | None


class _Rows(NamedTuple):
  """What is kept of each client of a chunk."""

  metrics: RoundMetrics
  checks_CxQxN: Array | None
  left_CxD: Array | None


class _Progress(NamedTuple):
  """Sums so far; deltas are a buffer, which each chunk writes over."""

  held: Array
  contributors_T: Array
  deltas_CxM: Array
  rows: _Rows


class _Shared(NamedTuple):
  """What becomes of a chunk's values, tile by tile."""

  held: Array
  clipped_C: Array
  checks_CxQxN: Array | None


class _Compute(Protocol):
  """What makes a chunk's updates."""

  def __call__(self, chunk: Chunk, deltas_CxM: Array) -> ClientResult:
    """Returns results whose deltas are written over `deltas_CxM`."""


def train_and_sum(
  train: TrainClient,
  summation: Summation,
  accepted_C: Array,
  select: Select | None = None,
) -> ClientSums:
  """Trains every client of the plan and sums their weighted updates.

  Args:
    train: local training of one client.
    summation: how they are summed.
    accepted_C: bool [C]; clients whose row is False add nothing.
    select: what clients send of their updates; None for everything.
  """

  def compute(chunk: Chunk, deltas_CxM: Array) -> ClientResult:
    return train_chunk(train, chunk.cohort, deltas_CxM, summation.performance)

  return _sum_chunks(compute, summation, summation.everyone(accepted_C), select)


def sum_stored(
  stored: StoredUpdates, summation: Summation, accepted_C: Array
) -> ClientSums:
  """Sums updates of clients that have trained already, as `train_and_sum`.

  Guarantee: clients that are weighed are not checked. What weighed them has
  checked them, and the words that blind a check hide one alone.

  Args:
    stored: the updates.
    summation: how they are summed: with one tier, all values in order, and over
      a field if there are weights.
    accepted_C: bool [C]; clients whose row is False add nothing.
  """

  def compute(chunk: Chunk, deltas_CxM: Array) -> ClientResult:
    del deltas_CxM  # Nobody trains.
    nothing_C = jnp.zeros(len(chunk.accepted_C), jnp.float32)
    return ClientResult(chunk.rows.values_CxM, nothing_C, nothing_C)

  if stored.weights_C is not None:
    accepted_C &= stored.weights_C > 0
    unchecked = summation.protocol.without_auditor()
    summation = summation._replace(protocol=unchecked)
  return _sum_chunks(compute, summation, summation.everyone(accepted_C, stored))


def _sum_chunks(
  compute: _Compute,
  summation: Summation,
  everyone: Chunk,
  select: Select | None = None,
) -> ClientSums:
  """Sums what clients have to share, a chunk at a time."""
  chunks = split(everyone, summation.performance.clients_per_chunk)
  num_tiers = len(summation.counts_at)

  def add_chunk(number: Array, before: _Progress) -> _Progress:
    chunk: Chunk = jax.tree.map(lambda rows: rows[number], chunks)
    result = compute(chunk, before.deltas_CxM)
    metrics = measure(result)
    sent_CxM, left_CxD = _send(select, result, chunk)
    chunk, metrics = summation.bound(chunk, sent_CxM, metrics)
    alive_C = _is_summed(chunk, metrics)
    shared = _share(summation, chunk, sent_CxM, alive_C, before.held)
    is_in_CxT = chunk.cohort.tiers[:, None] >= jnp.arange(num_tiers)
    contributors_T = before.contributors_T + jnp.sum(
      is_in_CxT & alive_C[:, None], axis=0, dtype=jnp.int32
    )
    metrics = dataclasses.replace(metrics, clipped_values=shared.clipped_C)
    rows = jax.tree.map(
      lambda rows, values: rows.at[number].set(values),
      before.rows,
      _Rows(metrics, shared.checks_CxQxN, left_CxD),
    )
    return _Progress(shared.held, contributors_T, result.delta, rows)

  nobody = _nobody(summation, chunks, select)
  # Chunks of empty rows are not run at all.
  num_present = jnp.sum(everyone.cohort.client_ids >= 0)
  most_chunks, chunk_size = chunks.accepted_C.shape
  num_chunks: Array | int = -(-num_present // chunk_size)
  if not summation.performance.is_cpu:
    # Nobody's steps and tiles are left out, which is as good.
    num_chunks = most_chunks
  end = jax.lax.fori_loop(0, num_chunks, add_chunk, nobody)
  rows: _Rows = join(end.rows, len(everyone.accepted_C))
  residuals = None
  if rows.left_CxD is not None:
    is_summed_C = _is_summed(everyone, rows.metrics)
    owners_C = jnp.where(is_summed_C, everyone.cohort.client_ids, -1)
    residuals = Residuals(owners_C, rows.left_CxD)
  return ClientSums(
    end.held, end.contributors_T, rows.metrics, rows.checks_CxQxN, residuals
  )


def _nobody(
  summation: Summation, chunks: Chunk, select: Select | None
) -> _Progress:
  """Returns where a sum starts, before any client has a part in it."""
  num_chunks, chunk_size = chunks.accepted_C.shape
  tiling = summation.tiling
  deltas_CxM = jnp.zeros((chunk_size, tiling.padded_size), jnp.float32)

  def of_chunk() -> _Rows:
    chunk: Chunk = jax.tree.map(lambda rows: rows[0], chunks)
    nothing_C = jnp.zeros(chunk_size, jnp.float32)
    result = ClientResult(deltas_CxM, nothing_C, nothing_C)
    _, left_CxD = _send(select, result, chunk)
    return _Rows(measure(result), summation.start_checks(chunk), left_CxD)

  return _Progress(
    held=summation.protocol.zeros(tiling.padded_columns),
    contributors_T=jnp.zeros(len(summation.counts_at), jnp.int32),
    deltas_CxM=deltas_CxM,
    rows=jax.tree.map(
      lambda row: jnp.zeros((num_chunks, *row.shape), row.dtype),
      jax.eval_shape(of_chunk),
    ),
  )


def _is_summed(chunk: Chunk, metrics: RoundMetrics) -> Array:
  is_client_C = chunk.cohort.client_ids >= 0
  return is_client_C & metrics.is_finite & chunk.accepted_C


def _send(
  select: Select | None, result: ClientResult, chunk: Chunk
) -> tuple[Array, Array | None]:
  if select is None:
    return result.delta, None
  with jax.named_scope('prune'):
    return select(result.delta, chunk.cohort.client_ids)


def _share(
  summation: Summation,
  chunk: Chunk,
  sent_CxM: Array,
  alive_C: Array,
  held: Array,
) -> _Shared:
  """Adds what a chunk's clients share to what the servers hold."""
  columns = summation.tiling.columns
  none_C = jnp.zeros(alive_C.shape, jnp.int32)
  start = _Shared(held, none_C, summation.start_checks(chunk))
  adds_words = (
    summation.protocol.adds_words and start.checks_CxQxN is None
  ) and (chunk.rows is None or chunk.rows.weights_C is None)

  def add_tile(tile: Array, before: _Shared) -> _Shared:
    first_column = tile * columns
    part = jax.lax.dynamic_slice_in_dim(before.held, first_column, columns, 1)
    checks_CxQxN = before.checks_CxQxN
    if adds_words:
      values_CxW, part = summation.add_tile(
        chunk, sent_CxM, tile, alive_C, part
      )
    else:
      values_CxW, contributions = summation.lift_tile(chunk, sent_CxM, tile)
      part = _add_shares(summation, chunk, contributions, alive_C, part)
      checks_CxQxN = summation.add_checks(checks_CxQxN, contributions, tile)
    return _Shared(
      jax.lax.dynamic_update_slice_in_dim(before.held, part, first_column, 1),
      before.clipped_C + summation.count_clipped(chunk.cohort, values_CxW),
      checks_CxQxN,
    )

  return repeat(summation.turns(jnp.any(alive_C)), add_tile, start)


def _add_shares(
  summation: Summation,
  chunk: Chunk,
  contributions: Array,
  alive_C: Array,
  part: Array,
) -> Array:
  """Adds what each client of a chunk has shared of a tile, weighed."""
  protocol = summation.protocol
  with jax.named_scope('sum'):
    if chunk.rows is not None and chunk.rows.weights_C is not None:
      # What servers do to shares, which only words of a field can bear.
      assert protocol.field is not None
      contributions = protocol.field.multiply(
        contributions, chunk.rows.weights_C[:, None, None]
      )
    return protocol.add(part, contributions, alive_C, summation.plan.opening)
