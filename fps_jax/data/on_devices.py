"""The training set on the devices, as it is, for as long as a run lasts."""

from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from fps_jax.core.devices import Placement, put_per_process
from fps_jax.core.host_memory import aligned_empty
from fps_jax.core.types import Examples
from fps_jax.data.dataset import Dataset


class PlacedDataset:
  """A data set whose examples are put where their clients run.

  One process holds the whole training set, once for all runs of a study. Each
  of several holds the examples of its own clients alone, and of a set that is
  stored (`data.stored`) reads no others.

  Attributes:
    dataset: on the host.
    mesh: see `fps_jax.core.devices`.
    placement: on the mesh.
  """

  def __init__(self, dataset: Dataset, mesh: Mesh):
    """Puts nothing on a device yet; the arguments are attributes."""
    self.dataset = dataset
    self.mesh = mesh
    self.placement = Placement.of(mesh)
    self._everything: Examples | None = None

  def number_rows(self, partition: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns each client's rows, counted as its process holds them."""
    # A process holds its clients' rows in the order of clients, not of the set.
    if self.placement.num_processes == 1:
      return list(partition)
    next_row = [0] * self.placement.num_processes
    numbered = []
    for client, rows in enumerate(partition):
      owner = client % self.placement.num_processes
      start = next_row[owner]
      next_row[owner] += len(rows)
      numbered.append(np.arange(start, next_row[owner], dtype=np.int32))
    return numbered

  def put(self, partition: Sequence[np.ndarray]) -> Examples:
    """Returns the examples of this process's clients, on its devices.

    They have P * n rows; each of P processes' devices hold its n.

    Args:
      partition: rows of the training set that each client owns, all clients.
    """
    inputs, targets = self.dataset.train_inputs, self.dataset.train_targets
    if self.placement.num_processes == 1:
      if self._everything is None:
        self._everything = self._put(inputs, targets)
      return self._everything
    clients = np.arange(len(partition))
    owners = self.placement.owners(clients)
    held = [
      np.concatenate([partition[c] for c in clients[owners == p]])
      if np.any(owners == p)
      else np.zeros(0, np.int32)
      for p in range(self.placement.num_processes)
    ]
    # As many rows on all processes: those of padding are never read.
    num_rows = max(len(rows) for rows in held)
    rows = held[self.placement.process]

    def hold(array: np.ndarray) -> np.ndarray:
      own = aligned_empty((num_rows, *array.shape[1:]), array.dtype)
      own[: len(rows)], own[len(rows) :] = array[rows], 0
      return own

    return self._put(hold(inputs), hold(targets))

  def _put(self, inputs: np.ndarray, targets: np.ndarray) -> Examples:
    return Examples(
      put_per_process(self.mesh, inputs), put_per_process(self.mesh, targets)
    )
