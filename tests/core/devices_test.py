"""Tests of `fps_jax.core.devices`: who works on which client."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from fps_jax.core.devices import (
  Placement,
  make_mesh,
  put_per_device,
  put_per_process,
)

SMALL = list(itertools.product((1, 2, 3, 4), (1, 2, 3)))
placements = pytest.mark.parametrize(('num_processes', 'num_devices'), SMALL)


@dataclasses.dataclass(frozen=True)
class FakeDevice:
  """What `make_mesh` asks of a device."""

  process_index: int
  id: int


def of_devices(
  rows: np.ndarray, placement: Placement
) -> list[list[np.ndarray]]:
  """Returns the clients of each process's devices, empty rows left out."""
  by_device = rows.reshape(
    placement.num_processes, placement.devices_per_process, -1
  )
  return [[ids[ids >= 0] for ids in process] for process in by_device]


def arrange_cohorts(num_processes: int, num_devices: int):
  """Yields a placement, an ordered cohort and its rows, for many cohorts."""
  placement = Placement(num_processes, 0, num_devices)
  rng = np.random.default_rng(0)
  for num_clients in (1, 5, 8, 23):
    for cohort_size in range(1, num_clients + 1):
      # Clients may drop out.
      drawn = rng.permutation(num_clients)[: rng.integers(cohort_size + 1)]
      size = placement.rows_per_process(num_clients, cohort_size)
      yield placement, drawn, placement.arrange(drawn, size)


def test_owner_is_the_remainder_by_the_number_of_processes():
  clients = np.arange(7)
  for process in range(3):
    owners = Placement(3, process).owners(clients)
    np.testing.assert_array_equal(owners, [0, 1, 2, 0, 1, 2, 0])


def test_one_process_owns_every_client():
  assert not np.any(Placement().owners(np.arange(7)))


@placements
def test_rows_per_process_are_a_multiple_of_the_devices(
  num_processes: int, num_devices: int
):
  placement = Placement(num_processes, 0, num_devices)
  for num_clients in range(1, 10):
    for cohort_size in range(1, num_clients + 1):
      rows = placement.rows_per_process(num_clients, cohort_size)
      assert rows % num_devices == 0


@placements
def test_rows_per_process_are_the_most_that_a_process_can_need(
  num_processes: int, num_devices: int
):
  placement = Placement(num_processes, 0, num_devices)
  for num_clients in range(1, 10):
    owned = np.bincount(placement.owners(np.arange(num_clients)))
    for cohort_size in range(1, num_clients + 1):
      rows = placement.rows_per_process(num_clients, cohort_size)
      most = max(np.minimum(owned, cohort_size))
      assert most <= rows < most + num_devices
      for process in range(len(owned)):
        # As many of its own clients as a cohort can hold.
        clients = np.arange(process, num_clients, num_processes)[:cohort_size]
        assert np.sum(placement.arrange(clients, rows) >= 0) == len(clients)


@placements
def test_every_client_has_one_row_and_its_owner_has_it(
  num_processes: int, num_devices: int
):
  for placement, cohort, rows in arrange_cohorts(num_processes, num_devices):
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(np.sort(rows[rows >= 0]), np.sort(cohort))
    assert np.all(rows >= -1)
    for process, own in enumerate(rows.reshape(num_processes, -1)):
      assert np.all(placement.owners(own[own >= 0]) == process)


@placements
def test_clients_of_a_device_come_first_and_in_order(
  num_processes: int, num_devices: int
):
  for _, cohort, rows in arrange_cohorts(num_processes, num_devices):
    rank = {int(client): i for i, client in enumerate(cohort)}
    for device in rows.reshape(num_processes * num_devices, -1):
      ranks = [rank[int(client)] for client in device if client >= 0]
      assert np.all(device[len(ranks) :] == -1)
      assert ranks == sorted(ranks)


def test_clients_are_dealt_there_and_back():
  placement = Placement(num_processes=2, process=1, devices_per_process=3)
  # Process 0 has 0, 2, 4 and so on, in this order.
  rows = placement.arrange([0, 1, 2, 4, 3, 6, 8, 10, 12, 5], 9)
  expected = [
    *([0, 10, 12], [2, 8, -1], [4, 6, -1]),
    *([1, -1, -1], [3, -1, -1], [5, -1, -1]),
  ]
  assert rows.reshape(6, 3).tolist() == expected


@placements
def test_devices_of_a_process_have_as_many_clients_up_to_one(
  num_processes: int, num_devices: int
):
  for placement, _, rows in arrange_cohorts(num_processes, num_devices):
    for devices in of_devices(rows, placement):
      counts = [len(clients) for clients in devices]
      assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize('num_devices', [2, 3, 4])
def test_devices_have_the_same_work_if_it_falls_evenly(num_devices: int):
  placement = Placement(devices_per_process=num_devices)
  num_clients = 4 * num_devices  # There and back, twice.
  rows = placement.arrange(np.arange(num_clients), num_clients)
  work = 100 - 3 * np.arange(num_clients)
  totals = [work[clients].sum() for clients in of_devices(rows, placement)[0]]
  assert len(set(totals)) == 1


@pytest.mark.parametrize('num_devices', [2, 3, 4])
def test_work_differs_by_at_most_a_client_after_each_is_dealt(num_devices: int):
  placement = Placement(devices_per_process=num_devices)
  rng = np.random.default_rng(0)
  # Equal work, a few large clients, and anything else.
  for work in ([1] * 12, [90, 90, 9, *[1] * 9], rng.integers(1, 50, 12)):
    work = np.sort(work)[::-1]
    rows = placement.arrange(np.arange(12), 12)
    for dealt in range(1, 13):
      totals = [
        work[clients[clients < dealt]].sum()
        for clients in of_devices(rows, placement)[0]
      ]
      assert max(totals) - min(totals) <= work[0]


@placements
def test_own_rows_tile_all_rows(num_processes: int, num_devices: int):
  size = 2 * num_devices
  rows = np.arange(num_processes * size)
  own = [
    rows[Placement(num_processes, process, num_devices).own_rows(size)]
    for process in range(num_processes)
  ]
  assert [len(part) for part in own] == [size] * num_processes
  np.testing.assert_array_equal(np.concatenate(own), rows)


@pytest.mark.parametrize('devices_per_process', [0, 1])
def test_mesh_of_one_device_is_one_process_with_it(devices_per_process: int):
  mesh = make_mesh(devices_per_process)
  assert mesh.devices.tolist() == [jax.devices()]
  assert Placement.of(mesh) == Placement()


@pytest.mark.parametrize(
  ('devices_per_process', 'expected'), [(0, [[0, 1], [2, 3]]), (1, [[0], [2]])]
)
def test_row_of_a_mesh_is_a_process(
  monkeypatch, devices_per_process: int, expected: list[list[int]]
):
  devices = [FakeDevice(process, i) for process, i in ((1, 2), (0, 0))]
  devices += [FakeDevice(process, i) for process, i in ((1, 3), (0, 1))]
  monkeypatch.setattr(jax, 'devices', lambda: devices)
  mesh = make_mesh(devices_per_process)
  assert [[device.id for device in row] for row in mesh.devices] == expected
  assert Placement.of(mesh) == Placement(2, 0, len(expected[0]))


def test_more_devices_than_a_process_has_are_refused():
  with pytest.raises(
    ValueError,
    match=r'perf\.num_devices=2 is more than the 1 devices .* lower it, .* 0',
  ):
    make_mesh(2)


def test_processes_with_different_numbers_of_devices_need_a_number(monkeypatch):
  devices = [FakeDevice(*numbers) for numbers in ((0, 0), (0, 1), (1, 2))]
  monkeypatch.setattr(jax, 'devices', lambda: devices)
  with pytest.raises(
    ValueError,
    match=r'have \[1, 2\] devices: set perf\.num_devices .* smallest',
  ):
    make_mesh()
  with pytest.raises(ValueError, match=r'=2 is more than the 1 devices'):
    make_mesh(2)
  assert make_mesh(1).devices.shape == (2, 1)


@pytest.mark.parametrize('put', [put_per_process, put_per_device])
def test_arrays_come_back_as_they_were_put(put):
  array = np.arange(6, dtype=np.int32).reshape(3, 2)
  result = put(make_mesh(), array)
  assert result.dtype == array.dtype
  np.testing.assert_array_equal(result, array)
