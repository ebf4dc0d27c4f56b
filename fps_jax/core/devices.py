"""Processes, their devices, and which of them works on which client.

Devices form a mesh of (process, device of the process). A process owns the
clients whose number leaves its own as the remainder of a division by the number
of processes, and holds their examples alone; on its devices they are dealt out
anew each round, so that each device has the same work. With one process, all
clients are its own.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.host_memory import aligned_empty, is_aligned
from fps_jax.core.types import Array

PROCESS_AXIS, DEVICE_AXIS = 'process', 'device'
# Clients are split over all devices, a process's examples are on all of its.
CLIENT_AXES = (PROCESS_AXIS, DEVICE_AXIS)


def make_mesh(
  devices_per_process: int = 0, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Returns the mesh of all processes.

  Args:
    devices_per_process: devices that each process uses; 0 for all it has.
    devices: of all processes; None for those of JAX.

  Raises:
    ValueError: if a process has fewer, or they have different numbers.
  """
  of_process: dict[int, list[jax.Device]] = {}
  for device in jax.devices() if devices is None else devices:
    of_process.setdefault(device.process_index, []).append(device)
  counts = {len(devices) for devices in of_process.values()}
  if not devices_per_process and len(counts) > 1:
    raise ValueError(
      f'processes have {sorted(counts)} devices: set perf.num_devices to the '
      'smallest of these numbers'
    )
  wanted = devices_per_process or min(counts)
  if wanted > min(counts):
    raise ValueError(
      f'perf.num_devices={wanted} is more than the {min(counts)} devices of a '
      'process: lower it, or set it to 0 for all of them'
    )
  rows = [of_process[process][:wanted] for process in sorted(of_process)]
  return Mesh(np.array(rows), CLIENT_AXES)


def are_here(mesh: Mesh) -> bool:
  """Returns whether the devices of a mesh can run anything.

  Those of a topology that is only described are there to compile for.
  """
  return mesh.devices.flat[0] in jax.devices()


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where clients run.

  Attributes:
    num_processes: P.
    process: the number of this process, in [0, P).
    devices_per_process: devices that each process uses.
  """

  num_processes: int = 1
  process: int = 0
  devices_per_process: int = 1

  @classmethod
  def of(cls, mesh: Mesh) -> 'Placement':
    """Returns the placement on a mesh, as this process sees it."""
    num_processes, devices_per_process = mesh.devices.shape
    return cls(num_processes, jax.process_index(), devices_per_process)

  def owners(self, client_ids: np.ndarray) -> np.ndarray:
    """Returns the process that owns each client."""
    return client_ids % self.num_processes

  def rows_per_process(self, num_clients: int, cohort_size: int) -> int:
    """Returns the rows of a plan that each process has: the most it can need.

    A multiple of the devices. Rows that a round does not need stay empty.
    """
    most_owned = -(-num_clients // self.num_processes)
    per_device = -(-min(cohort_size, most_owned) // self.devices_per_process)
    return per_device * self.devices_per_process

  def arrange(
    self, ordered_ids: Sequence[int] | np.ndarray, rows_per_process: int
  ) -> np.ndarray:
    """Returns which client each row of a plan is for, all processes' rows.

    A process's clients are dealt to its devices there and back, so that no two
    differ by more work than that of the largest client, if that comes first.

    Args:
      ordered_ids: int [at most C], the clients of the round, by falling work.
      rows_per_process: as of `rows_per_process`.

    Returns:
      int32 [P * rows_per_process], -1 for an empty row. Each device's rows are
      consecutive, its clients first, in the given order.
    """
    ordered_ids = np.asarray(ordered_ids, np.int32)
    rows = np.full(
      (
        self.num_processes,
        self.devices_per_process,
        rows_per_process // self.devices_per_process,
      ),
      -1,
      np.int32,
    )
    for process in range(self.num_processes):
      own = ordered_ids[self.owners(ordered_ids) == process]
      row, turn = np.divmod(np.arange(len(own)), self.devices_per_process)
      # Back on odd rows: who had the most work gets the least next.
      device = np.where(row % 2, self.devices_per_process - 1 - turn, turn)
      rows[process, device, row] = own
    return rows.reshape(-1)

  def own_rows(self, rows_per_process: int) -> slice:
    """Returns this process's rows of a plan."""
    start = self.process * rows_per_process
    return slice(start, start + rows_per_process)


def put_per_process(mesh: Mesh, array: np.ndarray) -> Array:
  """Puts a process's array on its devices, whole on each.

  Args:
    mesh: of all processes.
    array: this process's, of the same shape in all of them. It must not change
      any more: devices of a CPU share it where it is aligned.

  Returns:
    All processes' arrays one after another, as one global array; its shape,
    where the devices are not here.
  """
  if not are_here(mesh):
    return _shape_of(mesh, PROCESS_AXIS, array)
  shared = array
  if not is_aligned(array):
    shared = aligned_empty(array.shape, array.dtype)
    shared[...] = array
  return jax.make_array_from_process_local_data(
    NamedSharding(mesh, PartitionSpec(PROCESS_AXIS)), shared
  )


def put_per_device(mesh: Mesh, array: np.ndarray) -> Array:
  """Splits a process's array over its devices, along the first axis.

  As `put_per_process`, but each device gets its own rows alone.
  """
  if not are_here(mesh):
    return _shape_of(mesh, CLIENT_AXES, array)
  return jax.make_array_from_process_local_data(
    NamedSharding(mesh, PartitionSpec(CLIENT_AXES)), array
  )


def _shape_of(
  mesh: Mesh, axes: str | tuple[str, ...], array: np.ndarray
) -> Any:
  """Returns the shape of what all processes put, each as much as this one."""
  return jax.ShapeDtypeStruct(
    (mesh.devices.shape[0] * len(array), *array.shape[1:]),
    array.dtype,
    sharding=NamedSharding(mesh, PartitionSpec(axes)),
  )


def gather(array: np.ndarray) -> np.ndarray:
  """Returns the arrays of all processes, once all have called this.

  Args:
    array: this process's, of the same shape and type in all of them.

  Returns:
    [P, *array.shape], in the order of processes.
  """
  # However many devices each of them has.
  mesh = make_mesh(1)
  everywhere = NamedSharding(mesh, PartitionSpec())
  collect = jax.jit(lambda arrays: arrays, out_shardings=everywhere)
  collected = collect(put_per_process(mesh, array[np.newaxis]))
  return np.asarray(collected.addressable_data(0))
