"""What is seen of clients' updates, and what an attacker expects to see.

Each view shows:

- `plain`: the sum of the updates, in float32;
- `opened`: the sum, as k servers' shares open to it; of one client, what the
  central server sees with `reveal='updates'`;
- `below_t`: shares of k - l servers, interpolated and decoded as if they were
  enough;
- `one_below_k`: what shares of k - 1 servers that hold l > 1 secrets a word say
  about them: l - 1 relations of two values;
- `noise`: noise that has nothing to do with any update;
- `noised`: the sum of clipped updates under the noise of `fps_jax.privacy`;
- `sketched`: signed sums of the entries that share a bucket.

Pruning is no view: what is pruned is not trained, by the client as by the
attacker, who knows the mask. Throughout, `codec` turns floats to words of a
field, over which `scheme` shares them, k of N.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import Array, Key
from fps_jax.sharing import randomness
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch


class See(Protocol):
  """What is seen of the updates of a round."""

  def __call__(self, updates_CxD: Array, seed: int) -> Array:
    """Returns float32 [V]; `seed` is of all that is drawn in the round."""


class Expect(Protocol):
  """What an attacker takes updates to look like; can be differentiated."""

  def __call__(self, updates_CxD: Array) -> Array:
    """Returns float32 [V]."""


class View(NamedTuple):
  """One party's view of a round: what it sees, and expects to see."""

  see: See
  expect: Expect


def total(updates_CxD: Array) -> Array:
  """Returns the sum of the updates, float32 [D]."""
  return jnp.sum(updates_CxD, axis=0)


def plain() -> View:
  """Returns the view of updates that are added in the clear."""
  return View(lambda updates_CxD, seed: total(updates_CxD), total)


@functools.cache
def opened(codec: Codec, scheme: Shamir) -> View:
  """Returns the view of the central server, which opens the sum."""
  protocol = _protocol(codec, scheme)

  @jax.jit
  def open_sum(shares_CxNxW):
    empty = protocol.zeros(shares_CxNxW.shape[-1])
    alive = jnp.ones(len(shares_CxNxW), bool)
    sums = protocol.add(empty, shares_CxNxW, alive, protocol.opening)
    return protocol.decode(protocol.open(sums, protocol.opening))

  def see(updates_CxD, seed):
    shares_CxNxW = _deal(codec, scheme, updates_CxD, seed)
    return open_sum(shares_CxNxW)[: updates_CxD.shape[1]]

  return View(see, total)


def below_t(codec: Codec, scheme: Shamir) -> View:
  """Returns the view of t = k - l servers of one client's update.

  They are the last ones, whose shares depend on the secrets: the first t hold
  the random words themselves.

  Raises:
    ValueError: if k = l, so that no server learns nothing.
  """
  num_shares = scheme.num_random
  if not num_shares:
    raise ValueError(
      f'threshold={scheme.threshold} with secrets_per_polynomial='
      f'{scheme.secrets_per_polynomial} has no random word: raise the threshold'
    )
  servers = scheme.server_points[-num_shares:]
  matrix = scheme.field.lagrange_matrix(servers, scheme.secret_points)

  @jax.jit
  def guess(shares_ZxW):
    words_LxW = scheme.field.matmul(matrix, shares_ZxW)
    return codec.decode(words_LxW).T.ravel()

  def see(updates_CxD, seed):
    shares_NxW = _deal(codec, scheme, updates_CxD[:1], seed)[0]
    return guess(shares_NxW[-num_shares:])[: updates_CxD.shape[1]]

  return View(see, total)


def one_below_k(codec: Codec, scheme: Shamir) -> View:
  """Returns the view of the last k - 1 servers of one client's update.

  The l secrets of a word lie on a line that these shares fix: l - 1 relations
  a * (secret i) - b * (first secret) = known. Values are small, so that for
  small integers a and b nothing wraps, and each is a sum of two values, known
  as exactly as the codec rounds.

  Raises:
    ValueError: if l = 1, since k - 1 servers then learn nothing, or if no
      relation is free of wrapping.
  """
  num_secrets = scheme.secrets_per_polynomial
  if num_secrets == 1:
    raise ValueError(
      'secrets_per_polynomial=1 tells k - 1 servers nothing: use below_t, or '
      'pack more secrets'
    )
  field, num_shares = scheme.field, scheme.threshold - 1
  first, *others = scheme.secret_points
  servers = scheme.server_points[-num_shares:]
  matrix = field.lagrange_matrix((first, *servers), others)
  relations = [small_fraction(int(c), field.modulus) for c in matrix[:, 0]]
  largest = max(abs(b) + a for b, a in relations) * codec.levels
  if 2 * largest >= field.modulus:
    raise ValueError(
      f'relations of values of {codec.value_bits} bits reach {largest}, beyond '
      f'(p - 1) / 2 = {field.modulus // 2}: use a larger prime or fewer bits'
    )

  @jax.jit
  def relate(shares_SxW):
    known_RxW = field.matmul(matrix[:, 1:], shares_SxW)
    denominators_Rx1 = jnp.uint32([[a] for _, a in relations])
    return codec.decode(field.multiply(known_RxW, denominators_Rx1)).T.ravel()

  def see(updates_CxD, seed):
    shares_NxW = _deal(codec, scheme, updates_CxD[:1], seed)[0]
    return relate(shares_NxW[-num_shares:])

  def expect(updates_CxD):
    values_M = _pad(total(updates_CxD), num_secrets)
    values_LxW = values_M.reshape(-1, num_secrets).T
    known = [
      a * row_W - b * values_LxW[0]
      for (b, a), row_W in zip(relations, values_LxW[1:], strict=True)
    ]
    return jnp.stack(known).T.ravel()

  return View(see, expect)


def small_fraction(element: int, modulus: int) -> tuple[int, int]:
  """Returns (b, a) with b = a * element mod p and |b| + a least, 0 < a.

  By Thue's lemma one pair has neither above the root of p.

  Args:
    element: in [0, p).
    modulus: the odd prime p.
  """

  def signed(a: int) -> int:
    b = a * element % modulus
    return b - modulus if b > modulus // 2 else b

  candidates = ((signed(a), a) for a in range(1, math.isqrt(modulus) + 1))
  return min(candidates, key=lambda pair: abs(pair[0]) + pair[1])


def noise() -> View:
  """Returns the view of normal noise in place of an update: the baseline."""
  return View(
    lambda updates_CxD, seed: jax.random.normal(
      jax.random.key(seed), updates_CxD.shape[1:]
    ),
    total,
  )


def noised(noise_multiplier: float) -> View:
  """Returns the view of a sum that clients or a server add noise to.

  Updates are longer than the clip, so that each is cut to it. Of one client,
  whose noise is one part of that of n clients, k servers see this with a
  multiplier of 1 / sqrt(n) of that of a sum.

  Args:
    noise_multiplier: standard deviation of the noise over the clip, >= 0.
  """

  def clipped_total(updates_CxD: Array) -> Array:
    norms_Cx1 = jnp.linalg.norm(updates_CxD, axis=1, keepdims=True)
    return total(updates_CxD / norms_Cx1)

  def see(updates_CxD: Array, seed: int) -> Array:
    sum_D = clipped_total(updates_CxD)
    noise_D = jax.random.normal(jax.random.key(seed), sum_D.shape)
    return sum_D + noise_multiplier * noise_D

  return View(see, clipped_total)


def sketched(num_sums: int, key: Key) -> View:
  """Returns the view of what is opened for a defence: a sketch and its check.

  The sums of the range check are of half of the entries each; they count as
  much as those of the sketch, in which every entry is once.

  Args:
    num_sums: signed sums of entries in the sketch; which ones is public.
    key: of the sketch and, folded, of the check.
  """
  check = RangeCheck(None)
  scale = math.sqrt(2 / num_sums)

  def expect(updates_CxD: Array) -> Array:
    update_D = total(updates_CxD)
    sketch = Sketch(num_sums).apply(update_D, key, 0)
    sums = check.apply(update_D, jax.random.fold_in(key, 1), 0)
    return jnp.concatenate([sketch, scale * sums])

  return View(lambda updates_CxD, seed: expect(updates_CxD), expect)


def _pad(values: Array, multiple: int) -> Array:
  """Returns float32 [M], zeros added up to a multiple of some number."""
  return jnp.pad(values, (0, -len(values) % multiple))


@functools.cache
def _protocol(codec: Codec, scheme: Shamir) -> SumProtocol:
  """Returns the protocol in which all servers answer."""
  return ShamirSum(codec, scheme, scheme.server_points)


@functools.cache
def _make_deal(codec: Codec, scheme: Shamir) -> Callable[..., Array]:
  """Returns one client's dealing, compiled once for all views and clients."""
  protocol = _protocol(codec, scheme)

  @jax.jit
  def deal(update_D, key, dealing):
    values_M = _pad(update_D, protocol.values_per_column)
    is_count_M = jnp.zeros(values_M.shape, bool)
    none = jnp.int32(0)
    return protocol.lift(values_M, is_count_M, none, key, dealing, none)

  return deal


def _deal(codec: Codec, scheme: Shamir, updates_CxD: Array, seed: int) -> Array:
  """Returns the shares of every client, uint32 [C, N, W]."""
  clients = np.arange(len(updates_CxD), dtype=np.int32)
  protocol = _protocol(codec, scheme)
  assert protocol.make_keys is not None  # Something is shared.
  keys = protocol.make_keys(randomness.root_key(seed), 0, clients)
  rounding_keys = jax.random.split(jax.random.key(seed), len(clients))
  deal = _make_deal(codec, scheme)
  shares = [
    deal(
      updates_CxD[c],
      rounding_keys[c],
      jax.tree.map(lambda leaf, c=c: leaf[c], keys.dealings),
    )
    for c in clients
  ]
  return jnp.stack(shares)
