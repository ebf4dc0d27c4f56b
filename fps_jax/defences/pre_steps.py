"""Pre-steps: what becomes of updates before a rule weighs them.

Every update becomes a mean of several, or of itself, or is left out.

A pre-step is a matrix A of such means, [C, C]: the Gram matrix becomes
A gram A^T, and weights w' of the means are weights A^T w' of the clients.

Every pre-step takes gram_CxC, float32 [C, C] as `gram.leave_out` returns it,
present_C, bool [C], num_malicious, int32 [], f, which may be traced, and a key,
which is consumed. It raises ValueError where an argument does not fit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core import registry
from fps_jax.core.types import Array, Key
from fps_jax.defences import gram, order


class Mixing(NamedTuple):
  """Means of updates, and what the rule is to think of them.

  Attributes:
    matrix_CxC: float32 [C, C], the weights of each mean in a row, at least 0
      and of sum 1; 0 in rows that are no mean and columns of the absent.
    present_C: bool [C], which rows are a mean.
    num_malicious: int32 [], how many of the means may be malicious.
  """

  matrix_CxC: Array
  present_C: Array
  num_malicious: Array | int


def nnm(
  gram_CxC: Array, present_C: Array, num_malicious: Array | int, key: Key
) -> Mixing:
  """Returns nearest-neighbour mixing: means of the n - f nearest, with oneself.

  n - f counts as 1 where it is less. Of equal distances the lowest index is
  nearer. Of f malicious clients, f means are still called malicious.

  Reference: Y. Allouah, S. Farhadkhani, R. Guerraoui, N. Gupta, R. Pinot and
  J. Stephan, Fixing by mixing: a recipe for optimal Byzantine ML under
  heterogeneity, AISTATS 2023.
  """
  gram.check(gram_CxC, present_C, num_malicious)
  del key
  size = jnp.maximum(order.count(present_C) - num_malicious, 1)
  distances_CxC = gram.squared_distances(gram_CxC)
  distances_CxC = jnp.where(present_C, distances_CxC, jnp.inf)
  # Nobody is nearer than oneself, not even a copy.
  distances_CxC = jnp.where(jnp.eye(len(present_C)) > 0, -1.0, distances_CxC)
  near_CxC = order.ranks(distances_CxC) < size
  matrix_CxC = (near_CxC & present_C[:, None]) / jnp.float32(size)
  return Mixing(matrix_CxC, present_C, num_malicious)


def trust(
  gram_VxV: Array, present_C: Array, num_malicious: Array | int, key: Key
) -> Mixing:
  """Returns the updates as they are, without those that the root contradicts.

  Whoever's inner product with the root update is not above 0 is left out. That
  is the half of FLTrust that gives no weight to a negative cosine; those that
  are left count alike, whatever their cosine, until a rule weighs them. Of f
  malicious clients, f may still be among them.

  Reference: X. Cao, M. Fang, J. Liu and N. Z. Gong, FLTrust: Byzantine-robust
  federated learning via trust bootstrapping, NDSS 2021.

  `gram_VxV`, float32 [C + 1, C + 1], has the root update in the last row.
  """
  gram.check(gram_VxV, present_C, num_malicious, num_roots=1)
  del key
  trusted_C = present_C & (gram_VxV[-1, :-1] > 0)
  return Mixing(
    jnp.diag(trusted_C.astype(jnp.float32)), trusted_C, num_malicious
  )


def bucketing(
  gram_CxC: Array,
  present_C: Array,
  num_malicious: Array | int,
  key: Key,
  *,
  size: int,
) -> Mixing:
  """Returns means over random buckets of `size` clients, at least 1.

  The last of the ceil(n/size) buckets may hold fewer, down to a single client.
  The f malicious clients are in at most f buckets, all of them at worst, so the
  rule afterwards has to bear min(f, buckets) of the buckets: `size` can be no
  larger than what leaves it enough of them (`defences.check`).

  Reference: S. P. Karimireddy, L. He and M. Jaggi, Byzantine-robust learning on
  heterogeneous datasets via bucketing, ICLR 2022.
  """
  gram.check_present(present_C, num_malicious)
  del gram_CxC
  registry.check_whole('size', size, least=1)
  num_clients = len(present_C)
  # The absent come last, and leave no holes in the buckets before.
  draws_C = jnp.where(
    present_C, jax.random.uniform(key, (num_clients,)), jnp.inf
  )
  places_C = order.ranks(draws_C)
  is_in_CxC = jnp.arange(num_clients)[:, None] == places_C // size
  is_in_CxC = is_in_CxC & present_C
  members_C = jnp.sum(is_in_CxC, axis=1, dtype=jnp.int32)
  matrix_CxC = is_in_CxC / jnp.float32(jnp.maximum(members_C, 1))[:, None]
  num_buckets = jnp.sum(members_C > 0, dtype=jnp.int32)
  return Mixing(
    matrix_CxC, members_C > 0, jnp.minimum(num_malicious, num_buckets)
  )
