"""Tests of `fps_jax.data.partition`, most of them over all partitioners."""

import numpy as np
import pytest

from fps_jax.data import (
  PARTITIONERS,
  dirichlet,
  iid,
  partition,
  quantity_skew,
  shards,
)

NAMES = sorted(set(PARTITIONERS) - {'natural'})
SIZES = [(2, 1), (40, 1), (40, 3), (101, 7), (1000, 50)]


def make_labels(count: int, num_classes: int = 10) -> np.ndarray:
  rng = np.random.default_rng(count)
  return rng.integers(num_classes, size=count, dtype=np.int32)


def split(name: str, labels: np.ndarray, num_clients: int, seed: int = 0):
  return partition(name, labels, num_clients, np.random.default_rng(seed))


def class_counts(labels: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
  """Returns int [num_clients, num_classes]."""
  num_classes = labels.max() + 1
  return np.stack(
    [np.bincount(labels[part], minlength=num_classes) for part in parts]
  )


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('count', 'num_clients'), SIZES)
@pytest.mark.parametrize('seed', range(3))
def test_parts_are_disjoint_and_cover(
  name: str, count: int, num_clients: int, seed: int
):
  parts = split(name, make_labels(count), num_clients, seed)
  assert len(parts) == num_clients
  np.testing.assert_array_equal(
    np.sort(np.concatenate(parts)), np.arange(count)
  )


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('count', 'num_clients'), SIZES)
@pytest.mark.parametrize('seed', range(3))
def test_every_client_has_an_example(
  name: str, count: int, num_clients: int, seed: int
):
  parts = split(name, make_labels(count), num_clients, seed)
  assert min(len(part) for part in parts) >= 1


@pytest.mark.parametrize('name', NAMES)
def test_parts_are_sorted_int32(name: str):
  for part in split(name, make_labels(200), 7):
    assert part.dtype == np.int32
    assert np.all(np.diff(part) > 0)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('seed', range(3))
def test_equal_generators_give_equal_parts(name: str, seed: int):
  labels = make_labels(300)
  first = split(name, labels, 6, seed)
  second = split(name, labels, 6, seed)
  for one, other in zip(first, second, strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('name', NAMES)
def test_generators_of_other_seeds_give_other_parts(name: str):
  labels = make_labels(300)
  first, second = (split(name, labels, 6, seed) for seed in (0, 1))
  assert any(
    not np.array_equal(one, other)
    for one, other in zip(first, second, strict=True)
  )


@pytest.mark.parametrize('name', NAMES)
def test_targets_are_not_changed(name: str):
  labels = make_labels(300)
  split(name, labels, 6)
  np.testing.assert_array_equal(labels, make_labels(300))


@pytest.mark.parametrize('name', NAMES)
def test_targets_need_not_be_contiguous_class_numbers(name: str):
  labels = np.array([-5, 1000, -5, 7, 1000, 7, 7, 7])
  parts = split(name, labels, 2)
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(8))


@pytest.mark.parametrize('name', ['iid', 'shards', 'quantity_skew'])
@pytest.mark.parametrize('count', [1, 2, 30])
def test_as_many_clients_as_examples_get_one_each(name: str, count: int):
  arguments = {'shards_per_client': 1} if name == 'shards' else {}
  parts = partition(
    name, make_labels(count), count, np.random.default_rng(0), **arguments
  )
  assert [len(part) for part in parts] == [1] * count


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('num_clients', [-1, 0, 11])
def test_num_clients_out_of_range_raises(name: str, num_clients: int):
  message = rf'num_clients={num_clients} is outside \[1, 10\]'
  with pytest.raises(ValueError, match=message):
    split(name, make_labels(10), num_clients)


@pytest.mark.parametrize('name', ['dirichlet', 'shards'])
@pytest.mark.parametrize('labels', [np.zeros(4), np.zeros((4, 1), np.int32)])
def test_targets_that_are_not_integers_n_raise(name: str, labels: np.ndarray):
  with pytest.raises(ValueError, match='pass one class number per example'):
    split(name, labels, 2)


@pytest.mark.parametrize('name', ['dirichlet', 'quantity_skew'])
@pytest.mark.parametrize('alpha', [0.0, -1.0, np.nan, np.inf, 2e9])
def test_alpha_out_of_range_raises(name: str, alpha: float):
  with pytest.raises(ValueError, match=rf'alpha={alpha} is outside \(0, 1e'):
    partition(name, make_labels(10), 2, np.random.default_rng(0), alpha=alpha)


@pytest.mark.parametrize('name', ['dirichlet', 'quantity_skew'])
@pytest.mark.parametrize('min_examples', [-1, 0, 4])
def test_min_examples_out_of_range_raises(name: str, min_examples: int):
  message = rf'min_examples={min_examples} is outside \[1, 3\]'
  with pytest.raises(ValueError, match=message):
    partition(
      name,
      make_labels(10),
      3,
      np.random.default_rng(0),
      min_examples=min_examples,
    )


@pytest.mark.parametrize('name', ['dirichlet', 'quantity_skew'])
@pytest.mark.parametrize('min_examples', [1, 5, 20])
@pytest.mark.parametrize('seed', range(5))
def test_every_client_has_min_examples(name: str, min_examples: int, seed: int):
  parts = partition(
    name,
    make_labels(400),
    5,
    np.random.default_rng(seed),
    min_examples=min_examples,
  )
  assert min(len(part) for part in parts) >= min_examples


@pytest.mark.parametrize('name', ['dirichlet', 'quantity_skew'])
def test_largest_alpha_gives_equal_shares(name: str):
  labels = np.repeat(np.arange(4), 250)
  parts = partition(name, labels, 5, np.random.default_rng(0), alpha=1e9)
  sizes = [len(part) for part in parts]
  assert max(sizes) - min(sizes) <= 8


def test_iid_sizes_differ_by_at_most_one():
  for count, num_clients in SIZES:
    parts = split('iid', make_labels(count), num_clients)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_iid_classes_are_mixed():
  labels = np.repeat(np.arange(10), 1000)
  counts = class_counts(labels, iid(labels, 10, np.random.default_rng(0)))
  # Each count is hypergeometric with mean 100 and standard deviation 9.
  assert np.all(np.abs(counts - 100) < 45)


@pytest.mark.parametrize('alpha', [0.1, 0.5, 5.0])
def test_dirichlet_shares_have_the_moments_of_dir_alpha(alpha: float):
  num_clients = 5
  labels = np.repeat(np.arange(200), 200)
  parts = dirichlet(labels, num_clients, np.random.default_rng(0), alpha=alpha)
  shares = class_counts(labels, parts) / 200
  variance = (
    (1 / num_clients) * (1 - 1 / num_clients) / (num_clients * alpha + 1)
  )
  np.testing.assert_allclose(shares.mean(axis=1), 1 / num_clients, atol=0.1)
  np.testing.assert_allclose(shares.var(), variance, rtol=0.15)
  assert not np.isclose(shares.var(), variance * 1.5, rtol=0.15)
  assert not np.isclose(shares.var(), variance / 1.5, rtol=0.15)


def test_dirichlet_gives_up_after_max_tries():
  message = r'no draw of max_tries=3 .*min_examples=10 .*alpha=0\.001: raise'
  with pytest.raises(ValueError, match=message):
    dirichlet(
      make_labels(100),
      10,
      np.random.default_rng(0),
      alpha=1e-3,
      min_examples=10,
      max_tries=3,
    )


def test_dirichlet_max_tries_below_one_raises():
  with pytest.raises(ValueError, match='max_tries=0 is below 1'):
    dirichlet(make_labels(9), 3, np.random.default_rng(0), max_tries=0)


@pytest.mark.parametrize('shards_per_client', [1, 2, 5])
@pytest.mark.parametrize('seed', range(3))
def test_shards_bound_the_classes_of_a_client(
  shards_per_client: int, seed: int
):
  rng = np.random.default_rng(seed)
  labels = rng.permutation(np.repeat(np.arange(10), 100))
  parts = shards(labels, 20, rng, shards_per_client=shards_per_client)
  classes = np.count_nonzero(class_counts(labels, parts), axis=1)
  assert classes.max() <= shards_per_client
  assert {len(part) for part in parts} == {50}


def test_shard_sizes_differ_by_at_most_one():
  for count in range(20, 60, 7):
    parts = shards(
      make_labels(count), 6, np.random.default_rng(0), shards_per_client=1
    )
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_shards_of_one_class_are_not_contiguous():
  labels = np.zeros(100, np.int32)
  part = shards(labels, 2, np.random.default_rng(0), shards_per_client=1)[0]
  assert np.any(np.diff(part) > 1)


@pytest.mark.parametrize('shards_per_client', [-1, 0, 4])
def test_shards_per_client_out_of_range_raises(shards_per_client: int):
  message = rf'shards_per_client={shards_per_client} is outside \[1, 3\]'
  with pytest.raises(ValueError, match=message):
    shards(
      make_labels(10),
      3,
      np.random.default_rng(0),
      shards_per_client=shards_per_client,
    )


@pytest.mark.parametrize('alpha', [0.1, 0.5, 5.0])
def test_quantity_skew_sizes_have_the_variance_of_dir_alpha(alpha: float):
  num_clients = 200
  labels = make_labels(200_000)
  parts = quantity_skew(
    labels, num_clients, np.random.default_rng(0), alpha=alpha
  )
  shares = np.array([len(part) for part in parts]) / len(labels)
  mean = 1 / num_clients
  variance = mean * (1 - mean) / (num_clients * alpha + 1)
  np.testing.assert_allclose(shares.var(), variance, rtol=0.4)


def test_quantity_skew_keeps_labels_iid():
  labels = np.repeat(np.arange(2), 20_000)
  parts = quantity_skew(labels, 5, np.random.default_rng(0), alpha=1.0)
  for part in parts:
    tolerance = 5 * 0.5 / np.sqrt(len(part))
    assert abs(labels[part].mean() - 0.5) < tolerance


def test_unknown_partition_raises_and_lists_the_known_ones():
  with pytest.raises(
    ValueError, match=r"'idd' is not one of .*dirichlet', 'iid'"
  ):
    split('idd', make_labels(10), 2)


def test_natural_partition_keeps_to_the_clients_of_the_data():
  clients = np.array([900, -3, 900, 12, -3, 12, 12])
  rng = np.random.default_rng(0)
  parts = partition('natural', make_labels(7), 3, rng, clients)
  assert [part.tolist() for part in parts] == [[1, 4], [3, 5, 6], [0, 2]]
  assert {part.dtype for part in parts} == {np.dtype(np.int32)}


def test_natural_partition_takes_the_number_of_clients_that_there_are():
  clients = np.array([4, 4, 9])
  with pytest.raises(ValueError, match=r'num_clients=5 is not the 2 .*=2$'):
    partition('natural', clients, 5, np.random.default_rng(0), clients)


def test_natural_partition_of_data_without_clients_is_refused():
  with pytest.raises(ValueError, match=r'give the data set train_clients.*iid'):
    partition('natural', make_labels(7), 3, np.random.default_rng(0))


@pytest.mark.parametrize('name', ['iid', 'quantity_skew'])
@pytest.mark.parametrize('labels', [np.zeros(4), np.zeros((4, 1), np.int32)])
def test_partitioners_that_read_no_labels_take_any_targets(name, labels):
  assert sum(map(len, split(name, labels, 2))) == 4
