"""What is measured of one sharing scheme and one length of shares."""

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import Array
from fps_jax.jobs.sharing_throughput import galois_peer
from fps_jax.jobs.timing import copy_bytes_per_second, measure
from fps_jax.sharing import chacha, on_host, randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir

_WORD_BYTES = 4
_MILLION = 1e6


def measure_case(
  scheme: Shamir,
  num_words: int,
  num_clients: int,
  repeats: int,
  rng: np.random.Generator,
) -> dict[str, Any]:
  """Measures a scheme at one length of shares.

  Args:
    scheme: the sharing scheme.
    num_words: M, words of one share; l times as many secrets.
    num_clients: whose shares are summed.
    repeats: of which the median is taken.
    rng: draws the words.

  Returns:
    JSON: the case, the copy's bytes per second and, for each operation, million
    secrets (of `sum`: words) per second. Operations that are given their words
    and only move memory also have the factor of their bytes per second over
    the copy's.
  """
  share = _Case(scheme, num_words, num_clients, rng)
  row: dict[str, Any] = {
    'num_servers': scheme.num_servers,
    'threshold': scheme.threshold,
    'secrets_per_polynomial': scheme.secrets_per_polynomial,
    'prime': scheme.field.modulus,
    'words': num_words,
    'sum_clients': num_clients,
  }
  copied = copy_bytes_per_second(repeats)
  row['copy_gigabytes_per_second'] = copied / 1e9

  def time(
    name: str, function: Callable[[], Any], items: int, words: int = 0
  ) -> None:
    timing = measure(function, repeats)
    row[f'{name}_million_per_second'] = items / timing.seconds / _MILLION
    row[f'{name}_page_faults'] = timing.page_faults
    if words:
      moved = words * _WORD_BYTES / timing.seconds
      row[f'{name}_over_copy'] = moved / copied

  secrets = scheme.secrets_per_polynomial * num_words
  num_shares = len(scheme.share_matrix)
  shared_words = (scheme.threshold + num_shares) * num_words
  opened_words = scheme.threshold * num_words + secrets
  time('share_given', share.share_given, secrets, shared_words)
  time('share_cipher', share.share_cipher, secrets)
  time('share_cipher_in_program', share.share_in_program, secrets)
  time('add_to_sums', share.add_to_sums, secrets)
  time('reconstruct', share.reconstruct, secrets, opened_words)
  time('check', share.check, secrets)
  summed = num_clients * num_words
  time('sum', share.sum_clients, summed, summed + num_words)
  row |= galois_peer.measure_sharing(scheme, num_words, repeats)
  return row


def measure_cipher(repeats: int) -> dict[str, float]:
  """Returns million words per second of the keystream alone, two streams."""
  num_words = on_host.TILE_COLUMNS
  state = np.zeros((2, 12), np.uint32)
  nonce = jnp.zeros((2, chacha.NONCE_WORDS), jnp.uint32)
  key = jnp.zeros((2, chacha.KEY_WORDS), jnp.uint32)
  num_blocks = num_words // chacha.BLOCK_WORDS
  xla = jax.jit(lambda key: chacha.keystream(key, nonce, 0, num_blocks))
  return {
    f'{name}_million_words_per_second': 2
    * num_words
    / measure(function, repeats).seconds
    / _MILLION
    for name, function in (
      ('openssl', lambda: on_host.keystream(state, num_words)),
      ('xla', lambda: xla(key)),
    )
  }


class _Case:
  """The operations on one set of words, ready to be timed."""

  def __init__(
    self,
    scheme: Shamir,
    num_words: int,
    num_clients: int,
    rng: np.random.Generator,
  ):
    p = scheme.field.modulus
    self._scheme = scheme

    def draw(rows: int) -> np.ndarray:
      return rng.integers(p, size=(rows, num_words), dtype=np.uint32)

    root = randomness.root_key(0)
    key = randomness.round_key(root, 0)
    self._seeds = randomness.keys(key, Purpose.SHARE, scheme.num_random)
    self._secrets = draw(scheme.secrets_per_polynomial)
    self._device_secrets = jnp.asarray(self._secrets)
    self._random = jnp.asarray(draw(scheme.num_random))
    self._clients = jnp.asarray(draw(num_clients))
    present = scheme.server_points[scheme.num_servers - scheme.threshold :]
    self._opening = scheme.opening(present)
    auditor = Auditor(scheme, scheme.server_points)
    coins = randomness.keys(key, Purpose.CHECK, auditor.num_checks)
    self._tile = min(on_host.TILE_COLUMNS, num_words)
    num_tiles = num_words // self._tile
    self._explicit = jax.jit(scheme.explicit_shares)
    self._share = jax.jit(scheme.share)
    self._open = jax.jit(scheme.open_shares)
    self._sum = jax.jit(scheme.field.sum)
    self._examine = jax.jit(
      lambda held: auditor.examine(held, coins, num_tiles, self._tile)
    )
    self._held = self._share(self._device_secrets, self._seeds)
    self._sums = [
      jnp.zeros((scheme.num_servers, self._tile), jnp.uint32)
      for _ in range(num_tiles)
    ]

  def share_given(self) -> Array:
    """The shares that are computed, from random words that are given."""
    return self._explicit(self._device_secrets, self._random)

  def share_cipher(self) -> Array:
    """A client's seeds expanded and its other shares, a tile at a time."""
    if jax.default_backend() != 'cpu':
      return self.share_in_program()
    tiled = on_host.share_in_tiles(self._scheme, self._secrets, self._seeds)
    # Of the tiles only the last is kept, as by who sends each when it is made.
    return collections.deque(tiled, maxlen=1).pop()

  def share_in_program(self) -> Array:
    """All shares of a client, in one compiled program, as rounds do."""
    return self._share(self._device_secrets, self._seeds)

  def add_to_sums(self) -> list[Array]:
    """All shares of a client, added to what the servers hold."""
    self._sums = on_host.add_in_tiles(
      self._scheme, self._sums, self._secrets, self._seeds
    )
    return self._sums

  def reconstruct(self) -> Array:
    """The secrets, from the last k servers."""
    return self._open(self._held, self._opening)

  def check(self) -> Array:
    """The servers' combinations, the coefficients' cipher included."""
    return self._examine(self._held)

  def sum_clients(self) -> Array:
    """One server's sum over clients."""
    return self._sum(self._clients)
