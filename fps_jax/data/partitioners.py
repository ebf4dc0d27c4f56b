"""Splits of a data set over the clients of a federation.

A partitioner maps targets [n, ...] and num_clients, in [1, n], to an array of
example indices for each client. Those that read labels take integers [n] alone,
`natural` takes client numbers in place of targets, and the others look at
nothing but how many examples there are. Every partitioner in this file
guarantees that

* each example belongs to exactly one client, so that the arrays are disjoint
  and cover 0..n-1;
* every client has at least one example;
* each array is sorted int32;
* equal arguments and equal states of `rng`, which advances, give equal arrays;
* an argument out of range raises ValueError.

References:
  McMahan et al., "Communication-Efficient Learning of Deep Networks from
    Decentralized Data", AISTATS 2017, section 3 (shards).
  Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution
    for Federated Visual Classification", 2019 (Dirichlet label skew).
  Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural
    Networks", ICML 2019 (the per-class form of it).
"""

import numpy as np

from fps_jax.core.registry import Registry
from fps_jax.data.dataset import is_label

# Above this a Dirichlet draw is uniform to 4 digits, and far above it the
# gamma variates that NumPy normalises overflow.
MAX_ALPHA = 1e9


def iid(
  targets: np.ndarray, num_clients: int, rng: np.random.Generator
) -> list[np.ndarray]:
  """Deals the examples at random, in sizes that differ by at most 1.

  >>> targets = np.array([0, 0, 1, 1, 1])
  >>> [len(part) for part in iid(targets, 2, np.random.default_rng(0))]
  [3, 2]
  """
  _check_count(len(targets), num_clients)
  owners = rng.permutation(np.arange(len(targets)) % num_clients)
  return _indices_by_owner(owners, num_clients)


def natural(
  clients: np.ndarray, num_clients: int, rng: np.random.Generator
) -> list[np.ndarray]:
  """Leaves each example with the client that the data says it belongs to.

  Clients are in ascending order of their numbers in the data, of which there
  must be `num_clients`. Nothing is drawn.

  >>> clients = np.array([17, 4, 17])
  >>> [part.tolist() for part in natural(clients, 2, np.random.default_rng(0))]
  [[1], [0, 2]]
  """
  del rng
  numbers, owners = np.unique(clients, return_inverse=True)
  if len(numbers) != num_clients:
    raise ValueError(
      f'num_clients={num_clients} is not the {len(numbers)} clients of the '
      f'data, as the natural partition has it: set data.num_clients='
      f'{len(numbers)}'
    )
  return _indices_by_owner(owners, num_clients)


def dirichlet(
  labels: np.ndarray,
  num_clients: int,
  rng: np.random.Generator,
  alpha: float = 0.5,
  min_examples: int = 1,
  max_tries: int = 1000,
) -> list[np.ndarray]:
  """Splits each class over the clients in proportions drawn from Dir(alpha).

  A small alpha gives each class to few clients; a large one approaches equal
  shares of every class. All proportions are drawn again until each client has
  `min_examples`, so the result follows the Dirichlet law conditioned on that.

  `alpha` is in (0, 1e9], `min_examples` in [1, n / num_clients]. ValueError is
  raised, too, where none of `max_tries` draws, at least 1, gives every client
  that many.
  """
  _check(labels, num_clients)
  _check_alpha(alpha)
  _check_min_examples(min_examples, num_clients, len(labels))
  if max_tries < 1:
    raise ValueError(f'max_tries={max_tries} is below 1: raise it')
  class_sizes = np.unique(labels, return_counts=True)[1]
  for _ in range(max_tries):
    shares = rng.dirichlet(np.full(num_clients, alpha), size=len(class_sizes))
    sizes = split_totals(class_sizes, shares)
    if sizes.sum(axis=0).min() >= min_examples:
      break
  else:
    raise ValueError(
      f'no draw of max_tries={max_tries} gave each of '
      f'num_clients={num_clients} clients min_examples={min_examples} of '
      f'{len(labels)} examples at alpha={alpha}: raise alpha or max_tries, '
      'or lower num_clients or min_examples'
    )
  owners = np.empty(len(labels), np.int64)
  clients = np.tile(np.arange(num_clients), len(class_sizes))
  owners[_order_by_label(labels, rng)] = np.repeat(clients, sizes.ravel())
  return _indices_by_owner(owners, num_clients)


def shards(
  labels: np.ndarray,
  num_clients: int,
  rng: np.random.Generator,
  shards_per_client: int = 2,
) -> list[np.ndarray]:
  """Deals each client a few contiguous shards of the examples in label order.

  Shard sizes differ by at most 1. Where no shard straddles two classes, a
  client sees at most `shards_per_client` classes, in [1, n / num_clients].

  >>> labels = np.repeat([0, 1, 2, 3], 5)
  >>> parts = shards(labels, 2, np.random.default_rng(0))
  >>> [len(np.unique(labels[part])) for part in parts]
  [2, 2]
  """
  _check(labels, num_clients)
  num_shards = num_clients * shards_per_client
  if not 1 <= shards_per_client <= len(labels) // num_clients:
    raise ValueError(
      f'shards_per_client={shards_per_client} is outside '
      f'[1, {len(labels) // num_clients}], as {len(labels)} examples allow '
      f'for num_clients={num_clients}: change one of them'
    )
  # Dealt out evenly, then shuffled: who owns what is random, how many is not.
  owner_of_shard = rng.permutation(
    np.repeat(np.arange(num_clients), shards_per_client)
  )
  shard_of_rank = np.arange(len(labels)) * num_shards // len(labels)
  owners = np.empty(len(labels), np.int64)
  owners[_order_by_label(labels, rng)] = owner_of_shard[shard_of_rank]
  return _indices_by_owner(owners, num_clients)


def quantity_skew(
  targets: np.ndarray,
  num_clients: int,
  rng: np.random.Generator,
  alpha: float = 0.5,
  min_examples: int = 1,
) -> list[np.ndarray]:
  """Gives clients unequal numbers of examples, with labels IID.

  Each client gets `min_examples`, in [1, n / num_clients], and the rest is
  split in proportions drawn from Dir(alpha), so that no draw is rejected.
  `alpha` is in (0, 1e9]: the smaller, the less equal the sizes.
  """
  _check_count(len(targets), num_clients)
  _check_alpha(alpha)
  _check_min_examples(min_examples, num_clients, len(targets))
  spare = np.array([len(targets) - num_clients * min_examples])
  shares = rng.dirichlet(np.full(num_clients, alpha), size=1)
  sizes = min_examples + split_totals(spare, shares)[0]
  owners = rng.permutation(np.repeat(np.arange(num_clients), sizes))
  return _indices_by_owner(owners, num_clients)


PARTITIONERS: Registry[list[np.ndarray]] = Registry(
  'partition',
  {
    'iid': iid,
    'natural': natural,
    'dirichlet': dirichlet,
    'shards': shards,
    'quantity_skew': quantity_skew,
  },
  num_first=3,
)
# Those that are given client numbers in place of targets.
OF_CLIENTS = {'natural'}


def _check(labels: np.ndarray, num_clients: int) -> None:
  """Raises ValueError unless labels are integers [n], n >= num_clients >= 1."""
  if not is_label(labels):
    raise ValueError(
      f'labels are {labels.dtype} {labels.shape}, not integers [n]: pass '
      'one class number per example, or deal other targets by the partition '
      'iid, natural or quantity_skew'
    )
  _check_count(len(labels), num_clients)


def _check_count(num_examples: int, num_clients: int) -> None:
  """Raises ValueError unless every client can have an example."""
  if not 1 <= num_clients <= num_examples:
    raise ValueError(
      f'num_clients={num_clients} is outside [1, {num_examples}], the number '
      'of examples: every client needs at least one'
    )


def _check_alpha(alpha: float) -> None:
  """Raises ValueError unless alpha is in (0, MAX_ALPHA]."""
  if not 0 < alpha <= MAX_ALPHA:
    raise ValueError(
      f'alpha={alpha} is outside (0, {MAX_ALPHA:g}]: use 0.1 for strong '
      'skew, 100 for little, or the partition iid for none'
    )


def _check_min_examples(
  min_examples: int, num_clients: int, num_examples: int
) -> None:
  """Raises ValueError unless every client can get 1 <= min_examples."""
  if not 1 <= min_examples <= num_examples // num_clients:
    raise ValueError(
      f'min_examples={min_examples} is outside '
      f'[1, {num_examples // num_clients}], as {num_examples} examples '
      f'allow for num_clients={num_clients}: change one of them'
    )


def split_totals(totals: np.ndarray, shares: np.ndarray) -> np.ndarray:
  """Splits totals [rows] in whole parts near shares [rows, parts] of sum 1.

  Each row sums to its total exactly, and each sum of its first parts is within
  1 of the share of them.
  """
  totals = totals[:, np.newaxis]
  # Rounding running sums, not parts, keeps the total.
  cuts = np.floor(np.cumsum(shares, axis=1)[:, :-1] * totals).astype(np.int64)
  return np.diff(np.minimum(cuts, totals), prepend=0, append=totals)


def _order_by_label(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns indices that sort the labels, equal labels in random order."""
  order = rng.permutation(len(labels))
  return order[np.argsort(labels[order], kind='stable')]


def _indices_by_owner(owners: np.ndarray, num_clients: int) -> list[np.ndarray]:
  """Turns the client of each example into the sorted examples of each."""
  order = np.argsort(owners, kind='stable').astype(np.int32)
  sizes = np.bincount(owners, minlength=num_clients)
  return np.split(order, np.cumsum(sizes)[:-1])
