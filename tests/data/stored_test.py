"""Arrays of which a process reads some rows: the same rows, and no others."""

import pathlib

import numpy as np
import pytest

from fps_jax.data import npz_file
from fps_jax.data.dataset import Dataset
from fps_jax.data.fake import make_fake
from fps_jax.data.npz_file import read_npz, write_npz
from fps_jax.data.stored import Stored, select
from fps_jax.jobs.agreement import digest_of_data
from tests.helpers.shares import read_by_each


@pytest.fixture
def dataset() -> Dataset:
  return make_fake(num_train=103, num_test=17)


@pytest.fixture(params=[False, True], ids=['stored', 'deflated'])
def path(request, tmp_path, dataset) -> pathlib.Path:
  path = tmp_path / 'mine.npz'
  write_npz(path, dataset, compress=request.param)
  return path


def _read(path: pathlib.Path) -> Dataset:
  return read_npz(path, 'mine', 'make it again', on_demand=True)


@pytest.mark.parametrize('block_bytes', [1, 64 * 10, 2**22])
@pytest.mark.parametrize(
  'rows',
  [
    np.array([5, 102, 0, 64, 63], np.int32),
    np.array([], np.int32),
    slice(90, 200),
    np.arange(103) % 3 == 0,
  ],
)
def test_rows_of_a_file_are_those_of_its_array(
  dataset, path, monkeypatch, rows, block_bytes
):
  monkeypatch.setattr(npz_file, '_BLOCK_BYTES', block_bytes)
  stored = _read(path)
  np.testing.assert_array_equal(
    stored.train_inputs[rows], dataset.train_inputs[rows]
  )
  assert stored.signature == dataset.signature._replace(name='mine')
  np.testing.assert_array_equal(stored.train_targets, dataset.train_targets)


def test_array_whose_rows_are_scattered_is_read_whole(tmp_path, dataset):
  inputs = np.asfortranarray(dataset.train_inputs)
  path = tmp_path / 'mine.npz'
  np.savez(
    path,
    train_inputs=inputs,
    train_targets=dataset.train_targets,
    test_inputs=dataset.test_inputs,
    test_targets=dataset.test_targets,
    num_classes=10,
  )
  read = _read(path)
  np.testing.assert_array_equal(read.train_inputs[:], inputs)
  assert not isinstance(read.train_inputs, Stored)
  assert isinstance(read.test_inputs, Stored)


def test_damaged_file_is_named_when_its_rows_are_read(path):
  stored, content = _read(path), path.read_bytes()
  middle = content.index(b'train_inputs.npy') + 2000
  flipped = bytes([content[middle] ^ 0xFF])
  path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
  with pytest.raises(ValueError, match=r'mine\.npz does not hold .*make it'):
    stored.train_inputs[np.array([0])]


def test_number_that_is_not_finite_is_named_when_it_is_read():
  def read(rows, into):
    into[:] = np.where(rows == 7, np.inf, rows)[:, np.newaxis]

  stored = Stored((10, 1), np.dtype(np.float32), '', read)
  assert len(stored[np.array([1, 2])]) == 2
  with pytest.raises(ValueError, match='inputs of example 7 are not finite'):
    stored[np.array([1, 7])]


def test_rows_asked_for_twice_are_read_once_and_cannot_be_changed(path):
  stored = _read(path).train_inputs
  rows = np.array([3, 4])
  assert stored[rows] is stored[rows]
  assert stored.num_read == 2
  with pytest.raises(ValueError, match='read-only'):
    stored[rows][0] = 0


def test_all_rows_are_an_array_of_ones_own(dataset, path):
  stored = _read(path).test_inputs
  mine = np.asarray(stored)
  np.testing.assert_array_equal(mine, dataset.test_inputs)
  mine[0] += 1
  np.testing.assert_array_equal(stored[:1], dataset.test_inputs[:1])


def test_selected_rows_are_read_when_they_are_asked_for(dataset, path):
  stored, rows = _read(path).train_inputs, np.array([70, 2, 9])
  selected = select(stored, rows)
  assert stored.num_read == 0
  np.testing.assert_array_equal(selected[1:], dataset.train_inputs[[2, 9]])
  assert stored.num_read == 2
  np.testing.assert_array_equal(
    select(dataset.train_inputs, rows), dataset.train_inputs[rows]
  )


def test_digest_tells_stored_data_apart_without_reading_it(dataset, tmp_path):
  digests = set()
  for changes in range(2):
    inputs = dataset.test_inputs.copy()
    inputs[0, 0, 0, 0] ^= changes
    for compress in (False, True):
      path = tmp_path / f'{changes}.npz'
      changed = Dataset(
        'mine',
        dataset.train_inputs,
        dataset.train_targets,
        inputs,
        dataset.test_targets,
        10,
      )
      write_npz(path, changed, compress=compress)
      read = _read(path)
      digests.add(digest_of_data(read))
      assert read.test_inputs.num_read == 0
  assert len(digests) == 2


@pytest.mark.parametrize('num_processes', [2, 4])
def test_process_reads_the_examples_of_its_own_clients_alone(
  dataset, path, num_processes
):
  shares = read_by_each(lambda: _read(path), num_processes, num_clients=20)
  for share in shares:
    assert share.dataset.train_inputs.num_read == len(share.rows)
    np.testing.assert_array_equal(
      share.held[: len(share.rows)], dataset.train_inputs[share.rows]
    )
  assert sum(len(share.rows) for share in shares) == 103
  # What it holds grows with that, too, but for rows of padding.
  assert {len(share.held) for share in shares} == {
    max(len(share.rows) for share in shares)
  }
