"""What each of several processes reads and holds of a data set."""

from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import numpy as np

from fps_jax.core.devices import Placement, make_mesh
from fps_jax.data import on_devices, partition
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset


class Share(NamedTuple):
  """What a process has of a data set.

  Attributes:
    dataset: as it loaded that.
    rows: of its clients.
    held: inputs that it put on its devices.
  """

  dataset: Dataset
  rows: np.ndarray
  held: np.ndarray


def read_by_each(
  load: Callable[[], Dataset], num_processes: int, num_clients: int
) -> list[Share]:
  """Has each of several processes, in turn, load a set and put its part.

  Args:
    load: loads it.
    num_processes: how many there would be.
    num_clients: who have the training set between them, unevenly.
  """
  shares = []
  for process in range(num_processes):
    dataset, put = load(), []
    parts = partition('quantity_skew', dataset.train_targets, num_clients, 0)
    placed = PlacedDataset(dataset, make_mesh(1))
    placed.placement = Placement(num_processes, process)
    with mock.patch.object(
      on_devices, 'put_per_process', lambda _, array, put=put: put.append(array)
    ):
      placed.put(parts)
    rows = np.concatenate(parts[process::num_processes])
    shares.append(Share(dataset, rows, put[0]))
  return shares
