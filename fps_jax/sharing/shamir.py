"""Shamir secret sharing of vectors, as constant Lagrange matrices.

A secret word s is the value at 0 of a polynomial of degree k - 1 over the
field; server i (i = 1 .. N) holds the value at i. Any k values fix the
polynomial, k - 1 of them say nothing about s.

The polynomial is fixed here by s and by k - 1 uniformly random *values*, the
shares of servers 1 .. k - 1, rather than by random coefficients: for every s
the one is a bijection of the other, so this is the same scheme, and sharing
becomes one constant matrix: Lagrange((0, 1 .. k-1) -> (1 .. N)).

Reference: A. Shamir, How to share a secret, CACM 22(11), 1979.

Example:
  >>> import jax, jax.numpy as jnp
  >>> scheme = Shamir(PrimeField(2**31 - 1), num_servers=5, threshold=3)
  >>> shares = scheme.share(jnp.uint32([7, 42]), jax.random.key(0))
  >>> shares.shape
  (5, 2)
  >>> scheme.reconstruct(shares, present=(5, 2, 4)).tolist()
  [7, 42]
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fps_jax.sharing import randomness
from fps_jax.sharing.field import PrimeField
from fps_jax.types import Array, Key

_SECRET_POINT = 0


class Opening(NamedTuple):
  """Which k servers' shares reconstruct, and how.

  Attributes:
    rows_K: int32 [K], rows of the shares: server numbers minus one.
    matrix_1xK: uint32 [1, K], Lagrange(those servers -> the secret).
  """

  rows_K: Array | np.ndarray
  matrix_1xK: Array | np.ndarray


@dataclasses.dataclass(frozen=True)
class Shamir:
  """k-of-N Shamir sharing. Servers are numbered 1 .. N, as their points are.

  Guarantees:
    - correct: any k shares reconstruct the secret;
    - private: any k - 1 shares have the same distribution for every secret,
      given uniform randomness;
    - linear: sums of shares are shares of the sum.

  Attributes:
    field: the prime field.
    num_servers: N >= 1; N < p, since each server needs a point of its own.
    threshold: k, with 1 <= k <= N. With k = 1 every server holds the secret.

  Raises:
    ValueError: if the numbers do not satisfy these bounds.
  """

  field: PrimeField
  num_servers: int
  threshold: int

  def __post_init__(self):
    if self.num_servers >= self.field.modulus:
      raise ValueError(
        f'num_servers={self.num_servers} must be below the field prime '
        f'{self.field.modulus}: use a larger prime or fewer servers'
      )
    if not 1 <= self.threshold <= self.num_servers:
      raise ValueError(
        f'threshold={self.threshold} must be in [1, '
        f'num_servers={self.num_servers}]: lower the threshold or add servers'
      )

  @property
  def num_random(self) -> int:
    """Random words a secret word needs: k - 1, the privacy threshold."""
    return self.threshold - 1

  @functools.cached_property
  def share_matrix(self) -> np.ndarray:
    """uint32 [N, K]: (secret, k - 1 random words) to the N shares."""
    known = (_SECRET_POINT, *range(1, self.threshold))
    return self.field.lagrange_matrix(known, range(1, self.num_servers + 1))

  def share(self, secret_M: Array, key: Key) -> Array:
    """Splits a vector of secrets into one share a server.

    Args:
      secret_M: uint32 [M] field elements.
      key: the key is consumed.

    Returns:
      uint32 [N, M]; row i belongs to server i + 1.
    """
    shape = (self.num_random, *secret_M.shape)
    return self.share_with(secret_M, randomness.uniform(key, shape, self.field))

  def share_with(self, secret_M: Array, random_TxM: Array) -> Array:
    """Splits secrets with the random words given: `share` without the dice.

    Args:
      secret_M: uint32 [M] field elements.
      random_TxM: uint32 [k - 1, M] field elements, uniform and used once.

    Returns:
      uint32 [N, M]; row i belongs to server i + 1.
    """
    inputs_KxM = jnp.concatenate([secret_M[None], random_TxM])
    return self.field.matmul(self.share_matrix, inputs_KxM)

  def present_without(self, missing: Sequence[int]) -> tuple[int, ...]:
    """Returns the numbers of the servers that answer when some do not.

    Args:
      missing: distinct numbers in 1 .. N of the servers that do not answer.

    Raises:
      ValueError: if a number is unknown or repeats, or more than N - k miss.
    """
    numbers = range(1, self.num_servers + 1)
    if len(set(missing)) != len(missing) or not set(missing) <= set(numbers):
      raise ValueError(
        f'missing servers {tuple(missing)} must be distinct numbers from 1 to '
        f'num_servers={self.num_servers}'
      )
    present = tuple(number for number in numbers if number not in missing)
    self.choose_servers(present)
    return present

  def choose_servers(self, present: Sequence[int]) -> tuple[int, ...]:
    """Returns the k servers to reconstruct from: the lowest numbers present.

    Args:
      present: numbers in 1 .. N of the servers that answer, in any order.

    Raises:
      ValueError: if a number is unknown or repeats, or fewer than k answer.
    """
    known = range(1, self.num_servers + 1)
    if len(set(present)) != len(present) or not set(present) <= set(known):
      raise ValueError(
        f'servers {tuple(present)} must be distinct numbers from 1 to '
        f'{self.num_servers}'
      )
    if len(present) < self.threshold:
      raise ValueError(
        f'{len(present)} of {self.num_servers} servers answer, but '
        f'threshold={self.threshold} are needed: at most '
        f'{self.num_servers - self.threshold} may be missing'
      )
    return tuple(sorted(present)[: self.threshold])

  def opening(self, present: Sequence[int]) -> Opening:
    """Returns what reconstructs from k of the servers that are present.

    It is data, not code: a compiled reconstruction serves every choice.

    Args:
      present: numbers of the servers that answer; at least k of 1 .. N.

    Raises:
      ValueError: if fewer than k servers answer, or a number is unknown.
    """
    servers = self.choose_servers(present)
    return Opening(
      rows_K=np.array(servers, np.int32) - 1,
      matrix_1xK=self.field.lagrange_matrix(servers, (_SECRET_POINT,)),
    )

  def open_shares(self, shares_NxM: Array, opening: Opening) -> Array:
    """Recovers the secrets from the k rows that the opening names.

    Args:
      shares_NxM: uint32 [N, M]; other rows are not read.
      opening: from `opening`; may be traced.

    Returns:
      uint32 [M] secrets.

    Raises:
      ValueError: if there is not one row a server.
    """
    if shares_NxM.shape[0] != self.num_servers:
      raise ValueError(
        f'{shares_NxM.shape[0]} rows of shares for num_servers='
        f'{self.num_servers}: give every server a row, zeros where it is absent'
      )
    chosen_KxM = shares_NxM[opening.rows_K]
    return self.field.matmul(opening.matrix_1xK, chosen_KxM)[0]

  def reconstruct(self, shares_NxM: Array, present: Sequence[int]) -> Array:
    """Recovers the secrets from k of the servers that are present.

    Args:
      shares_NxM: uint32 [N, M]; rows of absent servers are not read.
      present: numbers of the servers that answer; at least k of 1 .. N.

    Returns:
      uint32 [M] secrets.

    Raises:
      ValueError: if fewer than k servers answer, or a number is unknown.
    """
    return self.open_shares(shares_NxM, self.opening(present))
