"""What is measured of one sharing scheme and one length of shares."""

import collections
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

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

# What is timed; what it returns is waited for.
Call = Callable[[], object]
_WORD_BYTES = 4


class _Operation(NamedTuple):
  """What is timed.

  Attributes:
    call: the operation, on words that are there.
    items: secrets, or words, of a call.
    moved_words: that a call reads and writes, where it does only that; else 0.
  """

  call: Call
  items: int
  moved_words: int = 0


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
  operations = _operations(scheme, num_words, num_clients, rng)
  copied = copy_bytes_per_second(repeats)
  row = {
    'num_servers': scheme.num_servers,
    'threshold': scheme.threshold,
    'secrets_per_polynomial': scheme.secrets_per_polynomial,
    'prime': scheme.field.modulus,
    'words': num_words,
    'sum_clients': num_clients,
    'copy_gigabytes_per_second': copied / 1e9,
  }
  for name, (call, items, moved_words) in operations.items():
    timing = measure(call, repeats)
    row[f'{name}_million_per_second'] = timing.million_per_second(items)
    row[f'{name}_page_faults'] = timing.page_faults
    if moved_words:
      moved = moved_words * _WORD_BYTES / timing.seconds
      row[f'{name}_over_copy'] = moved / copied
  return row | galois_peer.measure_sharing(scheme, num_words, repeats)


def measure_cipher(repeats: int) -> dict[str, float]:
  """Returns million words per second of the keystream alone, two streams."""
  num_words = on_host.TILE_COLUMNS
  state = np.zeros((2, 12), np.uint32)
  nonce = jnp.zeros((2, chacha.NONCE_WORDS), jnp.uint32)
  key = jnp.zeros((2, chacha.KEY_WORDS), jnp.uint32)
  num_blocks = num_words // chacha.BLOCK_WORDS
  xla = jax.jit(lambda key: chacha.keystream(key, nonce, 0, num_blocks))
  return {
    f'{name}_million_words_per_second': measure(
      function, repeats
    ).million_per_second(2 * num_words)
    for name, function in (
      ('openssl', lambda: on_host.keystream(state, num_words)),
      ('xla', lambda: xla(key)),
    )
  }


def _operations(
  scheme: Shamir, num_words: int, num_clients: int, rng: np.random.Generator
) -> dict[str, _Operation]:
  """Returns the operations by name, ready to be timed on one set of words."""
  threshold, num_secrets = scheme.threshold, scheme.secrets_per_polynomial
  tile = min(on_host.TILE_COLUMNS, num_words)
  num_tiles = num_words // tile

  def draw(rows: int) -> np.ndarray:
    modulus = scheme.field.modulus
    return rng.integers(modulus, size=(rows, num_words), dtype=np.uint32)

  key = randomness.round_key(randomness.root_key(0), 0)
  seeds = randomness.keys(key, Purpose.SHARE, scheme.num_random)
  auditor = Auditor(scheme, scheme.server_points)
  coins = randomness.keys(key, Purpose.CHECK, auditor.num_checks)
  drawn, random, clients = map(
    draw, (num_secrets, scheme.num_random, num_clients)
  )
  secrets = jnp.asarray(drawn)
  # All shares of a client in one compiled program, as rounds do.
  share = _compiled(scheme.share, secrets, seeds)
  held = share()
  last_k = scheme.server_points[-threshold:]

  def share_cipher() -> Array:
    tiled = on_host.share_in_tiles(scheme, drawn, seeds)
    # Of the tiles only the last is kept, as by who sends each when it is made.
    return collections.deque(tiled, maxlen=1).pop()

  is_cpu = jax.default_backend() == 'cpu'
  of_secrets = functools.partial(_Operation, items=num_secrets * num_words)
  return {
    'share_given': of_secrets(
      _compiled(scheme.explicit_shares, secrets, jnp.asarray(random)),
      moved_words=(threshold + len(scheme.share_matrix)) * num_words,
    ),
    'share_cipher': of_secrets(share_cipher if is_cpu else share),
    'share_cipher_in_program': of_secrets(share),
    'add_to_sums': of_secrets(_adding(scheme, drawn, seeds, tile)),
    'reconstruct': of_secrets(
      _compiled(scheme.open_shares, held, scheme.opening(last_k)),
      moved_words=(threshold + num_secrets) * num_words,
    ),
    'check': of_secrets(
      _compiled(
        lambda held: auditor.examine(held, coins, num_tiles, tile), held
      )
    ),
    'sum': _Operation(
      _compiled(scheme.field.sum, jnp.asarray(clients)),
      num_clients * num_words,
      (num_clients + 1) * num_words,
    ),
  }


def _compiled(
  function: Callable[..., Array], *arguments: Any
) -> Callable[[], Array]:
  return functools.partial(jax.jit(function), *arguments)


def _adding(
  scheme: Shamir, secrets: np.ndarray, seeds: np.ndarray, tile: int
) -> Call:
  """Returns what adds a client's shares to what servers hold, in tiles."""
  # Each of its own, since they are donated.
  sums = [
    jnp.zeros((scheme.num_servers, tile), jnp.uint32)
    for _ in range(secrets.shape[1] // tile)
  ]

  def add() -> list[Array]:
    sums[:] = on_host.add_in_tiles(scheme, sums, secrets, seeds)
    return sums

  return add
