"""Sharing in plain Python ints and bytes: what the tests compare to.

Slow and obvious. Nothing here is shared with the fast path: blocks of ChaCha20
are computed one at a time, words are redrawn one at a time, polynomials are
interpolated by the textbook formula, and wrong shares are found by trying every
k of them. `tests/sharing/vectors.json` is made from this file alone.

A key is 32 bytes. Rows are lists, one a secret, a seed or a server.
"""

import functools
import hashlib
import itertools
import math
import struct
from collections.abc import Mapping, Sequence

PURPOSES = {
  'round': 1,
  'share': 2,
  'blind': 3,
  'check': 4,
  'lie': 5,
  'check_sketch': 6,
  'check_client': 7,
  'rounding': 8,
  'central_noise': 9,
  'client_noise': 10,
  'rotation': 11,
}
SOUNDNESS_BITS = 40


def rotate(word: int, bits: int) -> int:
  """Returns a 32-bit word, rotated to the left."""
  return (word << bits) % 2**32 | word >> (32 - bits)


def quarter_round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
  """RFC 8439, section 2.1."""
  for first_bits, second_bits in ((16, 12), (8, 7)):
    a = (a + b) % 2**32
    d = rotate(d ^ a, first_bits)
    c = (c + d) % 2**32
    b = rotate(b ^ c, second_bits)
  return a, b, c, d


@functools.lru_cache(maxsize=2**12)
def chacha20_block(key: bytes, counter: int, nonce: bytes) -> bytes:
  """RFC 8439, section 2.3: 64 bytes of the keystream."""
  start = b'expand 32-byte k' + key + struct.pack('<I', counter) + nonce
  initial = struct.unpack('<16I', start)
  state = list(initial)
  for _ in range(10):
    for step in (0, 1):  # The columns of a 4 x 4 square, then its diagonals.
      for i in range(4):
        places = [4 * row + (i + step * row) % 4 for row in range(4)]
        mixed = quarter_round(*(state[place] for place in places))
        for place, word in zip(places, mixed, strict=True):
          state[place] = word
  final = ((a + b) % 2**32 for a, b in zip(initial, state, strict=True))
  return struct.pack('<16I', *final)


def keystream_words(
  key: bytes, nonce: bytes, first_block: int, num_blocks: int
) -> list[int]:
  """Returns 16 * `num_blocks` words of the keystream."""
  blocks = range(first_block, first_block + num_blocks)
  stream = b''.join(chacha20_block(key, block, nonce) for block in blocks)
  return list(struct.unpack(f'<{16 * num_blocks}I', stream))


def root_key(seed: int) -> bytes:
  """Returns the root key of a run that its seed reproduces."""
  text = b'fps_jax sharing' + struct.pack('<Q', seed)
  return hashlib.sha256(text).digest()


def derive(
  key: bytes, purpose: str, number: int = 0, first: int = 0, second: int = 0
) -> bytes:
  """Returns a key's child for a purpose and three numbers."""
  nonce = struct.pack('<3I', first, second, PURPOSES[purpose])
  return chacha20_block(key, number, nonce)[:32]


def keys(
  key: bytes, purpose: str, num_keys: int, owner: int = 0
) -> list[bytes]:
  """Returns an owner's keys under a round's, the one for server 1 first."""
  return [derive(key, purpose, 0, owner, i + 1) for i in range(num_keys)]


def uniform_word(key: bytes, position: int, modulus: int) -> int:
  """Returns the word at one position of a key's uniform words."""
  bits, attempt = (modulus - 1).bit_length(), 0
  while True:
    nonce = struct.pack('<3I', attempt, 0, 0)
    word = keystream_words(key, nonce, position // 16, 1)[position % 16]
    if word % 2**bits < modulus:
      return word % 2**bits
    attempt += 1


def uniform(
  key: bytes, first_word: int, num_words: int, modulus: int
) -> list[int]:
  """Returns uniform words from position `first_word` on."""
  positions = range(first_word, first_word + num_words)
  return [uniform_word(key, position, modulus) for position in positions]


def evaluate(coefficients: Sequence[int], point: int, modulus: int) -> int:
  """Returns the polynomial's value at a point, constant coefficient first."""
  return sum(c * point**i for i, c in enumerate(coefficients)) % modulus


def interpolate(known: Mapping[int, int], point: int, modulus: int) -> int:
  """Returns the value at `point` of the polynomial through `known`."""
  total = 0
  for x_i, y_i in known.items():
    others = [x_j for x_j in known if x_j != x_i]
    numerator = math.prod(point - x_j for x_j in others)
    denominator = math.prod(x_i - x_j for x_j in others)
    total += y_i * numerator * pow(denominator, -1, modulus)
  return total % modulus


def share(
  secrets: Sequence[int], random: Sequence[int], num_servers: int, modulus: int
) -> list[int]:
  """Shares one column of l secrets: the polynomial's values at 0, -1, ....

  Args:
    secrets: l words.
    random: k - l words, the shares of the first servers.
    num_servers: N.
    modulus: the prime.

  Returns:
    N shares, that of server 1 first.
  """
  known = {-i: secret for i, secret in enumerate(secrets)}
  known |= {i + 1: word for i, word in enumerate(random)}
  servers = range(1, num_servers + 1)
  return [interpolate(known, server, modulus) for server in servers]


def share_rows(
  secrets: Sequence[Sequence[int]],
  seeds: Sequence[bytes],
  num_servers: int,
  modulus: int,
) -> list[list[int]]:
  """Returns N rows of shares of l rows, from the seeds of k - l servers."""
  num_words = len(secrets[0])
  random = [uniform(seed, 0, num_words, modulus) for seed in seeds]
  split, columns = len(secrets), zip(*secrets, *random, strict=True)
  shared = [share(c[:split], c[split:], num_servers, modulus) for c in columns]
  return [list(row) for row in zip(*shared, strict=True)]


def reconstruct(
  shares: Mapping[int, int], num_secrets: int, modulus: int
) -> list[int]:
  """Returns l secrets from k shares, keyed by server number."""
  return [interpolate(shares, -i, modulus) for i in range(num_secrets)]


def locate_errors(
  shares: Mapping[int, int], threshold: int, modulus: int
) -> frozenset[int] | None:
  """Returns which servers' shares are wrong, by trying every k of them.

  None if no polynomial leaves (n - k) // 2 or fewer of the n to be wrong.
  """
  for servers in itertools.combinations(shares, threshold):
    known = {server: shares[server] for server in servers}
    wrong = frozenset(
      server
      for server, word in shares.items()
      if interpolate(known, server, modulus) != word % modulus
    )
    if 2 * len(wrong) <= len(shares) - threshold:
      return wrong
  return None


def header(
  kind: int,
  round: int,
  attempt: int,
  sender: int,
  receiver: int,
  num_values: int,
  scheme: Sequence[int] = (0, 0, 0, 0, 0),
) -> bytes:
  """Returns the 32 bytes that a message begins with.

  Args:
    kind: number of the kind.
    round: below 2^20.
    attempt: below 2^12.
    sender: number of the sender.
    receiver: that of the receiver.
    num_values: values of the message.
    scheme: N, k, l, the prime, and 1 where it is seeded; zeros in the clear.
  """
  num_servers, threshold, num_secrets, modulus, seeded = scheme
  parts = [
    (kind, 1),
    (seeded, 1),
    (num_servers, 2),
    (threshold, 2),
    (num_secrets, 2),
    (modulus, 4),
    (round + 2**20 * attempt, 4),
    (sender, 4),
    (receiver, 4),
    (num_values, 4),
  ]
  return b'FPS\4' + b''.join(n.to_bytes(size, 'little') for n, size in parts)


def num_checks(modulus: int) -> int:
  """Returns how many combinations an audit takes."""
  return math.ceil(SOUNDNESS_BITS / math.log2(modulus))


def combine(
  rows: Sequence[Sequence[int]], coins: Sequence[bytes], modulus: int
) -> list[list[int]]:
  """Returns, for each coin, every row's product with its uniform words."""
  drawn = [uniform(coin, 0, len(rows[0]), modulus) for coin in coins]
  return [
    [sum(map(int.__mul__, words, row)) % modulus for row in rows]
    for words in drawn
  ]


def pack_words(words: Sequence[int], modulus: int) -> bytes:
  """Returns words as one number in base 2^bits, little-endian."""
  bits = (modulus - 1).bit_length()
  number = sum(word << (i * bits) for i, word in enumerate(words))
  return number.to_bytes(-(-len(words) * bits // 8), 'little')
