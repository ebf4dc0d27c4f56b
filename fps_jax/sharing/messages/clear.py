"""The bytes of messages in the clear: models, and updates that are not shared.

The payload of each message:

- `UPDATE`, client to central: float32 values, the sample count (uint32);
- `QUANTISED_UPDATE`, client to central: bits of a value (a byte), values in as
  many, the sample count (uint32);
- `MODEL`, central to client: float32 values;
- `SPARSE_MODEL`, central to client: how many are kept (uint32), which, as in
  `fps_jax.sharing.messages.positions`, and their float32 values;
- `POSITIONS`, client to server: how many values of its own choice a client
  sends (uint32), and which.

Without the last one, which positions an update's values belong to is not sent
up: clients train what the model they were sent keeps. As in
`fps_jax.sharing.messages.shared`, a message decodes to the value that encodes
to it, or is refused, and errors are as there.
"""

import numpy as np

from fps_jax.core import arrays
from fps_jax.sharing.codec import levels_of
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
from fps_jax.sharing.messages.positions import (
  decode_positions,
  encode_positions,
  position_bytes,
)

_FLOAT_BYTES = 4


def update_message_bytes(num_values: int) -> int:
  """Returns the length of an `UPDATE` message of `num_values` floats."""
  arrays.check_integer('num_values', num_values, 0)
  return HEADER_BYTES + _FLOAT_BYTES * num_values + UINT32_BYTES


def encode_update(header: Header, values_M: np.ndarray, count: int) -> bytes:
  """Encodes float32 [M] kept values and a sample count in the clear."""
  header.check(None, Kind.UPDATE)
  # Rounded to be sent, they would not be the client's.
  arrays.check('values_M', values_M, np.float32, ('M',))
  check_announced(header, len(values_M))
  payload = np.asarray(values_M, '<f4').tobytes()
  return header.encode() + payload + encode_uint32('count', count)


def decode_update(message: bytes) -> tuple[Header, np.ndarray, int]:
  """Decodes an `UPDATE`.

  Returns:
    The header, float32 [M] values and the sample count.
  """
  header = read_header(message, None, Kind.UPDATE)
  check_length(message, update_message_bytes(header.num_values))
  values = np.frombuffer(message, '<f4', header.num_values, HEADER_BYTES)
  return header, values, read_uint32(message, len(message) - UINT32_BYTES)


def quantised_update_message_bytes(num_values: int, value_bits: int) -> int:
  """Returns the length of a `QUANTISED_UPDATE` message."""
  levels_of(value_bits)
  packed = packed_bytes(num_values, value_bits)
  return HEADER_BYTES + 1 + packed + UINT32_BYTES


def encode_quantised_update(
  header: Header, rounded_M: np.ndarray, value_bits: int, count: int
) -> bytes:
  """Encodes rounded values and a sample count in the clear.

  Args:
    header: with the parties and the number of values.
    rounded_M: int32 [M], multiples of the codec's step, each in +-(2^(b - 1) -
      1) for b bits.
    value_bits: b, in [2, 16].
    count: examples of the client.
  """
  header.check(None, Kind.QUANTISED_UPDATE)
  check_integers('values', rounded_M)
  if rounded_M.ndim != 1:
    raise ValueError(
      f'rounded_M has shape {rounded_M.shape}, must have 1 axis: give it that'
    )
  check_announced(header, len(rounded_M))
  levels = levels_of(value_bits)
  outside = rounded_M[np.abs(rounded_M) > levels]
  if len(outside):
    raise ValueError(
      f'a value is {outside[0]}, outside +-{levels}, what {value_bits} bits '
      'hold'
    )
  packed = pack_words((rounded_M + levels).astype(np.uint32), value_bits)
  payload = bytes([value_bits]) + packed
  return header.encode() + payload + encode_uint32('count', count)


def decode_quantised_update(
  message: bytes,
) -> tuple[Header, np.ndarray, int, int]:
  """Decodes a `QUANTISED_UPDATE`.

  Returns:
    The header, int32 [M] rounded values, their bits and the sample count.
  """
  header = read_header(message, None, Kind.QUANTISED_UPDATE)
  if len(message) == HEADER_BYTES:
    check_length(message, HEADER_BYTES + 1 + UINT32_BYTES)
  value_bits = message[HEADER_BYTES]
  levels = levels_of(value_bits)
  length = quantised_update_message_bytes(header.num_values, value_bits)
  check_length(message, length)
  packed = message[HEADER_BYTES + 1 : -UINT32_BYTES]
  words = unpack_words(packed, header.num_values, value_bits)
  if header.num_values and int(words.max()) > 2 * levels:
    raise ValueError(
      f'value {words.argmax()} is one that no value of {value_bits} bits has: '
      'the message was changed'
    )
  rounded_M = words.astype(np.int32) - levels
  count = read_uint32(message, len(message) - UINT32_BYTES)
  return header, rounded_M, value_bits, count


def positions_message_bytes(num_params: int, num_sent: int) -> int:
  """Returns the length of a `POSITIONS` message."""
  return HEADER_BYTES + UINT32_BYTES + position_bytes(num_params, num_sent)


def encode_positions_message(header: Header, mask_D: np.ndarray) -> bytes:
  """Encodes which of its D values a client sends.

  Args:
    header: with the parties, and D as the number of values.
    mask_D: bool [D].
  """
  header.check(None, Kind.POSITIONS)
  arrays.check('mask_D', mask_D, bool, ('D',))
  check_announced(header, len(mask_D))
  count = encode_uint32('num_sent', int(mask_D.sum()))
  return header.encode() + count + encode_positions(mask_D)


def decode_positions_message(
  message: bytes, num_params: int
) -> tuple[Header, np.ndarray]:
  """Decodes a `POSITIONS`.

  Args:
    message: what arrived.
    num_params: D, which a server knows.

  Returns:
    The header and bool [D].
  """
  header = read_header(message, None, Kind.POSITIONS)
  if header.num_values != num_params:
    raise ValueError(
      f'positions of {header.num_values} values must be of {num_params}: '
      'server and clients must use the same configuration'
    )
  num_sent = read_uint32(message)
  if num_sent > num_params:
    raise ValueError(
      f'{num_sent} of {num_params} positions cannot be sent: the message was '
      'changed'
    )
  check_length(message, positions_message_bytes(num_params, num_sent))
  return header, decode_positions(
    message[HEADER_BYTES + UINT32_BYTES :], num_params, num_sent
  )


def model_message_bytes(num_params: int, num_kept: int) -> int:
  """Returns the length of a model's message: D parameters, some kept."""
  arrays.check_integer('num_params', num_params, 0)
  arrays.check_integer('num_kept', num_kept, 0, num_params)
  values = HEADER_BYTES + _FLOAT_BYTES * num_kept
  if num_kept == num_params:
    return values
  return values + UINT32_BYTES + position_bytes(num_params, num_kept)


def encode_model(
  round_number: int,
  receiver: int,
  params_D: np.ndarray,
  mask_D: np.ndarray,
  attempt: int = 0,
) -> bytes:
  """Encodes the model that the central server sends out.

  Args:
    round_number: the round, from 0.
    receiver: number of the client.
    params_D: float32 [D].
    mask_D: bool [D], what is kept; what is not must be 0.
    attempt: attempts at the round before this one.

  Raises:
    ValueError: if a parameter that is not kept is not 0, parameters are not
      float32 or the mask is of another type or length.
  """
  arrays.check('params_D', params_D, np.float32, ('D',))
  arrays.check('mask_D', mask_D, bool, params_D.shape)
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
    attempt=attempt,
  )
  values = params_D[mask_D].astype('<f4').tobytes()
  if dense:
    return header.encode() + values
  count = encode_uint32('num_kept', int(mask_D.sum()))
  return header.encode() + count + encode_positions(mask_D) + values


def decode_model(
  message: bytes, num_params: int
) -> tuple[Header, np.ndarray, np.ndarray]:
  """Decodes a `MODEL` or a `SPARSE_MODEL`.

  Args:
    message: what arrived.
    num_params: D, which a client knows. A few bytes can announce a sparse model
      of any size; they must not make it allocate one.

  Returns:
    The header, float32 [D] parameters and bool [D] mask.

  Raises:
    ValueError: if the kind, the sender, the size or the length is wrong, or a
      `SPARSE_MODEL` is not sparse or its positions are not a mask.
  """
  header = read_header(message, None, Kind.MODEL, Kind.SPARSE_MODEL)
  if header.num_values != num_params:
    raise ValueError(
      f'a model of {header.num_values} parameters must be one of {num_params}: '
      'server and clients must use the same configuration'
    )
  if header.sender != 0:
    raise ValueError(
      f'a model comes from sender {header.sender}, expected 0, the central '
      'server'
    )
  if header.kind is Kind.MODEL:
    check_length(message, model_message_bytes(num_params, num_params))
    mask, end = np.ones(num_params, bool), HEADER_BYTES
  else:
    num_kept, start = read_uint32(message), HEADER_BYTES + UINT32_BYTES
    if num_kept >= num_params:
      raise ValueError(
        f'a SPARSE_MODEL keeps {num_kept} of {num_params} parameters: one that '
        'keeps all must be sent as MODEL'
      )
    check_length(message, model_message_bytes(num_params, num_kept))
    end = start + position_bytes(num_params, num_kept)
    mask = decode_positions(message[start:end], num_params, num_kept)
  params = np.zeros(num_params, np.float32)
  params[mask] = np.frombuffer(message, '<f4', offset=end)
  return header, params, mask
