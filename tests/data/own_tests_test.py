"""Tests of `fps_jax.data.own_tests`: a client is tested on data like its."""

import dataclasses

import numpy as np
import pytest

from fps_jax.data import make_fake, partition
from fps_jax.data.own_tests import deal_alike, natural_tests

NUM_CLASSES = 4
LABELS = np.random.default_rng(0).integers(NUM_CLASSES, size=900)
TESTS = np.random.default_rng(1).integers(NUM_CLASSES, size=301)
PARTITIONS = ['iid', 'dirichlet', 'shards', 'quantity_skew']


def counts(labels, parts):
  return np.array(
    [np.bincount(labels[p], minlength=NUM_CLASSES) for p in parts]
  )


def deal(name: str, num_clients: int = 20):
  parts = partition(name, LABELS, num_clients, np.random.default_rng(2))
  return parts, deal_alike(parts, LABELS, TESTS, np.random.default_rng(3))


@pytest.mark.parametrize('name', PARTITIONS)
def test_client_has_the_same_part_of_each_class_of_both_sets(name: str):
  trained, tested = (
    counts(labels, parts)
    for labels, parts in zip((LABELS, TESTS), deal(name), strict=True)
  )
  expected = trained / trained.sum(axis=0) * np.bincount(TESTS)
  assert np.abs(tested - expected).max() < 1
  # Of a class that it does not train on, it is tested on nothing.
  assert not np.any(tested[trained == 0])


@pytest.mark.parametrize('name', PARTITIONS)
def test_every_test_example_belongs_to_one_client(name: str):
  parts = deal(name)[1]
  np.testing.assert_array_equal(
    np.sort(np.concatenate(parts)), np.arange(len(TESTS))
  )
  assert all(part.dtype == np.int32 for part in parts)
  assert all(np.all(np.diff(part) > 0) for part in parts)


def test_clients_may_have_no_test_example():
  assert min(map(len, deal('iid', num_clients=400)[1])) == 0


def test_class_that_nobody_trains_on_is_nobodys():
  parts = [np.arange(10), np.arange(10, 20)]
  own = deal_alike(
    parts, np.arange(20) % 2, np.arange(30) % 3, np.random.default_rng(0)
  )
  assert sorted(np.concatenate(own) % 3) == [0] * 10 + [1] * 10


def test_train_examples_of_nobody_do_not_count():
  parts = [np.arange(4), np.arange(8, 20)]
  labels = np.zeros(20, np.int32)
  own = deal_alike(parts, labels, labels, np.random.default_rng(0))
  assert [len(rows) for rows in own] == [5, 15]


def test_targets_that_are_no_label_are_dealt_by_size():
  parts = [np.arange(5), np.arange(5, 20)]
  own = deal_alike(
    parts, np.zeros((20, 3)), np.zeros((40, 3)), np.random.default_rng(0)
  )
  assert [len(rows) for rows in own] == [10, 30]


def test_natural_tests_keep_to_the_clients_of_the_data():
  dataset = dataclasses.replace(
    make_fake(num_train=4, num_test=5),
    train_clients=np.array([7, -2, 30, 7]),
    test_clients=np.array([7, 7, -2, 7, -2]),
  )
  parts = natural_tests(dataset)
  assert [part.tolist() for part in parts] == [[2, 4], [0, 1, 3], []]


def test_natural_tests_of_nobody_or_of_other_clients_are_refused():
  dataset = dataclasses.replace(
    make_fake(num_train=4, num_test=5), train_clients=np.arange(4)
  )
  with pytest.raises(ValueError, match=r'fake does not say .*test_clients'):
    natural_tests(dataset)
  others = dataclasses.replace(dataset, test_clients=np.arange(5) + 2)
  with pytest.raises(ValueError, match=r'has 3 clients .* such as 4: leave'):
    natural_tests(others)
