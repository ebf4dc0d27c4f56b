"""What clients share of their updates, a tile at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array
from fps_jax.federated.chunks import (
  Chunk,
  client_keys,
  join,
  sample_weights,
  split,
)
from fps_jax.federated.performance import Performance
from fps_jax.federated.sums import Summation
from fps_jax.sharing.audit import Auditor

# (chunk, updates [C, M], tile) -> (weighted values [C, W], contributions
# [C, ..., columns of the tile]).
LiftTile = Callable[[Chunk, Array, Array | int], tuple[Array, Array]]


def make_lift_tile(summation: Summation) -> LiftTile:
  """Returns what lifts a tile of a chunk's updates into the sum protocol.

  Each update is weighted by num_examples / max_count, in [0, 1], before it is
  lifted, so that the codec's range does not depend on who takes part.

  Args:
    summation: how updates are summed.
  """
  protocol, tiling, kept = summation.protocol, summation.tiling, summation.kept
  values_per_column = protocol.values_per_column
  counts_at = summation.counts_at
  counts_at_T = jnp.stack(counts_at)

  def lift_tile(
    chunk: Chunk, updates_CxM: Array, tile: Array | int
  ) -> tuple[Array, Array]:
    cohort = chunk.cohort
    weight_C = sample_weights(cohort, summation.max_count)
    start, first_column = tile * tiling.size, tile * tiling.columns
    if kept is None:
      values_CxW = jax.lax.dynamic_slice_in_dim(
        updates_CxM, start, tiling.size, 1
      )
    else:
      kept_W = jax.lax.dynamic_slice_in_dim(kept, start, tiling.size)
      values_CxW = updates_CxM.at[:, kept_W].get(mode='clip')
    values_CxW = values_CxW * weight_C[:, None]
    positions_W = start + jnp.arange(tiling.size)
    is_count_W = jnp.any(positions_W[:, None] == counts_at_T, axis=1)
    contributions = jax.vmap(protocol.lift, (0, None, 0, 0, 0, None, 0))(
      values_CxW,
      is_count_W,
      cohort.num_examples,
      client_keys(summation.round_key, cohort.client_ids),
      chunk.dealings,
      first_column,
      cohort.malicious,
    )
    if len(counts_at) > 1:
      last_columns_C = counts_at_T[cohort.tiers] // values_per_column
      columns_W = first_column + jnp.arange(tiling.columns)
      is_sent_CxW = columns_W <= last_columns_C[:, None]
      contributions = jnp.where(is_sent_CxW[:, None], contributions, 0)
    return values_CxW, contributions

  return lift_tile


def start_checks(auditor: Auditor | None, chunk: Chunk) -> Array | None:
  """Returns the words that blind the chunk's checks, uint32 [C, Q, N].

  None where clients are not checked.
  """
  if auditor is None or not auditor.checks_clients or chunk.dealings is None:
    return None
  return jax.vmap(auditor.blind)(chunk.dealings.blinds_Kx8)


def add_checks(
  auditor: Auditor | None,
  checks_CxQxN: Array | None,
  contributions_CxNxW: Array,
  coins_Qx8: Array,
  first_column: Array | int,
) -> Array | None:
  """Adds the servers' combinations of a tile of each client's shares."""
  if auditor is None or checks_CxQxN is None:
    return checks_CxQxN
  coefficients_QxW = auditor.coefficients(
    coins_Qx8, first_column, contributions_CxNxW.shape[-1]
  )
  combined = jax.vmap(auditor.combine, (0, None))(
    contributions_CxNxW, coefficients_QxW
  )
  return auditor.scheme.field.add(checks_CxQxN, combined)


def fold_tiles(
  lift_tile: LiftTile,
  everyone: Chunk,
  num_tiles: Array,
  start: Callable[[Chunk], Any],
  add: Callable[[Any, Array, Array], Any],
  performance: Performance,
) -> Any:
  """Reduces what each client shares, with no sum over clients.

  Args:
    lift_tile: of `make_lift_tile`.
    everyone: a device's clients; `rows` are their updates [C, M].
    num_tiles: to reduce; may be traced.
    start: chunk -> arrays with a leading axis of its clients.
    add: (such arrays, contributions [C, ..., W], tile) -> such arrays.
    performance: chunk size.

  Returns:
    The arrays of all clients.
  """

  def reduce_chunk(chunk: Chunk) -> Any:
    def add_tile(tile: Array, carry: Any) -> Any:
      _, contributions = lift_tile(chunk, chunk.rows, tile)
      return add(carry, contributions, tile)

    return jax.lax.fori_loop(0, num_tiles, add_tile, start(chunk))

  chunks = split(everyone, performance.clients_per_chunk)
  reduced = jax.lax.map(reduce_chunk, chunks)
  return join(reduced, len(everyone.accepted_C))
