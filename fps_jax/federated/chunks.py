"""A device's clients, a chunk at a time: training them, and what each draws.

Within a chunk clients are vmapped on an accelerator and run in sequence on a
CPU, which is the faster way there.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, CohortPlan, Key, Params, RoundMetrics
from fps_jax.federated.client import ClientResult
from fps_jax.federated.loops import Turns
from fps_jax.federated.performance import Performance
from fps_jax.privacy.central import Bounds
from fps_jax.privacy.noisy_codec import Draws
from fps_jax.sharing.protocol import Dealing

_INFINITY_BITS = 0x7F800000
# Steps that an accelerator takes, or leaves out, as a whole: of more of them,
# more are taken in vain; with fewer, models are copied more often.
_MOST_TOGETHER = 20


class TrainClient(Protocol):
  """Training of one client on what it receives."""

  def __call__(self, row: CohortPlan) -> ClientResult:
    """Trains the client of one row of the plan."""


class Chunk(NamedTuple):
  """The clients of a chunk, or all of a device.

  Attributes:
    cohort: rows of the plan.
    accepted_C: bool [C]; clients whose row is False add nothing.
    dealings: what each draws on; None where nothing is shared.
    rows: what each client has besides, as its user likes.
    bounds: what bounds contributions; None where nothing does.
    noise_Cx8: uint32 [C, 8], keys of the noise that each adds to what it
      shares; None where clients add none.
    draws: what each rounds and adds noise with; None likewise, and before it is
      known which rounding each takes.
  """

  cohort: CohortPlan
  accepted_C: Array
  dealings: Dealing | None
  rows: Any = None
  bounds: Bounds | None = None
  noise_Cx8: Array | None = None
  draws: Draws | None = None


class OfChunk(Protocol):
  """What is computed of a chunk's clients."""

  def __call__(self, chunk: Chunk, /) -> Any:
    """Returns arrays with a leading axis of the chunk's clients."""


def map_chunks(function: OfChunk, everyone: Chunk, chunk_size: int) -> Any:
  """Returns what a function of a chunk makes of all clients."""
  results = jax.lax.map(function, split(everyone, chunk_size))
  return join(results, len(everyone.accepted_C))


def train_chunk(
  train: TrainClient,
  chunk: CohortPlan,
  deltas_CxM: Array,
  performance: Performance,
) -> ClientResult:
  """Returns the results of a chunk's clients; rows of padding mean nothing.

  Flat deltas are written over `deltas_CxM`, float32 [C, M >= D], 0 beyond D.
  """
  with jax.named_scope('train'):
    if performance.vmaps:
      return _train_vmapped(train, chunk, deltas_CxM, performance)
    return _train_in_sequence(train, chunk, deltas_CxM)


def _train_vmapped(
  train: TrainClient,
  chunk: CohortPlan,
  deltas_CxM: Array,
  performance: Performance,
) -> ClientResult:
  """Trains clients at once, all for the steps of the longest."""
  # An unbatched trip count keeps the loop free of per-client selects.
  num_steps: Turns | Array = jnp.max(chunk.num_steps)
  if not performance.is_cpu:
    chunk, num_steps = _in_strides(chunk)

  def train_row(row: CohortPlan) -> ClientResult:
    return train(dataclasses.replace(row, num_steps=num_steps))

  result = jax.vmap(train_row)(chunk)
  return result._replace(delta=write_rows(deltas_CxM, result.delta, 0))


def _in_strides(chunk: CohortPlan) -> tuple[CohortPlan, Turns]:
  """Returns clients with steps for whole strides, and how they are taken."""
  most = chunk.indices.shape[1]
  num_strides = -(-most // _MOST_TOGETHER)
  stride = -(-most // num_strides)
  missing = num_strides * stride - most
  # A step of nothing but padding changes nothing.
  indices = jnp.pad(
    chunk.indices, ((0, 0), (0, missing), (0, 0)), constant_values=-1
  )
  turns = Turns(jnp.max(chunk.num_steps), num_strides * stride, stride)
  return dataclasses.replace(chunk, indices=indices), turns


def _train_in_sequence(
  train: TrainClient, chunk: CohortPlan, deltas_CxM: Array
) -> ClientResult:
  """Trains clients one after another; padding is not trained."""
  nothing_C = jnp.zeros(len(chunk.client_ids), jnp.float32)

  def train_row(row: Array, results: ClientResult) -> ClientResult:
    result = train(jax.tree.map(lambda rows: rows[row], chunk))
    delta = jax.tree.map(lambda leaf: leaf[None], result.delta)
    return ClientResult(
      write_rows(results.delta, delta, row),
      results.loss_sum.at[row].set(result.loss_sum),
      results.num_trained.at[row].set(result.num_trained),
    )

  # The trip count is traced on purpose: XLA would inline a loop of one and fuse
  # it otherwise, and the chunk size would show in the last bits.
  num_present = jnp.sum(chunk.client_ids >= 0)
  empty = ClientResult(deltas_CxM, nothing_C, nothing_C)
  return jax.lax.fori_loop(0, num_present, train_row, empty)


def measure(result: ClientResult) -> RoundMetrics:
  """Returns what is measured of clients before they share anything."""
  return RoundMetrics(
    loss_sum=result.loss_sum,
    num_trained=result.num_trained,
    clipped_values=jnp.zeros(len(result.delta), jnp.int32),
    is_finite=are_finite(result.delta),
  )


def write_rows(rows_CxM: Array, trees: Params, first_row: Array | int) -> Array:
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


def are_finite(rows_CxM: Array) -> Array:
  """Returns whether all values of a row are finite, bool [C].

  The bits of a float32 without its sign are ordered as magnitudes are, with
  infinity and what is not a number last; integers have a fast maximum.
  """
  bits_CxM = jax.lax.bitcast_convert_type(jnp.abs(rows_CxM), jnp.int32)
  return jnp.max(bits_CxM, axis=1) < _INFINITY_BITS


def client_keys(round_key: Key, client_ids_C: Array) -> Key:
  """Returns each client's key of this round.

  A key of ChaCha20, uint32 [8], is that of the one client there is.
  """
  if not jnp.issubdtype(round_key.dtype, jax.dtypes.prng_key):
    return jnp.broadcast_to(round_key, (*client_ids_C.shape, len(round_key)))
  # Padding has id -1; its draws are never used.
  ids_C = jnp.maximum(client_ids_C, 0)
  return jax.vmap(jax.random.fold_in, (None, 0))(round_key, ids_C)


def sample_weights(cohort: CohortPlan, max_count: int) -> Array:
  """Returns what each client weighs in the sum, float32 [C], in [0, 1]."""
  return cohort.num_examples.astype(jnp.float32) / max_count


def split(everyone: Chunk, chunk_size: int) -> Chunk:
  """Reshapes [C, ...] to [chunks, chunk_size, ...], padded with nobody."""
  num_clients = len(everyone.accepted_C)
  num_chunks = -(-num_clients // chunk_size)
  missing = num_chunks * chunk_size - num_clients

  def split_rows(rows: Array, fill: int = 0) -> Array:
    padding = ((0, missing),) + ((0, 0),) * (rows.ndim - 1)
    rows = jnp.pad(rows, padding, constant_values=fill)
    return rows.reshape(num_chunks, chunk_size, *rows.shape[1:])

  nobody = {'client_ids': -1, 'indices': -1}
  cohort = {
    field.name: split_rows(
      getattr(everyone.cohort, field.name), nobody.get(field.name, 0)
    )
    for field in dataclasses.fields(CohortPlan)
  }
  others = jax.tree.map(split_rows, everyone[1:])
  return Chunk(CohortPlan(**cohort), *others)


def join(rows: Any, num_clients: int) -> Any:
  """Reshapes arrays [chunks, chunk_size, ...] to [C, ...], as `split` had."""
  return jax.tree.map(
    lambda array: array.reshape(-1, *array.shape[2:])[:num_clients], rows
  )
