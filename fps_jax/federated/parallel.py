"""Many clients at once: the only file that knows clients are an axis.

Clients are split over the devices of a mesh; every device runs the same program
on its own, and sums and measures are then put together. A device runs its
clients a chunk at a time. Within a chunk they are vmapped on an
accelerator and run in sequence on a CPU, which is the faster way there. Their
updates are cut into tiles of `TILE` values, lifted into the sum protocol and
added to what the servers hold, so memory grows neither with the number of
clients nor with clients x servers x parameters, and only as many tiles are
computed as parameters are kept: the count may be traced.

Guarantee: given the clients' updates, neither the chunk size nor the execution
nor the devices change a bit of a sum in the field. Run in sequence, they do not
change the updates either. Vmapping rounds those differently (another order of
additions in float32), as any change of batch shape does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from fps_jax.devices import CLIENT_AXES, PROCESS_AXIS
from fps_jax.federated.client import ClientResult
from fps_jax.federated.performance import Performance
from fps_jax.sharing.chacha import BLOCK_WORDS
from fps_jax.sharing.protocol import Dealing, RoundKeys, SumProtocol
from fps_jax.types import Array, CohortPlan, Key, RoundPlan

# Values of a tile, about: a tile is whole columns, whole blocks of the cipher.
TILE = 8192

# (indices_SxB, num_steps) -> one client's result, its delta a flat vector.
TrainClient = Callable[[Array, Array], ClientResult]


class ClientMeasures(NamedTuple):
  """What is measured of each client; of a row of padding it means nothing.

  Attributes:
    checks: uint32 [C, Q, N], the servers' blinded combinations of each client's
      shares; None where clients are not checked.
    loss_sum: float32 [C], training loss (nats) summed over examples.
    num_trained: float32 [C], examples trained on, repeats counted.
    clipped: float32 [C], values that the codec clipped.
    is_finite: bool [C]; an update that is not finite is left out of the sum.
  """

  checks: Array | None
  loss_sum: Array
  num_trained: Array
  clipped: Array
  is_finite: Array


class ClientSums(NamedTuple):
  """Sums over clients, and each client's measures.

  Attributes:
    held: [R, columns], what the servers hold: sums of the weighted values,
      and of the sample counts at position `keep_count`.
    measures: of every row of the plan.
  """

  held: Array
  measures: ClientMeasures


def tile_columns(values_per_column: int) -> int:
  """Returns the columns of a tile: a multiple of the cipher's block.

  Raises:
    ValueError: if not even one block of columns fits a tile.
  """
  columns = TILE // values_per_column // BLOCK_WORDS * BLOCK_WORDS
  if not columns:
    raise ValueError(
      f'columns of {values_per_column} values are too long for a tile of '
      f'{TILE} values: pack at most {TILE // BLOCK_WORDS} secrets in a word'
    )
  return columns


def padded_size(num_params: int, values_per_column: int = 1) -> int:
  """Returns the length of whole tiles for D values and the sample count."""
  tile_size = tile_columns(values_per_column) * values_per_column
  return (num_params // tile_size + 1) * tile_size


def used_tiles(keep_count: Array, values_per_column: int) -> Array:
  """Returns the tiles that hold `keep_count` values and the sample count."""
  return keep_count // (tile_columns(values_per_column) * values_per_column) + 1


def sum_clients(
  train: TrainClient,
  protocol: SumProtocol,
  plan: RoundPlan,
  accepted_C: Array,
  kept: Array | None,
  num_params: int,
  max_count: int,
  round_key: Key,
  performance: Performance,
) -> ClientSums:
  """Trains every client of the plan and sums their weighted updates.

  Each update is weighted by num_examples / max_count, in [0, 1], before it is
  lifted, so that the codec's range does not depend on who takes part.

  Args:
    train: local training of one client.
    protocol: how the sum is formed.
    plan: of the round; rows with client id -1 add nothing. Its `keep_count`
      positions are shared, all D without pruning.
    accepted_C: bool [C]; clients whose row is False add nothing either.
    kept: int32 [padded_size(D)] positions that are shared, padded with D, or
      None to share all parameters in order.
    num_params: D.
    max_count: largest sample count of a client.
    round_key: key of this round's rounding; every client's draws are folded
      from it by client id.
    performance: chunk size and execution.

  Returns:
    The sums, not yet opened.
  """
  per_column = protocol.values_per_column
  columns = tile_columns(per_column)
  tile_size = columns * per_column
  size = padded_size(num_params, per_column)
  keys, keep_count = plan.keys, plan.keep_count
  auditor = protocol.auditor
  if auditor is not None and not auditor.checks_clients:
    auditor = None

  def train_chunk(chunk: CohortPlan) -> ClientResult:
    if performance.vmaps:
      # An unbatched trip count keeps the loop free of per-client selects.
      num_steps = jnp.max(chunk.num_steps)
      return jax.vmap(train, (0, None))(chunk.indices, num_steps)
    return _train_in_sequence(train, chunk, num_params)

  def add_chunk(number: Array, sums: ClientSums) -> ClientSums:
    chunk: _Chunk = jax.tree.map(lambda rows: rows[number], chunks)
    result = train_chunk(chunk.cohort)
    finite_C = jnp.all(jnp.isfinite(result.delta), axis=1)
    alive_C = (chunk.cohort.client_ids >= 0) & finite_C & chunk.accepted_C
    weight_C = chunk.cohort.num_examples.astype(jnp.float32) / max_count
    keys_C = _client_keys(round_key, chunk.cohort.client_ids)
    deltas_CxD = result.delta
    if kept is None:
      deltas_CxD = jnp.pad(deltas_CxD, ((0, 0), (0, size - num_params)))

    def add_tile(
      tile: Array, carry: tuple[Array, Array, Any]
    ) -> tuple[Array, Array, Any]:
      held, clipped_C, checks_CxQxN = carry
      start, first_column = tile * tile_size, tile * columns
      if kept is None:
        values_CxM = jax.lax.dynamic_slice_in_dim(
          deltas_CxD, start, tile_size, 1
        )
      else:
        positions = jax.lax.dynamic_slice_in_dim(kept, start, tile_size)
        values_CxM = deltas_CxD.at[:, positions].get(mode='fill', fill_value=0)
      values_CxM = values_CxM * weight_C[:, None]
      is_count_M = start + jnp.arange(tile_size) == keep_count
      contributions = jax.vmap(protocol.lift, (0, None, 0, 0, 0, None))(
        values_CxM,
        is_count_M,
        chunk.cohort.num_examples,
        _fold_each(keys_C, tile),
        chunk.dealings,
        first_column,
      )
      part = jax.lax.dynamic_slice_in_dim(held, first_column, columns, 1)
      part = protocol.add(part, contributions, alive_C, plan.opening)
      held = jax.lax.dynamic_update_slice_in_dim(held, part, first_column, 1)
      if auditor is not None and keys is not None:
        coefficients_QxW = auditor.coefficients(
          keys.coins_Qx8, first_column, columns
        )
        checks_CxQxN = auditor.scheme.field.add(
          checks_CxQxN,
          jax.vmap(auditor.combine, (0, None))(contributions, coefficients_QxW),
        )
      clipped_C += jax.vmap(protocol.count_clipped)(values_CxM)
      return held, clipped_C, checks_CxQxN

    nothing_C = jnp.zeros(alive_C.shape, jnp.float32)
    blinds_CxQxN = None
    if auditor is not None and chunk.dealings is not None:
      blinds_CxQxN = jax.vmap(auditor.blind)(chunk.dealings.blinds_Kx8)
    held, clipped_C, checks_CxQxN = jax.lax.fori_loop(
      0,
      used_tiles(keep_count, per_column),
      add_tile,
      (sums.held, nothing_C, blinds_CxQxN),
    )
    measured = ClientMeasures(
      checks=checks_CxQxN,
      loss_sum=result.loss_sum,
      num_trained=result.num_trained,
      clipped=clipped_C,
      is_finite=finite_C,
    )
    measures = jax.tree.map(
      lambda rows, values: rows.at[number].set(values),
      sums.measures,
      measured,
    )
    return ClientSums(held, measures)

  dealings = keys.dealings if keys else None
  everyone = _Chunk(plan.cohort, accepted_C, dealings)
  chunks = _split_chunks(everyone, performance.chunk_size)
  num_chunks, chunk_size = chunks.accepted_C.shape
  num_present = jnp.sum(plan.cohort.client_ids >= 0)
  nothing = jnp.zeros((num_chunks, chunk_size), jnp.float32)
  no_checks = None
  if auditor is not None:
    shape = (*nothing.shape, auditor.num_checks, auditor.scheme.num_servers)
    no_checks = jnp.zeros(shape, jnp.uint32)
  nobody = ClientMeasures(no_checks, nothing, nothing, nothing, nothing > 0)
  # Chunks of empty rows are not run at all.
  held, measures = jax.lax.fori_loop(
    0,
    -(-num_present // chunk_size),
    add_chunk,
    ClientSums(protocol.zeros(size // per_column), nobody),
  )
  num_rows = accepted_C.shape[0]
  measures = jax.tree.map(
    lambda rows: rows.reshape(-1, *rows.shape[2:])[:num_rows], measures
  )
  return ClientSums(held, measures)


def on_mesh(
  mesh: Mesh, protocol: SumProtocol, collect: Callable[..., Any]
) -> Callable[..., Any]:
  """Returns a function of a round that runs on every device of a mesh.

  Args:
    mesh: see `fps_jax.devices`.
    protocol: how the sum is formed.
    collect: (anything replicated, `RoundPlan`, accepted bool [C], round key,
      images, labels) -> anything that all devices have alike. It sees its
      device's rows of the plan, and the examples of its process.

  Returns:
    A function of the same arguments: the rows of all devices, and the examples
    of all processes, one after another.
  """
  replicated, clients = PartitionSpec(), PartitionSpec(CLIENT_AXES)
  examples = PartitionSpec(PROCESS_AXIS)
  dealings: Any = clients
  cohort: Any = clients
  keys = RoundKeys(dealings, coins_Qx8=replicated, lies=replicated)
  plan = RoundPlan(
    cohort=cohort,
    keep_count=replicated,
    opening=replicated,
    keys=keys if protocol.make_keys else None,
  )
  return jax.shard_map(
    collect,
    mesh=mesh,
    in_specs=(replicated, plan, clients, replicated, examples, examples),
    out_specs=replicated,
    # Nothing in a loop over traced counts can be shown to be replicated.
    check_vma=False,
  )


def add_devices(protocol: SumProtocol, sums: ClientSums) -> ClientSums:
  """Adds up and puts together what the devices of a mesh have."""
  measures = jax.tree.map(
    lambda rows: jax.lax.all_gather(rows, CLIENT_AXES, tiled=True),
    sums.measures,
  )
  return ClientSums(protocol.add_devices(sums.held, CLIENT_AXES), measures)


class _Chunk(NamedTuple):
  """The clients of a chunk, or all of them."""

  cohort: CohortPlan
  accepted_C: Array
  dealings: Dealing | None


def _train_in_sequence(
  train: TrainClient, chunk: CohortPlan, num_params: int
) -> ClientResult:
  """Trains a chunk's clients one after another; padding is not trained.

  The trip count is traced on purpose: XLA would inline a loop of one and fuse
  it otherwise, and the chunk size would show in the last bits.
  """
  size = chunk.client_ids.shape[0]
  empty = ClientResult(
    delta=jnp.zeros((size, num_params), jnp.float32),
    loss_sum=jnp.zeros(size, jnp.float32),
    num_trained=jnp.zeros(size, jnp.float32),
  )

  def train_row(row, results):
    result = train(chunk.indices[row], chunk.num_steps[row])
    return jax.tree.map(
      lambda rows, value: rows.at[row].set(value), results, result
    )

  num_present = jnp.sum(chunk.client_ids >= 0)
  return jax.lax.fori_loop(0, num_present, train_row, empty)


def _client_keys(round_key: Key, client_ids_C: Array) -> Key:
  """Returns each client's key of this round."""
  # Padding has id -1; its draws are never used.
  ids_C = jnp.maximum(client_ids_C, 0)
  return jax.vmap(jax.random.fold_in, (None, 0))(round_key, ids_C)


def _fold_each(keys_C: Key, number: Array) -> Key:
  """Folds one number into every key."""
  return jax.vmap(jax.random.fold_in, (0, None))(keys_C, number)


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
    ),
    accepted_C=split(everyone.accepted_C),
    dealings=jax.tree.map(split, everyone.dealings),
  )
