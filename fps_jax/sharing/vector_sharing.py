"""Sharing of one's own vectors: keys, packing and rounding are taken care of.

`fps_jax.sharing.shamir` is what rounds use: columns of field elements, and
seeds that the caller derives. Here a vector goes in and comes out:

>>> import numpy as np
>>> scheme = Shamir(num_servers=5, threshold=3)
>>> shares_NxM = scheme.share([7, 42])
>>> scheme.reconstruct(shares_NxM[::2], present=(1, 3, 5)).tolist()
[7, 42]

Servers add up what they hold of several clients, and the sum alone is opened:

>>> alice, bob = scheme.share_floats([0.5, -1]), scheme.share_floats([0.25, 1])
>>> opened = scheme.reconstruct_floats(scheme.add(alice, bob))
>>> bool(np.allclose(opened, [0.75, 0], atol=2 * scheme.step))
True
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import randomness, shamir
from fps_jax.sharing.audit import SharingError
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.decoding import locate_errors, max_errors
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.randomness import Purpose

# What is compiled once for each scheme and length.
_share = jax.jit(shamir.Shamir.share, static_argnums=0)
_open = jax.jit(shamir.Shamir.open_shares, static_argnums=0)
_encode = jax.jit(Codec.encode, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class Shamir:
  """k-of-N sharing of vectors of integers modulo a prime, and of floats.

  Any t = k - l servers learn nothing of what is shared, any k open it, and
  sums of shares are shares of the sums. Servers are numbered 1 .. N.

  Attributes:
    num_servers: N, at least 1.
    threshold: k, in [l, N].
    secrets_per_polynomial: l, in [1, k]: above 1, shares are l times shorter.
    prime: p, at most 2^31 - 1.
    clip: largest magnitude of a float, above 0.
    value_bits: of a rounded float, sign included, in [2, 16].
    max_clients: most vectors of floats that are ever added up, at least 1.

  Raises:
    ValueError: if the numbers do not fit, at once; methods, if an argument does
      not.
  """

  num_servers: int = 5
  threshold: int = 3
  secrets_per_polynomial: int = 1
  prime: int = 2**31 - 1
  clip: float = 1.0
  value_bits: int = 16
  max_clients: int = 1000

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = arrays.plain(getattr(self, field.name))
      object.__setattr__(self, field.name, value)
    _ = self.scheme, self._codec

  @functools.cached_property
  def scheme(self) -> shamir.Shamir:
    """The same on columns of field elements, as rounds use it."""
    return shamir.Shamir(
      PrimeField(self.prime),
      self.num_servers,
      self.threshold,
      self.secrets_per_polynomial,
    )

  @functools.cached_property
  def _codec(self) -> Codec:
    return Codec(
      self.scheme.field, self.clip, self.value_bits, self.max_clients, 1
    )

  @property
  def step(self) -> float:
    """Distance of neighbouring floats that can be shared."""
    return self._codec.step

  def share(self, words: ArrayLike, key_8: np.ndarray | None = None) -> Array:
    """Splits a vector of integers into one share a server.

    Args:
      words: integers [n] in [0, p), n a multiple of l.
      key_8: uint32 [8], of this vector alone (`randomness.root_key` makes it of
        a seed); None draws it from the operating system.

    Returns:
      uint32 [N, n / l]; row i is for server i + 1.

    Raises:
      ValueError: if the words are of another type or shape, or out of range.
    """
    words_n = _as_integers('words', words, self.prime)
    per_column = self.secrets_per_polynomial
    if words_n.ndim != 1:
      raise ValueError(
        f'words have shape {list(words_n.shape)}, must have [n]: flatten them'
      )
    if len(words_n) % per_column:
      raise ValueError(
        f'{len(words_n)} words are no multiple of secrets_per_polynomial='
        f'{per_column}: add {-len(words_n) % per_column} zeros'
      )
    columns = words_n.reshape(-1, per_column).T
    return _share(self.scheme, columns, self._seeds(key_8))

  def reconstruct(
    self, shares: ArrayLike, present: Sequence[int] | None = None
  ) -> Array:
    """Opens what was shared, or the sum of it.

    Args:
      shares: integers [P, M], a row for each server that is present.
      present: the numbers of these servers, in the order of the rows; at least
        k of 1 .. N. None for all N.

    Returns:
      uint32 [M * l].

    Raises:
      ValueError: if the rows do not fit the numbers, or do not hold words.
      SharingError: if n > k rows are given, and they do not fit together. It
        names those that are wrong, if at most (n - k) // 2 are.
    """
    present = self.scheme.server_points if present is None else tuple(present)
    for number in present:
      arrays.check_integer('present', number)
    self.scheme.choose_servers(present)
    rows_PxM = _as_integers('shares', shares, self.prime)
    self.scheme.field.check('shares', rows_PxM, (len(present), 'M'))
    places = np.array(present) - 1
    shares_NxM = (
      jnp.zeros((self.num_servers, rows_PxM.shape[1]), jnp.uint32)
      .at[places]
      .set(rows_PxM)
    )
    self._check_agreement(shares_NxM, present)
    opening_LxN = self.scheme.opening(present)
    return _open(self.scheme, shares_NxM, opening_LxN).T.reshape(-1)

  def share_floats(
    self, values: ArrayLike, key_8: np.ndarray | None = None
  ) -> Array:
    """Splits a vector of floats, rounded to multiples of `step` at random.

    The mean of the rounding is exact.

    Args:
      values: numbers [n] of magnitude at most `clip`, n a multiple of l.
      key_8: as of `share`; it draws the rounding, too.

    Returns:
      uint32 [N, n / l].

    Raises:
      ValueError: if the values are of another type or shape, not finite, or
        beyond `clip`.
    """
    values_n = np.asarray(values)
    if values_n.dtype.kind not in 'fiu' or values_n.ndim != 1:
      raise ValueError(
        f'values are {values_n.dtype} {list(values_n.shape)}, must be floats '
        '[n]: flatten them, as jax.flatten_util.ravel_pytree does'
      )
    cure = 'raise clip, or clip them'
    arrays.check_range('values', values_n, -self.clip, self.clip, cure)
    key_8 = randomness.fresh_root_key() if key_8 is None else key_8
    data = randomness.derive(key_8, Purpose.ROUNDING)[:2]
    rounding_key = jax.random.wrap_key_data(jnp.asarray(data))
    words = _encode(self._codec, np.float32(values_n), rounding_key)
    return self.share(words, key_8)

  def reconstruct_floats(
    self, shares: ArrayLike, present: Sequence[int] | None = None
  ) -> Array:
    """Opens floats, or the sum of those of at most `max_clients` vectors.

    Arguments and errors as of `reconstruct`.

    Returns:
      float32 [M * l].
    """
    return self._codec.decode(self.reconstruct(shares, present))

  def add(self, *shares: ArrayLike) -> Array:
    """Returns the shares of the sum of what was shared.

    Args:
      *shares: integers, of one shape: of each vector either all rows, or those
        of the same servers. At most `max_clients`; sums that are added up again
        are the caller's to count.

    Raises:
      ValueError: if there are none or too many, their shapes differ, or they do
        not hold words.
    """
    shapes = [np.shape(each) for each in shares]
    if not shapes or len(set(shapes)) > 1:
      raise ValueError(
        f'shares of shapes {shapes} cannot be added: give one or more, all of '
        'one shape'
      )
    if len(shares) > self.max_clients:
      raise ValueError(
        f'{len(shares)} vectors are more than max_clients={self.max_clients}, '
        'and a sum of floats could wrap: raise max_clients'
      )
    words = [_as_integers('shares', each, self.prime) for each in shares]
    return self.scheme.field.sum(jnp.asarray(np.stack(words)))

  def _seeds(self, key_8: np.ndarray | None) -> Array:
    key_8 = randomness.fresh_root_key() if key_8 is None else key_8
    num_seeds = self.scheme.num_random
    return jnp.asarray(randomness.keys(key_8, Purpose.SHARE, num_seeds))

  def _check_agreement(
    self, shares_NxM: Array, present: tuple[int, ...]
  ) -> None:
    """Raises SharingError unless all shares lie on one polynomial a column."""
    checks = self.scheme.check_matrix(present)
    if not len(checks) or not shares_NxM.size:
      return
    is_wrong_M = np.any(self.scheme.field.matmul(checks, shares_NxM), axis=0)
    if not is_wrong_M.any():
      return
    column = int(is_wrong_M.argmax())
    words = {n: int(shares_NxM[n - 1, column]) for n in sorted(present)}
    wrong = locate_errors(words, self.threshold, self.prime)
    said = (
      f'if at most {max_errors(len(present), self.threshold)} of them are '
      f'wrong, it is those of {sorted(wrong)}: leave these out of present'
      if wrong
      else 'more are wrong than can be told apart'
    )
    raise SharingError(
      f'the shares of servers {sorted(present)} are not those of one vector '
      f'(column {column}); {said}'
    )


def _as_integers(name: str, values: ArrayLike, prime: int) -> np.ndarray:
  """Returns integers below a prime as uint32; what else they are is refused."""
  array = np.asarray(values)
  if array.dtype.kind not in 'iu' and array.size:
    raise ValueError(
      f'{name} are {array.dtype} {list(array.shape)}, must be integers: '
      'nothing is rounded here, share floats by share_floats'
    )
  cure = f'reduce them modulo the prime {prime}'
  arrays.check_range(name, array, 0, prime - 1, cure)
  return array.astype(np.uint32)
