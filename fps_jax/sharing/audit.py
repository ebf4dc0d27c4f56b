"""Finding servers that send wrong sums and clients that deal bad shares.

Shares of one polynomial each form a code, and so does any linear combination
of them. Each server's vector is therefore reduced to a few words, its inner
products with public random coefficients that are drawn after the vectors are
fixed; decoding those words finds whose vector is wrong, except with probability
2^-`SOUNDNESS_BITS` a server, however long the vectors are. So each of a
round's audits has coins of its own, which nobody knows before: first of clients
once they have dealt, then of sketches for a defence, then of the sums over the
clients that are accepted.

Of servers, with n of N present and e = (n - k) // 2, that send a wrong sum, or
the sum over another set of clients:

- up to e are named and left out;
- up to n - k - e are noticed, and nobody else is blamed: the sum is refused, or
  they are named;
- up to n - k leave a trace: the sum is refused, or some server is named. It may
  be an honest one, and the sum another, where errors are related, be it by
  design or because two servers swapped their sums;
- more can pass without a trace, if their errors are related;
- of any number, if n > k, uniformly random errors are taken for those of other
  servers, or for none, with a chance of at most C(n, e) 2^-`SOUNDNESS_BITS`.

With n = k any answers are those of some polynomial: nothing is ever noticed.

In a simulation servers lie in `ShamirSum.distort`; `collection.publish_sums`
has their words examined, and `collection.audit_sums` judged.

Of clients: their combination is blinded by words that the client shares for the
purpose, so that it says nothing about the update. One server that disagrees
with most clients is taken for a liar, a client whose shares do not fit together
otherwise is left out. A lying server can thus have a minority of honest clients
left out, or with n - k < 2 all of them; telling who of the two lies would take
signatures. As long as servers are honest, inconsistent clients are named if
they are at most half of those that are checked. More of them, if all contradict
one server, have that honest one taken for the liar: it is named, and none of
them. The sum is right all the same, opened from the servers that they agree on.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing import decoding, randomness
from fps_jax.sharing.shamir import Shamir

# What a config can ask for.
AUDITS = {
  'none': 'Opens from any k servers and notices nothing.',
  'servers': 'Finds servers whose sums are wrong, and leaves them out.',
  'clients': 'Finds clients whose shares do not fit together, too.',
}
SOUNDNESS_BITS = 40


class SharingError(ValueError):
  """Shares contradict each other beyond repair; the message names servers."""


@dataclasses.dataclass(frozen=True)
class Auditor:
  """Checks the servers' sums and, if told to, the clients' dealing.

  Attributes:
    scheme: the sharing scheme.
    present: numbers of the servers that answer, at least k.
    checks_clients: whether clients are checked, too.

  Raises:
    ValueError: if fewer than k servers answer, or a number is unknown; methods,
      if their arguments do not fit.
  """

  scheme: Shamir
  present: tuple[int, ...]
  checks_clients: bool = False

  def __post_init__(self):
    self.scheme.choose_servers(self.present)

  @property
  def num_checks(self) -> int:
    """Q, how many combinations make 2^-`SOUNDNESS_BITS`: log_p of it."""
    return math.ceil(SOUNDNESS_BITS / math.log2(self.scheme.field.modulus))

  @property
  def num_correctable(self) -> int:
    """How many wrong sums are named and left out: (n - k) // 2."""
    return decoding.max_errors(len(self.present), self.scheme.threshold)

  @property
  def num_detectable(self) -> int:
    """How many never pass without a refusal or a name: n - k."""
    return max(0, len(self.present) - self.scheme.threshold)

  def coefficients(
    self,
    coins_Qx8: Array | np.ndarray,
    first_column: Array | int,
    num_columns: int,
  ) -> Array:
    """Returns the public coefficients of some columns.

    Args:
      coins_Qx8: uint32 [Q, 8], of this audit alone, drawn after the vectors
        are fixed.
      first_column: a multiple of 16; may be traced.
      num_columns: W.

    Returns:
      uint32 [Q, W] field elements.

    Raises:
      ValueError: if there are not Q coins, or other arguments do not fit.
    """
    arrays.check('coins_Qx8', coins_Qx8, np.uint32, (self.num_checks, 8))
    return randomness.uniform(
      coins_Qx8, first_column, num_columns, self.scheme.field
    )

  def combine(self, rows_NxW: Array, coefficients_QxW: Array) -> Array:
    """Returns every server's combinations of some columns.

    Args:
      rows_NxW: uint32 [N, W] field elements.
      coefficients_QxW: uint32 [Q, W] field elements.

    Returns:
      uint32 [Q, N].
    """
    field, num_servers = self.scheme.field, self.scheme.num_servers
    field.check('rows_NxW', rows_NxW, (num_servers, 'W'))
    field.check('coefficients_QxW', coefficients_QxW, ('Q', rows_NxW.shape[1]))
    return self.scheme.field.dot(coefficients_QxW, rows_NxW)

  def blind(self, blinds_Kx8: Array | np.ndarray) -> Array:
    """Returns the shares of random words that hide a client's combinations.

    Args:
      blinds_Kx8: uint32 [K, 8], keys of this client and round alone.

    Returns:
      uint32 [Q, N], to be added to the client's combinations.
    """
    shape: arrays.Shape = (self.scheme.threshold, ...)
    arrays.check('blinds_Kx8', blinds_Kx8, np.uint32, shape)
    words_KxQ = randomness.uniform(
      blinds_Kx8, 0, self.num_checks, self.scheme.field
    )
    split = self.scheme.secrets_per_polynomial
    return self.scheme.share_with(words_KxQ[:split], words_KxQ[split:]).T

  def examine(
    self,
    held_NxM: Array,
    coins_Qx8: Array | np.ndarray,
    num_tiles: Array | int,
    tile_columns: int,
  ) -> Array:
    """Returns every server's combinations of its sums.

    Args:
      held_NxM: uint32 [N, M], the sums.
      coins_Qx8: uint32 [Q, 8], drawn after the sums are fixed.
      num_tiles: how many tiles to read; may be traced.
      tile_columns: columns of a tile, a multiple of 16.

    Returns:
      uint32 [Q, N].
    """
    shape = (self.scheme.num_servers, 'M')
    arrays.check('held_NxM', held_NxM, np.uint32, shape)
    arrays.check('coins_Qx8', coins_Qx8, np.uint32, (self.num_checks, 8))
    arrays.check_integer('tile_columns', tile_columns, 1)
    most = held_NxM.shape[1] // tile_columns
    arrays.check_integer('num_tiles', num_tiles, 0, most)

    def add_tile(tile: Array, total_QxN: Array) -> Array:
      start = tile * tile_columns
      rows = jax.lax.dynamic_slice_in_dim(held_NxM, start, tile_columns, 1)
      coefficients = self.coefficients(coins_Qx8, start, tile_columns)
      return self.scheme.field.add(total_QxN, self.combine(rows, coefficients))

    nothing = jnp.zeros((self.num_checks, self.scheme.num_servers), jnp.uint32)
    return jax.lax.fori_loop(0, num_tiles, add_tile, nothing)

  def find_wrong_servers(self, checks_QxN: np.ndarray) -> tuple[int, ...]:
    """Returns the present servers whose sum is wrong, ascending.

    Args:
      checks_QxN: uint32 [Q, N], from `examine`.

    Raises:
      SharingError: if more servers are wrong than can be told apart.
      ValueError: if the combinations are of another type or shape.
    """
    self._check_words('checks_QxN', checks_QxN)
    wrong = self._locate(checks_QxN)
    if wrong is None:
      unless_checked = (
        ', or, if a client dealt shares that do not fit together, set '
        "sharing.audit='clients'"
      )
      raise SharingError(
        f'the sums of servers {self.present} contradict each other, and more '
        f'of them are wrong than can be told apart: at most '
        f'{self.num_correctable} '
        f'with {len(self.present)} answers and threshold='
        f'{self.scheme.threshold} (a wrong answer takes two spare servers, a '
        'missing one takes one): add servers or lower the threshold'
        + ('' if self.checks_clients else unless_checked)
      )
    return tuple(sorted(wrong))

  def find_inconsistent_clients(
    self, checks: Mapping[int, np.ndarray]
  ) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns who dealt shares that do not fit, and which servers lied of it.

    Args:
      checks: client number to uint32 [Q, N], the servers' blinded combinations
        of its shares.

    Returns:
      The clients to be left out, and the servers that disagree with more than
      half of all clients, both ascending.
    """
    for client, checks_QxN in checks.items():
      self._check_words(f'checks of client {client}', checks_QxN)
    located = {c: self._locate(checks[c]) for c in self._suspects(checks)}
    blamed = [server for wrong in located.values() for server in wrong or ()]
    liars = {s for s in self.present if 2 * blamed.count(s) > len(checks)}
    inconsistent = [
      client
      for client, wrong in located.items()
      if wrong is None or not wrong <= liars
    ]
    return tuple(sorted(inconsistent)), tuple(sorted(liars))

  def opening_without(self, wrong: Sequence[int]) -> np.ndarray:
    """Returns the opening from servers that are present and not wrong.

    Raises:
      ValueError: if fewer than k of them are left.
    """
    return self.scheme.opening([s for s in self.present if s not in wrong])

  def _check_words(self, name: str, checks_QxN: np.ndarray) -> None:
    # Answers of servers that are absent may be anything.
    shape = ('Q', self.scheme.num_servers)
    arrays.check(name, checks_QxN, np.uint32, shape)

  def _locate(self, checks_QxN: np.ndarray) -> frozenset[int] | None:
    """Returns the servers that any of the words says are wrong."""
    wrong: frozenset[int] = frozenset()
    for word_N in checks_QxN:
      shares = {server: int(word_N[server - 1]) for server in self.present}
      located = decoding.locate_errors(
        shares, self.scheme.threshold, self.scheme.field.modulus
      )
      if located is None:
        return None
      wrong |= located
    return wrong if len(wrong) <= self.num_correctable else None

  def _suspects(self, checks: Mapping[int, np.ndarray]) -> list[int]:
    """Returns the clients whose words are not all of the code: few, or none."""
    if not checks:
      return []
    words_CxQxN = np.stack(list(checks.values()))
    syndromes_RxCQ = self.scheme.field.matmul(
      self.scheme.check_matrix(self.present),
      jnp.asarray(words_CxQxN.reshape(-1, self.scheme.num_servers).T),
    )
    syndromes_RxCxQ = np.asarray(syndromes_RxCQ).reshape(
      len(syndromes_RxCQ), *words_CxQxN.shape[:2]
    )
    is_wrong_C = np.atleast_1d(syndromes_RxCxQ.any(axis=(0, 2)))
    return [c for c, wrong in zip(checks, is_wrong_C, strict=True) if wrong]
