"""The bytes of shared messages: what is counted is what is encoded here.

Every message is a `Header` and a payload, little-endian:

- `SEED`, client to server: the 32-byte key that its share expands from: servers
  1 .. t of a seeded scheme;
- `SHARE`, client to server: words: the share of the values and of the sample
  count, which follows them;
- `SUM`, server to central: number of clients (uint32), 16 bytes that tell
  which, words as in `SHARE`;
- `CHECK`, server to central: checks a client (uint32), that many words for each
  client, in ascending order.

A word takes ceil(log2 p) bits, and one word of a share stands for l secrets:
ceil((values + 1) / l) words. A server that passes a share on to the central one
sends the client's `SHARE` as it is: sender and receiver still say whose it is.
Messages in the clear are in `fps_jax.sharing.messages.clear`.

A message decodes to the value that encodes to it, or is refused: no value has
two encodings. Lengths raise a ValueError for sizes below 0, encoders if a
number is no integer or out of range or the header does not fit, decoders if
kind, scheme or length is wrong or a word is not in [0, p).
"""

import hashlib
import itertools
import math
from collections.abc import Iterable

import numpy as np

from fps_jax.core import arrays
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages.bits import pack_words, packed_bytes, unpack_words
from fps_jax.sharing.messages.header import (
  HEADER_BYTES,
  UINT32_BYTES,
  Header,
  Kind,
  check_announced,
  check_integers,
  check_length,
  encode_uint32,
  read_header,
  read_uint32,
)
from fps_jax.sharing.shamir import Shamir

SEED_WORDS = 8
DIGEST_BYTES = 16

_REDUCE = 'it must be reduced modulo the prime'
_SEED_BYTES = 4 * SEED_WORDS


def seed_message_bytes() -> int:
  """Returns the length of a `SEED` message."""
  return HEADER_BYTES + _SEED_BYTES


def encode_seed(header: Header, key_8: np.ndarray, scheme: Shamir) -> bytes:
  """Encodes the seed of one server's share.

  Args:
    header: with the parties, the scheme and the `num_values` of the share.
    key_8: uint32 [8], what the server expands.
    scheme: a seeded scheme.

  Raises:
    ValueError: if the header does not fit, this server takes no seed, or what
      is given is not 8 integers in [0, 2^32).
  """
  _check_takes_seed(header, scheme)
  if np.shape(key_8) != (SEED_WORDS,):
    raise ValueError(
      f'a seed has shape {np.shape(key_8)}, expected ({SEED_WORDS},) uint32'
    )
  key_8 = np.asarray(key_8)
  check_integers('words of a seed', key_8)
  _check_range(key_8, 2**32, 'draw a key with fps_jax.sharing.randomness')
  return header.encode() + key_8.astype('<u4').tobytes()


def decode_seed(message: bytes, scheme: Shamir) -> tuple[Header, np.ndarray]:
  """Decodes a `SEED`: the header and the uint32 [8] seed."""
  header = Header.decode(message)
  _check_takes_seed(header, scheme)
  check_length(message, seed_message_bytes())
  key = np.frombuffer(message, '<u4', SEED_WORDS, HEADER_BYTES)
  return header, key.astype(np.uint32)


def share_message_bytes(num_values: int, scheme: Shamir) -> int:
  """Returns the length of a `SHARE` message of `num_values` values."""
  arrays.check_integer('num_values', num_values, 0)
  num_words = scheme.num_columns(num_values + 1)
  return HEADER_BYTES + packed_bytes(num_words, scheme.field.bits)


def encode_share(header: Header, words_W: np.ndarray, scheme: Shamir) -> bytes:
  """Encodes one server's share of a client's values and sample count.

  Args:
    header: with the parties, the scheme and `num_values`, which leaves the
      count out.
    words_W: uint32 [W] field elements, W = num_columns(num_values + 1).
    scheme: the sharing scheme.
  """
  header.check(scheme, Kind.SHARE)
  return header.encode() + _encode_columns(header, words_W, scheme)


def decode_share(message: bytes, scheme: Shamir) -> tuple[Header, np.ndarray]:
  """Decodes a `SHARE`: the header and uint32 [W] words."""
  header = read_header(message, scheme, Kind.SHARE)
  check_length(message, share_message_bytes(header.num_values, scheme))
  num_words = scheme.num_columns(header.num_values + 1)
  return header, _decode_words(message[HEADER_BYTES:], num_words, scheme.field)


def client_set_digest(clients: Iterable[int]) -> bytes:
  """Returns 16 bytes that tell which clients were summed.

  They are the first of SHA-256 over the ascending numbers as uint32.

  Args:
    clients: numbers of the clients, in any order.

  Raises:
    ValueError: if a number repeats or is not an integer in [0, 2^32).
  """
  ordered = sorted(clients)
  for client, following in itertools.pairwise(ordered):
    if client == following:
      raise ValueError(f'client {client} repeats: a set names each client once')
  encoded = b''.join(encode_uint32('client', client) for client in ordered)
  return hashlib.sha256(encoded).digest()[:DIGEST_BYTES]


def sum_message_bytes(num_values: int, scheme: Shamir) -> int:
  """Returns the length of a `SUM` message of `num_values` values."""
  return share_message_bytes(num_values, scheme) + UINT32_BYTES + DIGEST_BYTES


def encode_sum(
  header: Header,
  num_clients: int,
  digest: bytes,
  words_W: np.ndarray,
  scheme: Shamir,
) -> bytes:
  """Encodes one server's sum of shares.

  Args:
    header: as that of a `SHARE`, from a server to the central one.
    num_clients: how many clients' shares were added.
    digest: `client_set_digest` of those clients.
    words_W: uint32 [W] field elements, W = num_columns(num_values + 1).
    scheme: the sharing scheme.
  """
  header.check(scheme, Kind.SUM)
  if len(digest) != DIGEST_BYTES:
    raise ValueError(
      f'a digest of {len(digest)} bytes, expected {DIGEST_BYTES}: use '
      'client_set_digest'
    )
  count = encode_uint32('num_clients', num_clients)
  columns = _encode_columns(header, words_W, scheme)
  return header.encode() + count + digest + columns


def decode_sum(
  message: bytes, scheme: Shamir
) -> tuple[Header, int, bytes, np.ndarray]:
  """Decodes a `SUM`.

  Returns:
    The header, the number of clients, their digest and uint32 [W] words.
  """
  header = read_header(message, scheme, Kind.SUM)
  check_length(message, sum_message_bytes(header.num_values, scheme))
  start = HEADER_BYTES + UINT32_BYTES
  end = start + DIGEST_BYTES
  num_words = scheme.num_columns(header.num_values + 1)
  words = _decode_words(message[end:], num_words, scheme.field)
  return header, read_uint32(message), bytes(message[start:end]), words


def check_message_bytes(
  num_clients: int, num_checks: int, scheme: Shamir
) -> int:
  """Returns the length of a `CHECK` message."""
  arrays.check_integer('num_clients', num_clients, 0)
  arrays.check_integer('num_checks', num_checks, 0)
  num_words = num_clients * num_checks
  return (
    HEADER_BYTES + UINT32_BYTES + packed_bytes(num_words, scheme.field.bits)
  )


def encode_check(
  header: Header, checks_CxR: np.ndarray, scheme: Shamir
) -> bytes:
  """Encodes one server's random combinations of every client's share.

  Args:
    header: with the parties, the scheme and `num_values` = C clients.
    checks_CxR: uint32 [C, R] field elements, R for each client, clients in
      ascending order.
    scheme: the sharing scheme.
  """
  header.check(scheme, Kind.CHECK)
  _check_rank('checks_CxR', checks_CxR, 2)
  num_clients, num_checks = checks_CxR.shape
  check_announced(header, num_clients, 'clients')
  words = _encode_words(checks_CxR.ravel(), scheme.field)
  return header.encode() + encode_uint32('num_checks', num_checks) + words


def decode_check(message: bytes, scheme: Shamir) -> tuple[Header, np.ndarray]:
  """Decodes a `CHECK`: the header and uint32 [C, R] words."""
  header = read_header(message, scheme, Kind.CHECK)
  shape = (header.num_values, read_uint32(message))
  check_length(message, check_message_bytes(*shape, scheme))
  start = HEADER_BYTES + UINT32_BYTES
  words = _decode_words(message[start:], math.prod(shape), scheme.field)
  return header, words.reshape(shape)


def _encode_columns(
  header: Header, words_W: np.ndarray, scheme: Shamir
) -> bytes:
  _check_rank('words_W', words_W, 1)
  expected = scheme.num_columns(header.num_values + 1)
  if len(words_W) != expected:
    raise ValueError(
      f'the header announces {header.num_values} values, which with the count '
      f'are {expected} words of {scheme.secrets_per_polynomial} secrets, the '
      f'payload has {len(words_W)} words'
    )
  return _encode_words(words_W, scheme.field)


def _encode_words(words_W: np.ndarray, field: PrimeField) -> bytes:
  words_W = np.asarray(words_W)
  check_integers('words', words_W)
  _check_range(words_W, field.modulus, _REDUCE)
  return pack_words(words_W, field.bits)


def _decode_words(
  payload: bytes, num_words: int, field: PrimeField
) -> np.ndarray:
  words = unpack_words(payload, num_words, field.bits)
  _check_range(words, field.modulus, _REDUCE)
  return words


def _check_rank(name: str, words: np.ndarray, rank: int) -> None:
  if np.ndim(words) != rank:
    raise ValueError(
      f'{name} has shape {np.shape(words)}, expected {rank} axes: give it these'
    )


def _check_range(words: np.ndarray, end: int, cure: str) -> None:
  outside = (words < 0) | (words >= end)
  if outside.any():
    position = outside.argmax()
    raise ValueError(
      f'word {position} is {words[position]}, outside [0, {end}): {cure}'
    )


def _check_takes_seed(header: Header, scheme: Shamir) -> None:
  header.check(scheme, Kind.SEED)
  if not scheme.seeded:
    raise ValueError('SEED in a scheme that is not seeded: send a SHARE')
  if not 1 <= header.receiver <= scheme.num_random:
    raise ValueError(
      f'SEED for server {header.receiver}, but only servers 1 to '
      f'{scheme.num_random} take one: send a SHARE'
    )
