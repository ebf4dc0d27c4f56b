"""How much of its own test examples the model gets right, client by client.

It may be the global model, or what each client makes of it by training on its
own examples first. What counts are targets: one an example or, of sequences,
all that are no padding.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fps_jax.core.devices import put_per_device, put_per_process
from fps_jax.core.types import Array, CohortPlan, Examples, Key, Params
from fps_jax.federated import mesh as meshes
from fps_jax.federated.client import Apply, ClientWork, LocalUpdate
from fps_jax.federated.evaluation import put_batches
from fps_jax.federated.losses import Compare
from fps_jax.federated.performance import Performance


class OwnTests(NamedTuple):
  """Whose test examples are which.

  Attributes:
    examples: the test set, on the host.
    rows: int32 [m] of each client, rows of it; disjoint, and maybe none.
  """

  examples: Examples
  rows: Sequence[np.ndarray]


class CountRight(Protocol):
  """Tests a model on every client's test examples."""

  def __call__(self, params_D: Array, /) -> Array:
    """Returns the targets that are right of each client: int32 [clients]."""


class CountPersonalRight(Protocol):
  """Lets every client train a model, and tests each on its test examples."""

  def __call__(
    self, params_D: Array, round_number: int, train: Examples, /
  ) -> Array:
    """Returns the targets that are right of each client: int32 [clients].

    Args:
      params_D: float32 [D], the global model.
      round_number: that ended with it, from 0: clients train as in that round.
      train: the training set on the devices.
    """


class Personalisation(NamedTuple):
  """How clients make the global model their own.

  Attributes:
    apply: the model.
    is_right: whether its predictions are right, of `Loss`.
    unravel: [D] -> pytree of parameters, of the vector's type.
    local_update: local training of one client.
    exempt_D: bool [D], parameters that are never pruned. Of the others, those
      that are 0 stay so. None where the global model is not pruned.
    plan: a row for each client and of padding, with its batches of this
      process's clients; on the host.
    key: the run's root key.
    performance: chunk size and execution.
  """

  apply: Apply
  is_right: Compare
  unravel: Callable[[Array], Params]
  local_update: LocalUpdate
  exempt_D: np.ndarray | None
  plan: CohortPlan
  key: Key
  performance: Performance


def count_right(is_right: Compare, outputs: Array, targets: Array) -> Array:
  """Returns how many targets are right of each example: int32 [B].

  Args:
    is_right: of `Loss`.
    outputs: float32 [B, ..., classes].
    targets: int32 [B, ...], negative where there is none.
  """
  right = is_right(outputs, jnp.maximum(targets, 0)) & (targets >= 0)
  return jnp.sum(right.reshape(len(right), -1), 1, jnp.int32)


def make_count_right(
  apply: Apply,
  is_right: Compare,
  unravel: Callable[[Array], Params],
  tests: OwnTests,
  batch_size: int,
  mesh: Mesh,
) -> CountRight:
  """Returns the test of the global model: each example is computed once.

  Args:
    apply: the model.
    is_right: whether its predictions are right, of `Loss`.
    unravel: float32 [D] -> pytree of parameters.
    tests: which examples are whose; those of nobody are left out.
    batch_size: examples evaluated at a time, at least 1.
    mesh: see `fps_jax.core.devices`.
  """
  rows = np.concatenate(tests.rows)
  owners = np.repeat(np.arange(len(tests.rows)), [len(r) for r in tests.rows])
  batch_size = min(batch_size, len(rows))
  own = Examples(*(array[rows] for array in tests.examples))
  data = put_batches(own, (-(-len(rows) // batch_size), batch_size), mesh)

  def count_here(data: Examples, params_D: Array) -> Array:
    params = unravel(params_D)
    right = jax.lax.map(
      lambda batch: count_right(
        is_right, apply(params, batch.inputs), batch.targets
      ),
      data,
    )
    of_all = meshes.gather(right).reshape(-1)[: len(owners)]
    return jax.ops.segment_sum(of_all, owners, len(tests.rows))

  program = meshes.on_mesh(
    mesh, count_here, (meshes.BY_CLIENT, meshes.ALIKE), meshes.ALIKE
  )
  return functools.partial(program.run, data)


def make_count_personal_right(
  how: Personalisation, tests: OwnTests, batch_size: int, mesh: Mesh
) -> CountPersonalRight:
  """Returns the test of what each client makes of the global model.

  On an accelerator clients are vmapped, a chunk at a time, and on a CPU they
  run in sequence.

  Args:
    how: clients train.
    tests: which examples are whose.
    batch_size: examples evaluated at a time over a chunk's clients, at least 1.
    mesh: see `fps_jax.core.devices`.
  """
  performance = how.performance
  chunk_size = performance.clients_per_chunk if performance.vmaps else 1
  rows = _own_rows(how.plan, tests.rows, max(batch_size // chunk_size, 1))
  clients = _Client(
    how.plan.client_ids,
    put_per_device(mesh, np.asarray(how.plan.indices)),
    how.plan.num_steps,
    put_per_device(mesh, rows),
  )
  test = Examples(
    *(put_per_process(mesh, array[:]) for array in tests.examples)
  )
  num_clients = len(tests.rows)

  def count_here(
    clients: _Client,
    test: Examples,
    key: Key,
    params_D: Array,
    round_number: Array,
    train: Examples,
  ) -> Array:
    given = _Given(params_D, round_number, key, train, test)
    right_C = jax.lax.map(
      functools.partial(_count_of_one, how, given),
      clients,
      batch_size=chunk_size if performance.vmaps else None,
    )
    client_ids, right_C = meshes.gather((clients.client_id, right_C))
    # Rows of padding, of client -1, are left out.
    places = jnp.where(client_ids < 0, num_clients, client_ids)
    return jax.ops.segment_sum(right_C, places, num_clients + 1)[:-1]

  alike, by_process = meshes.ALIKE, meshes.BY_PROCESS
  program = meshes.on_mesh(
    mesh,
    count_here,
    (meshes.BY_CLIENT, by_process, alike, alike, alike, by_process),
    alike,
  )
  return functools.partial(program.run, clients, test, how.key)


class _Given(NamedTuple):
  """What all clients are given."""

  params_D: Array
  round: Array
  key: Key
  train: Examples
  test: Examples


class _Client(NamedTuple):
  """What one client, or each of some, trains on, and its test rows."""

  client_id: Array
  indices_SxB: Array
  num_steps: Array
  rows: Array


def _own_rows(
  plan: CohortPlan, rows: Sequence[np.ndarray], batch_size: int
) -> np.ndarray:
  """Returns the test rows of this process's clients, in batches.

  Returns:
    int32 [C, batches, batch_size], -1 for padding.
  """
  # As many rows as this process has batches to train on.
  num_own = len(plan.indices)
  first = jax.process_index() * num_own
  own_ids = plan.client_ids[first : first + num_own]
  most = max(1, *map(len, rows))
  batch_size = min(batch_size, most)
  num_batches = -(-most // batch_size)
  filled = np.full((num_own, num_batches * batch_size), -1, np.int32)
  for place, client in enumerate(own_ids.tolist()):
    if client >= 0:
      filled[place, : len(rows[client])] = rows[client]
  return filled.reshape(num_own, num_batches, batch_size)


def _count_of_one(
  how: Personalisation, given: _Given, client: _Client
) -> Array:
  """Trains one client, and returns how many of its targets are right."""
  params, mask = how.unravel(given.params_D), None
  if how.exempt_D is not None:
    mask = how.unravel((given.params_D != 0) | how.exempt_D)
  work = ClientWork(
    client.indices_SxB,
    client.num_steps,
    client_id=client.client_id,
    round=given.round,
    key=given.key,
  )
  delta = how.local_update(params, mask, given.train, work).delta
  own = jax.tree.map(jnp.add, params, delta)

  def test_batch(i: Array, right: Array) -> Array:
    rows_B = client.rows[i]
    read_B = jnp.maximum(rows_B, 0)
    outputs = how.apply(own, given.test.inputs[read_B])
    right_B = count_right(how.is_right, outputs, given.test.targets[read_B])
    return right + jnp.sum(jnp.where(rows_B >= 0, right_B, 0))

  num_batches = jnp.sum(jnp.any(client.rows >= 0, axis=1))
  return jax.lax.fori_loop(0, num_batches, test_batch, jnp.int32(0))
