"""Tests of `fps_jax.attacks.data`, by hand."""

import re

import jax
import numpy as np
import pytest

from fps_jax.attacks import data

LABELS = np.int32([0, 3, 9, 4, 5])
IMAGES = np.random.default_rng(0).integers(
  0, 255, size=(5, 6, 7, 2), dtype=np.uint8
)
EVERY = sorted(data.DATA_ATTACKS)


@pytest.mark.parametrize('name', EVERY)
def test_client_that_is_not_malicious_trains_on_its_own_data(name: str):
  corrupt = jax.jit(data.make_data(name, 10).corrupt)
  for is_malicious in (False, True):
    images, labels = corrupt(IMAGES, LABELS, is_malicious)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert np.array_equal(labels, LABELS) != is_malicious
    if not is_malicious:
      np.testing.assert_array_equal(images, IMAGES)


def test_label_flip_counts_labels_from_the_other_end():
  attack = data.make_data('label_flip', 10)
  images, labels = attack.corrupt(IMAGES, LABELS, np.bool_(True))
  np.testing.assert_array_equal(images, IMAGES)
  np.testing.assert_array_equal(labels, [9, 6, 0, 5, 4])
  assert attack.trigger is None
  assert attack.target is None


@pytest.mark.parametrize('size', [1, 5])
def test_trigger_is_a_white_square_one_pixel_off_the_corner(size: int):
  trigger = data.make_data('backdoor', 10, size=size).trigger
  assert trigger is not None
  triggered = np.asarray(jax.jit(trigger)(IMAGES))
  square = np.zeros((6, 7), bool)
  square[5 - size : 5, 6 - size : 6] = True
  assert square.sum() == size**2
  np.testing.assert_array_equal(triggered[:, square], 255)
  np.testing.assert_array_equal(triggered[:, ~square], IMAGES[:, ~square])


@pytest.mark.parametrize(
  ('fraction', 'count'), [(0.2, 1), (0.5, 2), (0.7, 4), (1.0, 5)]
)
def test_backdoor_poisons_the_first_examples_of_a_batch(
  fraction: float, count: int
):
  # Halves are rounded to even: of 5 examples, a half are 2 and 0.7 are 4.
  attack = data.make_data('backdoor', 10, fraction=fraction, target=7)
  images, labels = jax.jit(attack.corrupt)(IMAGES, LABELS, np.bool_(True))
  triggered, relabelled = IMAGES.copy(), LABELS.copy()
  triggered[:count, 2:5, 3:6] = 255
  relabelled[:count] = attack.target
  assert attack.target == 7
  np.testing.assert_array_equal(images, triggered)
  np.testing.assert_array_equal(labels, relabelled)


def test_clients_of_a_cohort_are_poisoned_each_by_itself():
  attack = data.make_data('backdoor', 10)
  malicious = np.array([False, True, False])
  corrupt = jax.jit(jax.vmap(attack.corrupt, (None, None, 0)))
  images, labels = corrupt(IMAGES, LABELS, malicious)
  changed = (np.asarray(images) != IMAGES).any(axis=(1, 2, 3, 4))
  np.testing.assert_array_equal(changed, malicious)
  relabelled = [LABELS, [0, 0, 9, 4, 5], LABELS]
  np.testing.assert_array_equal(labels, relabelled)


@pytest.mark.parametrize(
  ('name', 'args', 'message'),
  [
    ('flip', {}, "attack 'flip' is not one of ['backdoor', 'label_flip']"),
    ('label_flip', {'size': 3}, "attack 'label_flip' takes the arguments []"),
    ('label_flip', {'num_classes': 1}, 'num_classes=1 must be at least 2'),
    ('backdoor', {'num_classes': 1}, 'num_classes=1 must be at least 2'),
    ('backdoor', {'size': 0}, 'size=0 must be a whole number'),
    ('backdoor', {'size': 1.5}, 'size=1.5 must be a whole number'),
    ('backdoor', {'fraction': 0.0}, 'fraction=0.0 must be in (0, 1]'),
    ('backdoor', {'fraction': 1.1}, 'fraction=1.1 must be in (0, 1]'),
    ('backdoor', {'fraction': np.nan}, 'fraction=nan must be in (0, 1]'),
    ('backdoor', {'target': -1}, 'target=-1 must be a label'),
    ('backdoor', {'target': 10}, 'target=10 must be a label, in [0, num_cl'),
  ],
)
def test_what_is_out_of_range_raises(name: str, args, message: str):
  with pytest.raises(ValueError, match=re.escape(message)):
    data.make_data(name, **{'num_classes': 10, **args})


def test_trigger_that_does_not_fit_raises():
  trigger = data.make_data('backdoor', 10, size=6).trigger
  assert trigger is not None
  with pytest.raises(ValueError, match='size=6 must be less than the height'):
    trigger(IMAGES)


def test_fraction_of_a_batch_that_is_no_example_raises():
  attack = data.make_data('backdoor', 10, fraction=0.1)
  message = re.escape('fraction=0.1 of a batch of 5 is no example')
  with pytest.raises(ValueError, match=message):
    attack.corrupt(IMAGES, LABELS, np.bool_(True))
