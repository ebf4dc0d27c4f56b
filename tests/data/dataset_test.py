"""Tests of `fps_jax.data.dataset` and of its .npz form."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from fps_jax.data import Dataset, load, make_fake
from fps_jax.data.dataset import is_label
from fps_jax.data.npz_file import read_npz, write_npz

ARRAYS = ('train_inputs', 'train_targets', 'test_inputs', 'test_targets')


def with_changes(**changes: Any) -> Dataset:
  dataset = make_fake(num_train=6, num_test=4, num_classes=3)
  return dataclasses.replace(dataset, **changes)


def test_image_shape_is_height_width_channels():
  dataset = make_fake(num_train=6, num_test=4, image_shape=(4, 5, 3))
  assert dataset.image_shape == (4, 5, 3)


def test_fields_cannot_be_set():
  with pytest.raises(dataclasses.FrozenInstanceError):
    with_changes().name = 'other'  # type: ignore[misc]


def test_a_class_may_have_no_example():
  assert with_changes(num_classes=9).num_classes == 9


NAN = np.float32([[1, 2], [3, np.nan], [5, 6]])
# Inputs and targets of 3 examples, and num_classes, of every kind there is.
KINDS = {
  'images': (np.zeros((3, 4, 5, 1), np.uint8), np.int32([0, 1, 0]), 2),
  'features': (np.float32([[1.5], [-2], [0]]), np.int32([0, 1, 0]), 2),
  'volumes': (np.zeros((3, 2, 2, 2, 1), np.float32), np.int32([0, 1, 1]), 2),
  'tokens': (np.int32([[7, 8], [9, 7], [0, 1]]), np.int32([0, 1, 0]), 2),
  'sequences': (np.int32([[7], [9], [0]]), np.int32([[0], [1], [1]]), 2),
  'padded': (np.int32([[7], [9], [0]]), np.int32([[0, -1]] * 3), 2),
  'numbers': (np.float32([[1], [2], [0]]), np.float32([[0, 1]] * 3), 2),
}


def of_kind(inputs, targets, num_classes, **clients) -> Dataset:
  return Dataset(
    'own', inputs, targets, inputs, targets, num_classes, **clients
  )


@pytest.mark.parametrize('kind', KINDS)
def test_inputs_and_targets_are_of_any_kind(kind: str, tmp_path: pathlib.Path):
  dataset = of_kind(*KINDS[kind], train_clients=np.array([5, -1, 5]))
  assert dataset.input_shape == KINDS[kind][0].shape[1:]
  assert dataset.has_images == (kind == 'images')
  assert is_label(dataset.train_targets) == (KINDS[kind][1].ndim == 1)
  write_npz(tmp_path / 'own.npz', dataset)
  copy = load(str(tmp_path / 'own.npz'))
  for field in (*ARRAYS, 'train_clients'):
    np.testing.assert_array_equal(getattr(copy, field), getattr(dataset, field))
  assert (copy.name, copy.test_clients) == ('own', None)


def test_only_images_have_an_image_shape():
  with pytest.raises(ValueError, match=r'own has float32 .*no images: use'):
    _ = of_kind(*KINDS['volumes']).image_shape


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize(
  ('inputs', 'message'),
  [
    (np.zeros((6, 8, 8, 1)), 'dtype float64, not uint8, int32 or float32'),
    (np.zeros((6, 8), np.int64), 'dtype int64, not uint8, int32 or float32'),
    (np.zeros((6, 8, 8), np.uint8), r'shape \(6, 8, 8\), not \[n, height'),
    (np.zeros((0, 8, 8, 1), np.uint8), 'holds no value'),
    (np.zeros((6, 0), np.float32), 'holds no value'),
    (np.zeros(6, np.float32), 'holds no value of an example'),
    (NAN, 'example 1 are not finite: leave it out'),
    (NAN[:, ::-1] * np.float32('inf'), 'example 0 are not finite'),
  ],
)
def test_invalid_inputs_raise(split: str, inputs: np.ndarray, message: str):
  with pytest.raises(ValueError, match=f'fake: {split}_inputs .*{message}'):
    with_changes(**{f'{split}_inputs': inputs})


@pytest.mark.parametrize(('split', 'count'), [('train', 6), ('test', 4)])
def test_invalid_targets_raise(split: str, count: int):
  labels = np.zeros(count, np.int32)
  rows = np.zeros((count, 2), np.int32)
  invalid = {
    'dtype int64, not int32 or float32': labels.astype(np.int64),
    rf'\({count - 1},\), not \[n\] or \[n, T\] with n={count}': labels[1:],
    rf'shape \({count}, 1, 1\)': labels[:, None, None],
    rf'shape \({count}, 0\)': rows[:, :0],
    r'span \[-1, -1\], outside \[0, 3\)': labels - 1,
    r'span \[3, 3\], outside \[0, 3\)': labels + 3,
    r'span \[-2, -2\], outside \[-1, 3\)': rows - 2,
    'of example 0 are all -1, which is padding': rows - 1,
    rf'float32 of shape \({count}, 2\).*num_classes=3': np.float32(rows),
    'of example 0 are not finite': np.full((count, 3), np.nan, np.float32),
  }
  for message, bad in invalid.items():
    with pytest.raises(ValueError, match=f'fake: {split}_targets .*{message}'):
      with_changes(**{f'{split}_targets': bad})


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize('clients', [np.zeros(3, int), np.zeros(6), 'abcdef'])
def test_clients_are_a_whole_number_for_each_example(split, clients):
  with pytest.raises(ValueError, match=f'{split}_clients are .*, not integers'):
    with_changes(**{f'{split}_clients': np.array(clients)})


def test_train_and_test_of_unequal_shape_or_type_raise():
  with pytest.raises(ValueError, match=r'\(8, 8, 1\), and .*\(8, 9, 1\)'):
    with_changes(test_inputs=np.zeros((4, 8, 9, 1), np.uint8))
  with pytest.raises(ValueError, match=r'targets .* int32 .*, and .* float32'):
    with_changes(test_targets=np.zeros((4, 3), np.float32))


def test_num_classes_below_one_raises():
  with pytest.raises(ValueError, match='num_classes=0 is below 1'):
    with_changes(num_classes=0)


@pytest.mark.parametrize('compress', [False, True])
def test_npz_gives_the_data_set_back(tmp_path: pathlib.Path, compress: bool):
  dataset = make_fake(num_classes=7)
  path = tmp_path / 'fake.npz'
  write_npz(path, dataset, compress=compress)
  copy = read_npz(path, 'copy', cure='')
  assert (copy.name, copy.num_classes) == ('copy', 7)
  for field in ARRAYS:
    np.testing.assert_array_equal(getattr(copy, field), getattr(dataset, field))
    assert getattr(copy, field).dtype == getattr(dataset, field).dtype


@pytest.mark.parametrize('compress', [False, True])
def test_equal_data_sets_give_equal_npz_bytes(
  tmp_path: pathlib.Path, compress: bool
):
  for name in 'ab':
    write_npz(tmp_path / name, make_fake(), compress=compress)
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_npz_is_written_whole_or_not_at_all(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  path = tmp_path / 'fake.npz'
  write_npz(path, make_fake(seed=1))
  before = path.read_bytes()

  def fail_half_way(file: Any, **arrays: np.ndarray) -> None:
    file.write(b'half')
    raise OSError('disk full')

  monkeypatch.setattr(np, 'savez', fail_half_way)
  with pytest.raises(OSError, match='disk full'):
    write_npz(path, make_fake(seed=2))
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]


def test_npz_rewritten_during_a_read_leaves_the_read_whole(
  tmp_path: pathlib.Path,
):
  path = tmp_path / 'fake.npz'
  write_npz(path, make_fake(seed=1))
  before = path.read_bytes()
  with path.open('rb') as file:
    write_npz(path, make_fake(seed=2))
    assert file.read() == before
  assert path.read_bytes() != before


def test_every_damaged_npz_raises(tmp_path: pathlib.Path):
  path = tmp_path / 'fake.npz'
  write_npz(path, make_fake())
  whole = path.read_bytes()
  flipped = bytearray(whole)
  flipped[len(whole) // 2] ^= 1
  np.savez(tmp_path / 'other.npz', train_inputs=np.zeros(3))
  np.save(tmp_path / 'other.npy', np.zeros(3))
  damaged = {
    'empty': b'',
    'text': b'not an archive',
    'cut': whole[: len(whole) // 2],
    'flipped bit': bytes(flipped),
    'other fields': (tmp_path / 'other.npz').read_bytes(),
    'single array': (tmp_path / 'other.npy').read_bytes(),
  }
  for what, content in damaged.items():
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'fake\.npz .*: the cure$') as info:
      read_npz(path, what, cure='the cure')
    assert '\n' not in str(info.value)


def test_npz_of_an_earlier_version_is_read(tmp_path: pathlib.Path):
  dataset = make_fake()
  names = ('train_images', 'train_labels', 'test_images', 'test_labels')
  former = {
    name: getattr(dataset, field)
    for name, field in zip(names, ARRAYS, strict=True)
  }
  np.savez(tmp_path / 'old.npz', num_classes=10, **former)
  copy = read_npz(tmp_path / 'old.npz', 'old', cure='')
  np.testing.assert_array_equal(copy.test_targets, dataset.test_targets)


def test_source_that_is_no_file_raises():
  with pytest.raises(FileNotFoundError, match=r"'a\.npz': there is no such"):
    load('a.npz')


def test_missing_npz_raises(tmp_path: pathlib.Path):
  with pytest.raises(FileNotFoundError):
    read_npz(tmp_path / 'none.npz', 'none', cure='')
