"""Which test examples are whose, so that a client is tested on data like its.

Each client is given rows of the test set, maybe none, as partitioners give it
rows of the training set. No two have one in common.
"""

from collections.abc import Sequence

import numpy as np

from fps_jax.data.dataset import Dataset, is_label
from fps_jax.data.partitioners import split_totals


def deal_alike(
  partition: Sequence[np.ndarray],
  train_targets: np.ndarray,
  test_targets: np.ndarray,
  rng: np.random.Generator,
) -> list[np.ndarray]:
  """Deals the test set as the training set was dealt, by whatever partitioner.

  Guarantees:
    - of each class, a client has the same part of the test examples as of the
      training examples, to within one example; where targets are not one class
      each, it is a part of all examples;
    - each test example of a class that is trained on belongs to one client.

  Args:
    partition: rows of the training set that each client owns; some may be
      nobody's.
    train_targets: of `Dataset`, [n, ...].
    test_targets: like them.
    rng: source of randomness; its state advances.

  Returns:
    Sorted int32 rows of the test set for each client.
  """
  owned = np.concatenate(partition)
  owners = np.repeat(np.arange(len(partition)), [len(p) for p in partition])
  trained, tested = (
    targets if is_label(targets) else np.zeros(len(targets), np.int32)
    for targets in (train_targets[owned], test_targets)
  )
  own: list[list[np.ndarray]] = [[] for _ in partition]
  for kind in np.unique(trained):
    rows = rng.permutation(np.flatnonzero(tested == kind))
    counts = np.bincount(owners[trained == kind], minlength=len(partition))
    # In random order, as those that share a rounded example are neighbours.
    order = rng.permutation(len(partition))
    shares = (counts / counts.sum())[order]
    sizes = split_totals(np.array([len(rows)]), shares[np.newaxis])[0]
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    for client, part in zip(order, parts, strict=True):
      own[client].append(part)
  return [np.sort(np.concatenate(parts)).astype(np.int32) for parts in own]


def natural_tests(dataset: Dataset) -> list[np.ndarray]:
  """Returns the test rows of each client of the data, by ascending number.

  Raises:
    ValueError: if the data does not say whose its test examples are, or some
      belong to clients who train on nothing.
  """
  train, test = dataset.train_clients, dataset.test_clients
  if train is None or test is None:
    raise ValueError(
      f'{dataset.name} does not say whose its test examples are: give it '
      'test_clients, or set eval.by_client_every_rounds=0'
    )
  numbers = np.unique(train)
  others = np.setdiff1d(test, numbers)
  if len(others):
    raise ValueError(
      f'{dataset.name}: test_clients has {len(others)} clients that '
      f'train_clients has not, such as {others[0]}: leave out their examples, '
      'or set eval.by_client_every_rounds=0'
    )
  return [np.flatnonzero(test == n).astype(np.int32) for n in numbers]
