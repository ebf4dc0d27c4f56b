"""The first bytes of every message: who says what to whom, about which scheme.

32 bytes, little-endian, without padding: `FPS`, the version of the format, and
the numbers of `_LAYOUT` in its order, of which `draw` is the round, below 2^20,
plus 2^20 times the attempt at it. Every value has one encoding.
"""

import dataclasses
import enum
import operator
import struct
from typing import Any

import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import MAX_ROUNDS
from fps_jax.sharing.shamir import Shamir

VERSION = 4

_MAX_UINT32 = 2**32 - 1
_MAGIC = b'FPS'
_LAYOUT = {
  'kind': 'B',
  'seeded': 'B',
  'num_servers': 'H',
  'threshold': 'H',
  'secrets_per_polynomial': 'H',
  'prime': 'I',
  'draw': 'I',
  'sender': 'I',
  'receiver': 'I',
  'num_values': 'I',
}
_HEADER = struct.Struct('<3sB' + ''.join(_LAYOUT.values()))
_LIMITS = {
  name: 2 ** (8 * struct.calcsize(code)) - 1 for name, code in _LAYOUT.items()
}
# The two parts of a draw.
_MAX_ATTEMPT = _LIMITS.pop('draw') // MAX_ROUNDS
_LIMITS |= {'seeded': 1, 'round': MAX_ROUNDS - 1, 'attempt': _MAX_ATTEMPT}
_CURES = {
  'round': 'a message counts only in its own round',
  'attempt': 'a message counts only in its own attempt at a round, whose keys '
  'no other has',
  'receiver': 'it must go to the one that it names',
  'num_values': 'both sides must prune with the same mask',
}
_SAME_SCHEME = 'sender and receiver must use the same configuration'

HEADER_BYTES = _HEADER.size
UINT32_BYTES = 4


class Kind(enum.IntEnum):
  """What a message carries."""

  UPDATE = 1
  MODEL = 2
  SPARSE_MODEL = 3
  SEED = 4
  SHARE = 5
  SUM = 6
  CHECK = 7
  QUANTISED_UPDATE = 8
  POSITIONS = 9


def scheme_numbers(scheme: Shamir | None) -> dict[str, Any]:
  """Returns the numbers of a header that tell the scheme: all of its parts.

  Args:
    scheme: the sharing scheme; None, all zeros, where nothing is shared.
  """
  return {
    'num_servers': scheme.num_servers if scheme else 0,
    'threshold': scheme.threshold if scheme else 0,
    'secrets_per_polynomial': scheme.secrets_per_polynomial if scheme else 0,
    'seeded': scheme.seeded if scheme else False,
    'prime': scheme.field.modulus if scheme else 0,
  }


@dataclasses.dataclass(frozen=True)
class Header:
  """What stands before every payload.

  Attributes:
    kind: what the payload is.
    round: the round, from 0, below 2^20.
    sender: number of the client (from 0) or server (from 1); 0 for the central
      server. Which of them it is follows from the kind.
    receiver: the same of the receiver.
    num_values: values of a client or a model, the sample count left out; in a
      `CHECK`, the number of clients.
    num_servers: N; 0 where nothing is shared, as all that follow.
    threshold: k.
    secrets_per_polynomial: l.
    seeded: whether the first k - l shares travel as seeds.
    prime: the field's.
    attempt: attempts at the round before this one, below 2^12.
  """

  kind: Kind
  round: int
  sender: int
  receiver: int
  num_values: int
  num_servers: int = 0
  threshold: int = 0
  secrets_per_polynomial: int = 0
  seeded: bool = False
  prime: int = 0
  attempt: int = 0

  def encode(self) -> bytes:
    """Returns the `HEADER_BYTES` bytes of the header.

    Raises:
      ValueError: if a number is none, or does not fit its field.
    """
    numbers = vars(self) | {'seeded': int(self.seeded)}
    for name, largest in _LIMITS.items():
      arrays.check_integer(f'header field {name}', numbers[name], 0, largest)
    numbers['draw'] = self.round + MAX_ROUNDS * self.attempt
    return _HEADER.pack(_MAGIC, VERSION, *map(numbers.__getitem__, _LAYOUT))

  @classmethod
  def decode(cls, message: bytes) -> 'Header':
    """Reads the header of a message.

    Raises:
      ValueError: if the message is too short, or of another format, version or
        kind.
    """
    if len(message) < HEADER_BYTES:
      raise ValueError(
        f'a message of {len(message)} bytes is shorter than a header '
        f'({HEADER_BYTES} bytes): it was cut off'
      )
    magic, version, *rest = _HEADER.unpack_from(message)
    if magic != _MAGIC:
      raise ValueError(
        f'a message starts with {magic!r}, not {_MAGIC!r}: it is not one of '
        'fps_jax'
      )
    if version != VERSION:
      raise ValueError(
        f'a message has format version {version}, expected {VERSION}: run the '
        'same release of fps_jax on both sides'
      )
    numbers: dict[str, Any] = dict(zip(_LAYOUT, rest, strict=True))
    if numbers['kind'] not in list(Kind):
      known = ', '.join(f'{kind.value} ({kind.name})' for kind in Kind)
      raise ValueError(f'message kind {numbers["kind"]} is not one of {known}')
    if numbers['seeded'] not in (0, 1):
      raise ValueError(f'seeded is {numbers["seeded"]}, must be 0 or 1')
    numbers['attempt'], numbers['round'] = divmod(
      numbers.pop('draw'), MAX_ROUNDS
    )
    numbers['kind'] = Kind(numbers['kind'])
    numbers['seeded'] = bool(numbers['seeded'])
    return cls(**numbers)

  def check(self, scheme: Shamir | None, *kinds: Kind) -> None:
    """Refuses a message of another kind or another scheme.

    Args:
      scheme: the scheme that is expected; None where nothing is shared.
      *kinds: those that are expected.

    Raises:
      ValueError: if the kind or any number of the scheme differs.
    """
    if self.kind not in kinds:
      names = ' or '.join(kind.name for kind in kinds)
      raise ValueError(
        f'expected {names}, got {self.kind.name}: send it to who takes that '
        'kind'
      )
    self.check_route(**scheme_numbers(scheme))

  def check_route(self, **expected: int) -> None:
    """Refuses a message that belongs to another round, attempt or receiver.

    Decoders cannot: whoever receives a message of any kind must.

    Args:
      **expected: some of `round`, `attempt`, `receiver` and `num_values`.

    Raises:
      ValueError: if the header has another one.
    """
    for name, value in expected.items():
      if getattr(self, name) != value:
        raise ValueError(
          f'the message has {name}={getattr(self, name)}, expected {value}: '
          f'{_CURES.get(name, _SAME_SCHEME)}'
        )


def read_header(message: bytes, scheme: Shamir | None, *kinds: Kind) -> Header:
  """Returns a message's header: `Header.decode`, then its `check`."""
  header = Header.decode(message)
  header.check(scheme, *kinds)
  return header


def check_announced(header: Header, found: int, what: str = 'values') -> None:
  """Raises ValueError if a header announces another number than is `found`."""
  if header.num_values != found:
    raise ValueError(
      f'the header announces {header.num_values} {what}, the payload has '
      f'{found}'
    )


def read_uint32(message: bytes, start: int = HEADER_BYTES) -> int:
  """Returns the number that a payload begins with.

  Raises:
    ValueError: if the message ends before it does.
  """
  end = start + UINT32_BYTES
  if len(message) < end:
    check_length(message, end)
  return int.from_bytes(message[start:end], 'little')


def check_length(message: bytes, expected: int) -> None:
  """Refuses a message that is longer or shorter than it claims.

  Raises:
    ValueError: if it does not have `expected` bytes.
  """
  if len(message) != expected:
    raise ValueError(
      f'the message has {len(message)} bytes, its header announces {expected}: '
      'it was cut off or added to'
    )


def check_integers(name: str, values: np.ndarray) -> None:
  """Refuses an array of a type whose numbers may have to be rounded.

  Raises:
    ValueError: if their type is not one of integers; the error calls them by
      their name.
  """
  if values.dtype.kind not in 'iu':
    raise ValueError(
      f'{name} are of type {values.dtype}, expected integers: make them '
      'so, as nothing is rounded to be sent'
    )


def encode_uint32(name: str, value: int) -> bytes:
  """Returns the 4 bytes of a number that a payload begins or ends with.

  Raises:
    ValueError: if it is not an integer in [0, 2^32); the error calls it by its
      name.
  """
  try:
    number = operator.index(value)
  except TypeError as error:
    raise ValueError(
      f'{name}={value} is of type {type(value).__name__}, expected an integer: '
      'make it one, as nothing is rounded to be sent'
    ) from error
  if not 0 <= number <= _MAX_UINT32:
    raise ValueError(f'{name}={value} must be in [0, {_MAX_UINT32}]')
  return number.to_bytes(UINT32_BYTES, 'little')
