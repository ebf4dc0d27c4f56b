"""Many clients at once: the only file that knows clients are an axis.

Clients are run a chunk at a time. Within a chunk they are vmapped on an
accelerator and run in sequence on a CPU, which is the faster way there. Their
updates are cut into tiles of `TILE` values, lifted into the sum protocol and
added to what the servers hold, so memory grows neither with the number of
clients nor with clients x servers x parameters, and only as many tiles are
computed as parameters are kept: the count may be traced.

Guarantee: given the clients' updates, neither the chunk size nor the execution
changes a bit of a sum in the field. Run in sequence, they do not change the
updates either. Vmapping rounds those differently (another order of additions
in float32), as any change of batch shape does.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.federated.client import ClientResult
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.types import Array, CohortPlan, Key

TILE = 8192
EXECUTIONS = ('auto', 'vmap', 'sequential')

# (indices_SxB, num_steps) -> one client's result, its delta a flat vector.
TrainClient = Callable[[Array, Array], ClientResult]


@dataclasses.dataclass(frozen=True)
class Performance:
  """How fast, never what, but for the rounding of vmapped training (above).

  Attributes:
    chunk_size: clients that are trained before their updates are added up,
      >= 1; memory grows with it.
    execution: `'vmap'`, `'sequential'` or `'auto'`: sequential on a CPU,
      vmapped elsewhere.

  Raises:
    ValueError: if a field is out of range.
  """

  chunk_size: int = 10
  execution: str = 'auto'

  def __post_init__(self):
    if self.chunk_size < 1:
      raise ValueError(f'chunk_size={self.chunk_size} must be at least 1')
    if self.execution not in EXECUTIONS:
      raise ValueError(
        f'execution={self.execution!r} is not one of {EXECUTIONS}'
      )

  @property
  def vmaps(self) -> bool:
    """Whether clients of a chunk are vmapped on this machine."""
    if self.execution == 'auto':
      return jax.default_backend() != 'cpu'
    return self.execution == 'vmap'


class ClientSums(NamedTuple):
  """Sums over clients, as the servers hold them, and each client's measures.

  Attributes:
    held: [R, padded_size(D)], what the servers hold: sums of the weighted
      values, and of the sample counts at position `keep_count`.
    loss_sum: float32 [C], training loss (nats) summed over examples.
    num_trained: float32 [C], examples trained on, repeats counted.
    clipped: float32 [C], values that the codec clipped.
    is_finite: bool [C]; an update that is not finite is left out of the sum.

  What is measured of a row of padding means nothing.
  """

  held: Array
  loss_sum: Array
  num_trained: Array
  clipped: Array
  is_finite: Array


def padded_size(num_params: int) -> int:
  """Returns the length of whole tiles for D values and the sample count."""
  return (num_params // TILE + 1) * TILE


def sum_clients(
  train: TrainClient,
  protocol: SumProtocol,
  plan: CohortPlan,
  opening: Any,
  kept: Array | None,
  keep_count: Array,
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
    plan: who trains on what; rows with client id -1 add nothing.
    opening: which servers the protocol opens from.
    kept: int32 [padded_size(D)] positions that are shared, padded with D, or
      None to share all parameters in order.
    keep_count: int32 [], how many positions are shared; may be traced.
    num_params: D.
    max_count: largest sample count of a client.
    round_key: key of this round; every client's draws are folded from it by
      client id.
    performance: chunk size and execution.

  Returns:
    The sums, not yet opened.
  """
  size = padded_size(num_params)

  def train_chunk(chunk: CohortPlan) -> ClientResult:
    if performance.vmaps:
      # An unbatched trip count keeps the loop free of per-client selects.
      num_steps = jnp.max(chunk.num_steps)
      return jax.vmap(train, (0, None))(chunk.indices, num_steps)
    return _train_in_sequence(train, chunk, num_params)

  def add_chunk(
    held: Array, chunk: CohortPlan
  ) -> tuple[Array, tuple[Array, ...]]:
    result = train_chunk(chunk)
    finite_C = jnp.all(jnp.isfinite(result.delta), axis=1)
    alive_C = (chunk.client_ids >= 0) & finite_C
    weight_C = chunk.num_examples.astype(jnp.float32) / max_count
    keys_C = _client_keys(round_key, chunk.client_ids)
    deltas_CxD = result.delta
    if kept is None:
      deltas_CxD = jnp.pad(deltas_CxD, ((0, 0), (0, size - num_params)))

    def add_tile(
      tile: Array, carry: tuple[Array, Array]
    ) -> tuple[Array, Array]:
      held, clipped_C = carry
      start = tile * TILE
      if kept is None:
        values_CxM = jax.lax.dynamic_slice_in_dim(deltas_CxD, start, TILE, 1)
      else:
        positions = jax.lax.dynamic_slice_in_dim(kept, start, TILE)
        values_CxM = deltas_CxD.at[:, positions].get(mode='fill', fill_value=0)
      values_CxM = values_CxM * weight_C[:, None]
      is_count_M = start + jnp.arange(TILE) == keep_count
      contributions = jax.vmap(protocol.lift, (0, None, 0, 0))(
        values_CxM, is_count_M, chunk.num_examples, _fold_each(keys_C, tile)
      )
      part = jax.lax.dynamic_slice_in_dim(held, start, TILE, 1)
      part = protocol.add(part, contributions, alive_C, opening)
      held = jax.lax.dynamic_update_slice_in_dim(held, part, start, 1)
      return held, clipped_C + jax.vmap(protocol.count_clipped)(values_CxM)

    used_tiles = keep_count // TILE + 1
    nothing_C = jnp.zeros(alive_C.shape, jnp.float32)
    held, clipped_C = jax.lax.fori_loop(
      0, used_tiles, add_tile, (held, nothing_C)
    )
    return held, (result.loss_sum, result.num_trained, clipped_C, finite_C)

  chunks = _split_chunks(plan, performance.chunk_size)
  held, measures = jax.lax.scan(add_chunk, protocol.zeros(size), chunks)
  num_clients = plan.client_ids.shape[0]
  # Flattened before anybody adds them up, so that no rounding depends on the
  # chunk size.
  return ClientSums(held, *(m.reshape(-1)[:num_clients] for m in measures))


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


def _split_chunks(plan: CohortPlan, chunk_size: int) -> CohortPlan:
  """Reshapes [C, ...] to [chunks, chunk_size, ...], padded with nobody."""
  num_clients = plan.client_ids.shape[0]
  num_chunks = -(-num_clients // chunk_size)
  missing = num_chunks * chunk_size - num_clients

  def split(rows, fill):
    padding = ((0, missing),) + ((0, 0),) * (rows.ndim - 1)
    rows = jnp.pad(rows, padding, constant_values=fill)
    return rows.reshape(num_chunks, chunk_size, *rows.shape[1:])

  return CohortPlan(
    client_ids=split(plan.client_ids, -1),
    indices=split(plan.indices, -1),
    num_steps=split(plan.num_steps, 0),
    num_examples=split(plan.num_examples, 0),
  )
