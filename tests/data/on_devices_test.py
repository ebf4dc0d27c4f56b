"""Tests of `fps_jax.data.on_devices`: whose examples are where."""

import numpy as np
import pytest

from fps_jax.core.devices import Placement, make_mesh
from fps_jax.data import on_devices
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset

NUM_EXAMPLES = 40
COUNTS = (5, 1, 12, 4, 9, 3, 6)
NUM_PROCESSES = 3


def make_dataset() -> Dataset:
  """Returns a set whose example number i has pixels and label i."""
  labels = np.arange(NUM_EXAMPLES, dtype=np.int32)
  images = np.broadcast_to(
    labels.astype(np.uint8)[:, None, None, None], (NUM_EXAMPLES, 2, 3, 1)
  )
  return Dataset('numbers', images, labels, images, labels, NUM_EXAMPLES)


def make_partition(num_clients: int = len(COUNTS)) -> list[np.ndarray]:
  """Returns disjoint rows, in no order, of the first clients."""
  rows = np.random.default_rng(0).permutation(NUM_EXAMPLES).astype(np.int32)
  return np.split(rows, np.cumsum(COUNTS)[:-1])[:num_clients]


def make_placed(process: int | None = None) -> PlacedDataset:
  """Returns the set on one process, or on this one of several."""
  placed = PlacedDataset(make_dataset(), make_mesh())
  if process is not None:
    placed.placement = Placement(NUM_PROCESSES, process)
  return placed


@pytest.fixture
def stays_on_host(monkeypatch):
  """Lets `put` return a process's own arrays."""
  monkeypatch.setattr(on_devices, 'put_per_process', lambda _, array: array)


# The last two leave processes without a client.
partitions = pytest.mark.parametrize('num_clients', [7, 6, 3, 2, 1])


def test_one_process_counts_rows_of_the_whole_set():
  partition = make_partition()
  numbered = make_placed().number_rows(partition)
  assert len(numbered) == len(partition)
  for actual, expected in zip(numbered, partition, strict=True):
    np.testing.assert_array_equal(actual, expected)


def test_one_process_holds_the_whole_set():
  placed = make_placed()
  held = placed.put(make_partition(num_clients=2))
  assert held.inputs.dtype == np.uint8
  assert held.targets.dtype == np.int32
  np.testing.assert_array_equal(held.inputs, placed.dataset.train_inputs)
  np.testing.assert_array_equal(held.targets, placed.dataset.train_targets)


def test_one_process_puts_the_set_once():
  placed = make_placed()
  held = placed.put(make_partition())
  assert placed.put(make_partition(num_clients=2)) is held


@partitions
@pytest.mark.usefixtures('stays_on_host')
def test_client_reads_its_examples_from_its_owner(num_clients: int):
  partition = make_partition(num_clients)
  for client, rows in enumerate(partition):
    placed = make_placed(client % NUM_PROCESSES)
    held, numbered = placed.put(partition), placed.number_rows(partition)
    assert len(numbered) == num_clients
    assert numbered[client].dtype == np.int32
    np.testing.assert_array_equal(held.targets[numbered[client]], rows)
    np.testing.assert_array_equal(
      held.inputs[numbered[client]], placed.dataset.train_inputs[rows]
    )


@partitions
def test_processes_number_rows_alike(num_clients: int):
  partition = make_partition(num_clients)
  first, *others = (
    make_placed(process).number_rows(partition)
    for process in range(NUM_PROCESSES)
  )
  for other in others:
    for one, another in zip(first, other, strict=True):
      np.testing.assert_array_equal(one, another)


@partitions
@pytest.mark.usefixtures('stays_on_host')
def test_processes_have_as_many_rows_as_the_fullest_needs(num_clients: int):
  partition = make_partition(num_clients)
  most = max(
    sum(len(rows) for rows in partition[process::NUM_PROCESSES])
    for process in range(NUM_PROCESSES)
  )
  for process in range(NUM_PROCESSES):
    held = make_placed(process).put(partition)
    assert held.inputs.shape == (most, 2, 3, 1)
    assert held.targets.shape == (most,)
    assert held.inputs.dtype == np.uint8
    assert held.targets.dtype == np.int32


@partitions
@pytest.mark.usefixtures('stays_on_host')
def test_one_of_several_processes_holds_the_examples_of_its_own_clients(
  num_clients: int,
):
  partition = make_partition(num_clients)
  for process in range(min(NUM_PROCESSES, num_clients)):
    own = np.concatenate(partition[process::NUM_PROCESSES])
    held = make_placed(process).put(partition)
    # What follows is padding.
    np.testing.assert_array_equal(
      np.sort(held.targets[: len(own)]), np.sort(own)
    )


@pytest.mark.usefixtures('stays_on_host')
def test_process_without_a_client_has_rows_like_the_others():
  held = make_placed(process=2).put(make_partition(num_clients=2))
  assert held.inputs.shape == (max(COUNTS[:2]), 2, 3, 1)
  assert held.targets.shape == (max(COUNTS[:2]),)
