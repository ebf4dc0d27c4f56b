"""Tests of `fps_jax.data.dataset` and of its .npz form."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from fps_jax.data import Dataset, make_fake
from fps_jax.data.npz_file import read_npz, write_npz

ARRAYS = ('train_images', 'train_labels', 'test_images', 'test_labels')


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


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (np.zeros((6, 8, 8, 1), np.float32), 'dtype float32, not uint8'),
    (np.zeros((6, 8, 8), np.uint8), r'shape \(6, 8, 8\), not \[n, height'),
    (np.zeros((0, 8, 8, 1), np.uint8), 'holds no pixel'),
    (np.zeros((6, 8, 0, 1), np.uint8), 'holds no pixel'),
  ],
)
def test_invalid_images_raise(split: str, images: np.ndarray, message: str):
  with pytest.raises(ValueError, match=f'fake: {split}_images .*{message}'):
    with_changes(**{f'{split}_images': images})


@pytest.mark.parametrize(('split', 'count'), [('train', 6), ('test', 4)])
def test_invalid_labels_raise(split: str, count: int):
  labels = np.zeros(count, np.int32)
  invalid = {
    'dtype int64, not int32': labels.astype(np.int64),
    rf'shape \({count - 1},\), not \({count},\)': labels[1:],
    rf'shape \({count}, 1\)': labels[:, np.newaxis],
    r'span \[-1, -1\], outside \[0, 3\)': labels - 1,
    r'span \[3, 3\], outside \[0, 3\)': labels + 3,
  }
  for message, bad_labels in invalid.items():
    with pytest.raises(ValueError, match=f'fake: {split}_labels .*{message}'):
      with_changes(**{f'{split}_labels': bad_labels})


def test_train_and_test_images_of_unequal_shape_raise():
  with pytest.raises(ValueError, match=r'\(8, 8, 1\) and test .*\(8, 9, 1\)'):
    with_changes(test_images=np.zeros((4, 8, 9, 1), np.uint8))


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
  np.savez(tmp_path / 'other.npz', train_images=np.zeros(3))
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


def test_missing_npz_raises(tmp_path: pathlib.Path):
  with pytest.raises(FileNotFoundError):
    read_npz(tmp_path / 'none.npz', 'none', cure='')
