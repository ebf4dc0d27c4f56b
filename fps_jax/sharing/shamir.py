"""Shamir secret sharing of vectors, as constant Lagrange matrices.

A column of l secrets is the values of one polynomial of degree k - 1 at l
secret points; server i (i = 1 .. N) holds its value at i. Any k values fix the
polynomial; any t = k - l of them say nothing about the secrets. With l = 1 this
is Shamir's scheme, with l > 1 packed sharing, which sends l times fewer words;
between t + 1 and k - 1 servers together then learn something.

The polynomial is fixed here by its secrets and by t uniformly random *values*,
the shares of servers 1 .. t, rather than by random coefficients: for every
choice of secrets the one is a bijection of the other, so this is the same
scheme. Sharing becomes one constant matrix, Lagrange(secret points and servers
1 .. t -> servers t + 1 .. N), and the first t shares may travel as the 32-byte
seeds that they are expanded from.

References: A. Shamir, How to share a secret, CACM 22(11), 1979; M. Franklin and
M. Yung, Communication complexity of secure computation, STOC 1992 (packing).

Example:
  >>> import jax.numpy as jnp
  >>> from fps_jax.sharing import randomness
  >>> scheme = Shamir(PrimeField(2**31 - 1), num_servers=5, threshold=3)
  >>> round_key = randomness.round_key(randomness.root_key(seed=0), 0)
  >>> seeds = randomness.keys(round_key, randomness.Purpose.SHARE, 2, owners=9)
  >>> shares = scheme.share(jnp.uint32([[7, 42]]), seeds)
  >>> shares.shape
  (5, 2)
  >>> scheme.reconstruct(shares, present=(5, 2, 4)).tolist()
  [[7, 42]]
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import randomness
from fps_jax.sharing.chacha import KEY_WORDS
from fps_jax.sharing.field import PrimeField


@dataclasses.dataclass(frozen=True)
class Shamir:
  """k-of-N sharing of l secrets a polynomial. Servers are numbered 1 .. N.

  Guarantees:
    - correct: any k shares reconstruct the secrets;
    - private: any k - l shares have the same distribution for all secrets,
      given uniform randomness;
    - linear: sums of shares are shares of the sums.

  Attributes:
    field: the prime field.
    num_servers: N >= 1; N + l <= p, since each needs a point of its own.
    threshold: k, with l <= k <= N. With k = l every server, or every l servers
      together, hold the secrets: there is no privacy.
    secrets_per_polynomial: l >= 1.
    seeded: whether the first k - l shares travel as seeds of 32 bytes. The
      shares are the same, and so is what privacy rests on: random words are
      drawn from ChaCha20 either way.

  Raises:
    ValueError: if the numbers do not satisfy these bounds, a line for each;
      methods, if their arguments do not fit.
  """

  field: PrimeField
  num_servers: int
  threshold: int
  secrets_per_polynomial: int = 1
  seeded: bool = True

  def __post_init__(self):
    for name in ('num_servers', 'threshold', 'secrets_per_polynomial'):
      arrays.check_integer(name, getattr(self, name))
    problems = list(self._problems())
    if problems:
      raise ValueError('\n'.join(problems))

  def _problems(self) -> Iterator[str]:
    num_points = self.num_servers + self.secrets_per_polynomial
    if num_points > self.field.modulus:
      yield (
        f'num_servers={self.num_servers} and secrets_per_polynomial='
        f'{self.secrets_per_polynomial} need {num_points} points, more than '
        f'the field prime {self.field.modulus}: use a larger prime or fewer '
        'servers'
      )
    if not 1 <= self.threshold <= self.num_servers:
      yield (
        f'threshold={self.threshold} must be in [1, '
        f'num_servers={self.num_servers}]: lower the threshold or add servers'
      )
    if not 1 <= self.secrets_per_polynomial <= self.threshold:
      yield (
        f'secrets_per_polynomial={self.secrets_per_polynomial} must be in [1, '
        f'threshold={self.threshold}]: pack fewer secrets or raise the '
        'threshold'
      )

  @property
  def num_random(self) -> int:
    """Random words a column needs: t = k - l, the privacy threshold."""
    return self.threshold - self.secrets_per_polynomial

  @property
  def secret_points(self) -> tuple[int, ...]:
    """Where polynomials take the secrets: 0, -1, ..., -(l - 1) mod p."""
    p = self.field.modulus
    return tuple(-i % p for i in range(self.secrets_per_polynomial))

  @property
  def server_points(self) -> tuple[int, ...]:
    """Where polynomials take the shares: 1 .. N."""
    return tuple(range(1, self.num_servers + 1))

  def num_columns(self, num_values: int) -> int:
    """Returns the words of one share of `num_values` secrets, at least 0."""
    arrays.check_integer('num_values', num_values, 0)
    return -(-num_values // self.secrets_per_polynomial)

  @functools.cached_property
  def share_matrix(self) -> np.ndarray:
    """uint32 [N - t, K]: (l secrets, t random words) to the last N - t shares.

    The first t shares are the random words themselves.
    """
    first, rest = np.split(np.array(self.server_points), [self.num_random])
    known = (*self.secret_points, *first.tolist())
    return self.field.lagrange_matrix(known, rest.tolist())

  def explicit_shares(self, secrets_LxM: Array, random_ZxM: Array) -> Array:
    """Returns the shares of servers t + 1 .. N: those that always travel.

    Args:
      secrets_LxM: uint32 [L, M] field elements.
      random_ZxM: uint32 [Z, M] field elements, uniform and used once: the
        shares of servers 1 .. t.

    Returns:
      uint32 [N - Z, M].
    """
    self._check_dealing(secrets_LxM, random_ZxM)
    inputs = (*secrets_LxM, *random_ZxM)
    return self.field.matmul(self.share_matrix, inputs)

  def share_with(self, secrets_LxM: Array, random_ZxM: Array) -> Array:
    """Splits secrets with the random words given: `share` without the dice.

    Args:
      secrets_LxM: uint32 [L, M] field elements.
      random_ZxM: uint32 [Z, M] field elements, uniform and used once.

    Returns:
      uint32 [N, M]; row i belongs to server i + 1.
    """
    explicit = self.explicit_shares(secrets_LxM, random_ZxM)
    return jnp.concatenate([random_ZxM, explicit])

  def share(self, secrets_LxM: Array, seeds_Zx8: Array) -> Array:
    """Splits columns of secrets into one share a server.

    Args:
      secrets_LxM: uint32 [L, M] field elements.
      seeds_Zx8: uint32 [Z, 8], the seeds of servers 1 .. t, each used for this
        vector alone (`randomness.keys`).

    Returns:
      uint32 [N, M]; row i belongs to server i + 1.

    Raises:
      ValueError: if the secrets are not elements or of another shape, or there
        is not a seed for each of servers 1 .. t.
    """
    self._check_secrets(secrets_LxM)
    arrays.check(
      'seeds_Zx8', seeds_Zx8, np.uint32, (self.num_random, KEY_WORDS)
    )
    num_words = secrets_LxM.shape[1]
    random_ZxM = randomness.uniform(seeds_Zx8, 0, num_words, self.field)
    return self.share_with(secrets_LxM, random_ZxM)

  def _check_secrets(self, secrets_LxM: Array) -> None:
    shape = (self.secrets_per_polynomial, 'M')
    self.field.check('secrets_LxM', secrets_LxM, shape)

  def _check_dealing(self, secrets_LxM: Array, random_ZxM: Array) -> None:
    self._check_secrets(secrets_LxM)
    shape = (self.num_random, secrets_LxM.shape[1])
    self.field.check('random_ZxM', random_ZxM, shape)

  def present_without(self, missing: Sequence[int]) -> tuple[int, ...]:
    """Returns the numbers of the servers that answer when some do not.

    Args:
      missing: distinct numbers in 1 .. N of the servers that do not answer.

    Raises:
      ValueError: if a number is unknown or repeats, or more than N - k miss.
    """
    most = f'num_servers={self.num_servers}'
    self._check_distinct(missing, f'missing servers {tuple(missing)}', most)
    present = tuple(n for n in self.server_points if n not in missing)
    self.choose_servers(present)
    return present

  def choose_servers(self, present: Sequence[int]) -> tuple[int, ...]:
    """Returns the k servers to reconstruct from: the lowest numbers present.

    Args:
      present: numbers in 1 .. N of the servers that answer, in any order.

    Raises:
      ValueError: if a number is unknown or repeats, or fewer than k answer.
    """
    most = str(self.num_servers)
    self._check_distinct(present, f'servers {tuple(present)}', most)
    if len(present) < self.threshold:
      raise ValueError(
        f'{len(present)} of {self.num_servers} servers answer, but '
        f'threshold={self.threshold} are needed: at most '
        f'{self.num_servers - self.threshold} may be missing'
      )
    return tuple(sorted(present)[: self.threshold])

  def _check_distinct(
    self, servers: Sequence[int], named: str, most: str
  ) -> None:
    known = set(servers) & set(self.server_points)
    if len(known) != len(servers):
      raise ValueError(f'{named} must be distinct numbers from 1 to {most}')

  def opening(self, present: Sequence[int]) -> np.ndarray:
    """Returns the matrix that opens the shares of k of the present servers.

    It is Lagrange(those k servers -> the secret points), with columns of zeros
    for all others. It is data, not code: a compiled reconstruction serves every
    choice.

    Args:
      present: numbers of the servers that answer; at least k of 1 .. N.

    Returns:
      uint32 [L, N].

    Raises:
      ValueError: if fewer than k servers answer, or a number is unknown.
    """
    servers = self.choose_servers(present)
    matrix = np.zeros(
      (self.secrets_per_polynomial, self.num_servers), np.uint32
    )
    matrix[:, np.array(servers) - 1] = self.field.lagrange_matrix(
      servers, self.secret_points
    )
    return matrix

  def check_matrix(self, present: Sequence[int]) -> np.ndarray:
    """Returns the matrix that is zero on shares of one polynomial each.

    Row i says that the share of the (k + i)-th present server is what the
    first k of them make it. Rows beyond the present servers are zero, so that
    the shape, and with it a compiled check, serves every choice.

    Args:
      present: numbers of the servers that answer; at least k of 1 .. N.

    Returns:
      uint32 [N - K, N].

    Raises:
      ValueError: if fewer than k servers answer, or a number is unknown.
    """
    first = self.choose_servers(present)
    rest = sorted(present)[self.threshold :]
    num_rows = self.num_servers - self.threshold
    matrix = np.zeros((num_rows, self.num_servers), np.uint32)
    matrix[: len(rest), np.array(first) - 1] = self.field.lagrange_matrix(
      first, rest
    )
    for row, server in enumerate(rest):
      matrix[row, server - 1] = self.field.modulus - 1
    return matrix

  def open_shares(
    self, shares_NxM: Array, opening_LxN: Array | np.ndarray
  ) -> Array:
    """Recovers the secrets.

    Args:
      shares_NxM: uint32 [N, M]; rows that the opening does not use may hold
        anything.
      opening_LxN: from `opening`; may be traced.

    Returns:
      uint32 [L, M] secrets.

    Raises:
      ValueError: if there is not one row a server, the opening is of another
        shape, or a row that it uses does not hold elements.
    """
    shape = (self.secrets_per_polynomial, self.num_servers)
    self.field.check('opening_LxN', opening_LxN, shape)
    arrays.check('shares_NxM', shares_NxM, np.uint32, ('N', 'M'))
    if shares_NxM.shape[0] != self.num_servers:
      raise ValueError(
        f'{shares_NxM.shape[0]} rows of shares for num_servers='
        f'{self.num_servers}: give every server a row, zeros where it is absent'
      )
    self.field.check_rows('shares_NxM', shares_NxM, opening_LxN)
    return self.field.matmul(opening_LxN, shares_NxM)

  def reconstruct(self, shares_NxM: Array, present: Sequence[int]) -> Array:
    """Recovers the secrets from k of the servers that are present.

    Args:
      shares_NxM: uint32 [N, M]; rows of absent servers may hold anything.
      present: numbers of the servers that answer; at least k of 1 .. N.

    Returns:
      uint32 [L, M] secrets.

    Raises:
      ValueError: if fewer than k servers answer, a number is unknown, or as of
        `open_shares`.
    """
    return self.open_shares(shares_NxM, self.opening(present))
