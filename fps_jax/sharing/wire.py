"""The bytes of every message: what is counted is what is encoded here.

Every message is a header of `HEADER_BYTES` and a payload, little-endian:

| message        | from, to        | payload                                  |
|----------------|-----------------|------------------------------------------|
| `UPDATE`       | client, central | float32 values, then the count as uint32 |
| `SHARE`        | client, server  | words of ceil(log2 p) bits, count last   |
| `SUM`          | server, central | the same                                 |
| `MODEL`        | central, client | float32 values                           |
| `SPARSE_MODEL` | central, client | a bit a parameter, set where it is kept, |
|                |                 | then the kept float32 values             |

Which positions an update's values belong to is never sent: every client prunes
the same public model, so the mask is known.
"""

import dataclasses
import enum
import struct

import numpy as np

from fps_jax.sharing.field import PrimeField

_MAGIC = b'FPS1'
_MAX_UINT32 = 2**32 - 1
_HEADER = struct.Struct('<4sBxHHxxIIIII')
HEADER_BYTES = _HEADER.size
_FLOAT_BYTES = 4
_COUNT_BYTES = 4


_HEADER_LIMITS = {'num_servers': 2**16 - 1, 'threshold': 2**16 - 1}


class Kind(enum.IntEnum):
  """What a message carries."""

  UPDATE = 1
  SHARE = 2
  SUM = 3
  MODEL = 4
  SPARSE_MODEL = 5


@dataclasses.dataclass(frozen=True)
class Header:
  """Who says what to whom, when.

  Attributes:
    kind: what the payload is.
    round: the round, from 0.
    sender: number of the client or server; 0 for the central server.
    receiver: the same of the receiver.
    num_values: values or words in the payload, the sample count left out.
    num_servers: N; 0 where nothing is shared.
    threshold: k; 0 where nothing is shared.
    prime: the field's; 0 where nothing is shared.
  """

  kind: Kind
  round: int
  sender: int
  receiver: int
  num_values: int
  num_servers: int = 0
  threshold: int = 0
  prime: int = 0

  def encode(self) -> bytes:
    """Returns the `HEADER_BYTES` bytes of the header.

    Raises:
      ValueError: if a number does not fit its field.
    """
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      largest = _HEADER_LIMITS.get(field.name, _MAX_UINT32)
      if not 0 <= value <= largest:
        raise ValueError(
          f'header field {field.name}={value} must be in [0, {largest}]'
        )
    return _HEADER.pack(
      _MAGIC,
      self.kind,
      self.num_servers,
      self.threshold,
      self.prime,
      self.round,
      self.sender,
      self.receiver,
      self.num_values,
    )

  @classmethod
  def decode(cls, message: bytes) -> 'Header':
    """Reads the header of a message.

    Raises:
      ValueError: if the message is too short, or of another format or kind.
    """
    if len(message) < HEADER_BYTES:
      raise ValueError(
        f'a message of {len(message)} bytes is shorter than a header '
        f'({HEADER_BYTES} bytes): it was cut off'
      )
    magic, kind, num_servers, threshold, *rest = _HEADER.unpack_from(message)
    if magic != _MAGIC:
      raise ValueError(
        f'a message starts with {magic!r}, not {_MAGIC!r}: it is not of this '
        'format or version'
      )
    if kind not in list(Kind):
      raise ValueError(f'message kind {kind} is not one of {list(Kind)}')
    prime, round_number, sender, receiver, num_values = rest
    return cls(
      kind=Kind(kind),
      round=round_number,
      sender=sender,
      receiver=receiver,
      num_values=num_values,
      num_servers=num_servers,
      threshold=threshold,
      prime=prime,
    )


def packed_bytes(num_words: int, bits: int) -> int:
  """Returns the length of `num_words` words of `bits` bits, packed."""
  return -(-num_words * bits // 8)


def pack_words(words_M: np.ndarray, bits: int) -> bytes:
  """Packs words into `bits` bits each, lowest bit first, without gaps.

  Args:
    words_M: uint32 [M], each below 2^bits.
    bits: in [1, 32].
  """
  positions = np.arange(bits, dtype=np.uint32)
  bits_MxB = (words_M[:, None] >> positions & np.uint32(1)).astype(np.uint8)
  return np.packbits(bits_MxB.ravel(), bitorder='little').tobytes()


def unpack_words(payload: bytes, num_words: int, bits: int) -> np.ndarray:
  """Returns the uint32 [num_words] words that `pack_words` packed."""
  flat = np.unpackbits(
    np.frombuffer(payload, np.uint8), count=num_words * bits, bitorder='little'
  )
  positions = np.arange(bits, dtype=np.uint32)
  bits_MxB = flat.reshape(num_words, bits).astype(np.uint32)
  return np.bitwise_or.reduce(bits_MxB << positions, axis=1)


def words_message_bytes(num_values: int, field: PrimeField) -> int:
  """Returns the length of a `SHARE` or `SUM` message of `num_values` words."""
  return HEADER_BYTES + packed_bytes(num_values + 1, field.bits)


def encode_words(
  header: Header, words_M: np.ndarray, count_word: int, field: PrimeField
) -> bytes:
  """Encodes a `SHARE` or a `SUM`.

  Args:
    header: with the kind, the parties and `num_values` = M.
    words_M: uint32 [M] field elements, one server's share or sum.
    count_word: the same server's word of the sample count.
    field: the field.

  Raises:
    ValueError: if a word is not in [0, p) or the header does not fit.
  """
  _check_kind(header, Kind.SHARE, Kind.SUM)
  words = np.append(np.asarray(words_M, np.int64), count_word)
  if header.num_values != len(words_M) or header.prime != field.modulus:
    raise ValueError(
      f'the header announces {header.num_values} words modulo {header.prime}, '
      f'the payload has {len(words_M)} modulo {field.modulus}'
    )
  _check_words(words, field)
  return header.encode() + pack_words(words.astype(np.uint32), field.bits)


def decode_words(
  message: bytes, field: PrimeField
) -> tuple[Header, np.ndarray, int]:
  """Decodes a `SHARE` or a `SUM`.

  Returns:
    The header, uint32 [M] words and the word of the sample count.

  Raises:
    ValueError: if the kind, the field or the length is wrong, or a word is
      not in [0, p).
  """
  header = Header.decode(message)
  _check_kind(header, Kind.SHARE, Kind.SUM)
  if header.prime != field.modulus:
    raise ValueError(
      f'the message is modulo {header.prime}, expected {field.modulus}'
    )
  _check_length(message, words_message_bytes(header.num_values, field))
  words = unpack_words(
    message[HEADER_BYTES:], header.num_values + 1, field.bits
  )
  _check_words(words, field)
  return header, words[:-1], int(words[-1])


def update_message_bytes(num_values: int) -> int:
  """Returns the length of an `UPDATE` message of `num_values` floats."""
  return HEADER_BYTES + _FLOAT_BYTES * num_values + _COUNT_BYTES


def encode_update(header: Header, values_M: np.ndarray, count: int) -> bytes:
  """Encodes float32 [M] kept values and a sample count in the clear.

  Raises:
    ValueError: if the header does not fit or the count is not in [0, 2^32).
  """
  _check_kind(header, Kind.UPDATE)
  if header.num_values != len(values_M):
    raise ValueError(
      f'the header announces {header.num_values} values, the payload has '
      f'{len(values_M)}'
    )
  if not 0 <= count <= _MAX_UINT32:
    raise ValueError(f'count={count} must be in [0, {_MAX_UINT32}]')
  return (
    header.encode()
    + values_M.astype('<f4').tobytes()
    + count.to_bytes(_COUNT_BYTES, 'little')
  )


def decode_update(message: bytes) -> tuple[Header, np.ndarray, int]:
  """Decodes an `UPDATE`.

  Returns:
    The header, float32 [M] values and the sample count.

  Raises:
    ValueError: if the kind or the length is wrong.
  """
  header = Header.decode(message)
  _check_kind(header, Kind.UPDATE)
  _check_length(message, update_message_bytes(header.num_values))
  values = np.frombuffer(message, '<f4', header.num_values, HEADER_BYTES)
  return header, values, int.from_bytes(message[-_COUNT_BYTES:], 'little')


def model_message_bytes(num_params: int, num_kept: int) -> int:
  """Returns the length of a model's message: D parameters, some kept."""
  bitmap = 0 if num_kept == num_params else packed_bytes(num_params, 1)
  return HEADER_BYTES + bitmap + _FLOAT_BYTES * num_kept


def encode_model(
  round_number: int, receiver: int, params_D: np.ndarray, mask_D: np.ndarray
) -> bytes:
  """Encodes the model that the central server sends out.

  Args:
    round_number: the round, from 0.
    receiver: number of the client.
    params_D: float32 [D].
    mask_D: bool [D], what is kept; what is not must be 0.

  Raises:
    ValueError: if a parameter that is not kept is not 0.
  """
  if np.any(params_D[~mask_D]):
    raise ValueError(
      f'parameter {np.argmax(~mask_D & (params_D != 0))} is not 0 but is not '
      'kept: apply the mask before encoding'
    )
  dense = mask_D.all()
  header = Header(
    kind=Kind.MODEL if dense else Kind.SPARSE_MODEL,
    round=round_number,
    sender=0,
    receiver=receiver,
    num_values=len(params_D),
  )
  bitmap = b'' if dense else np.packbits(mask_D, bitorder='little').tobytes()
  return header.encode() + bitmap + params_D[mask_D].astype('<f4').tobytes()


def decode_model(message: bytes) -> tuple[Header, np.ndarray, np.ndarray]:
  """Decodes a `MODEL` or a `SPARSE_MODEL`.

  Returns:
    The header, float32 [D] parameters and bool [D] mask.

  Raises:
    ValueError: if the kind or the length is wrong.
  """
  header = Header.decode(message)
  num_params, start = header.num_values, HEADER_BYTES
  _check_kind(header, Kind.MODEL, Kind.SPARSE_MODEL)
  if header.kind is Kind.MODEL:
    # Before anything is allocated for what a header only claims.
    _check_length(message, start + _FLOAT_BYTES * num_params)
    mask = np.ones(num_params, bool)
  else:
    start += packed_bytes(num_params, 1)
    if len(message) < start:
      _check_length(message, start)
    bitmap = np.frombuffer(message[HEADER_BYTES:start], np.uint8)
    flags = np.unpackbits(bitmap, count=num_params, bitorder='little')
    mask = flags.astype(bool)
    _check_length(message, start + _FLOAT_BYTES * int(mask.sum()))
  params = np.zeros(num_params, np.float32)
  params[mask] = np.frombuffer(message, '<f4', offset=start)
  return header, params, mask


def _check_words(words: np.ndarray, field: PrimeField) -> None:
  outside = (words < 0) | (words >= field.modulus)
  if outside.any():
    position = outside.argmax()
    raise ValueError(
      f'word {position} is {words[position]}, outside [0, {field.modulus}): '
      'it is not an element of the field'
    )


def _check_kind(header: Header, *expected: Kind) -> None:
  if header.kind not in expected:
    names = ' or '.join(kind.name for kind in expected)
    raise ValueError(f'expected {names}, got {header.kind.name}')


def _check_length(message: bytes, expected: int) -> None:
  if len(message) != expected:
    raise ValueError(
      f'the message has {len(message)} bytes, its header announces {expected}'
    )
