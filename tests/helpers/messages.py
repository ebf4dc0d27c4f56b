"""Examples of every message, with what they were made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.messages import clear, shared
from fps_jax.sharing.messages.header import Header, Kind, scheme_numbers
from fps_jax.sharing.shamir import Shamir

SCHEME = Shamir(PrimeField(2**19 - 1), 5, 4, 2)


class Example(NamedTuple):
  """A message, what it was made of, and the functions that go both ways."""

  message: bytes
  parts: tuple
  encode: Callable[..., bytes]
  decode: Callable[[bytes], tuple]


def make_header(
  kind: Kind, num_values: int, scheme: Shamir | None = None
) -> Header:
  numbers = scheme_numbers(scheme)
  return Header(
    kind, 70_000, 2**32 - 1, 1, num_values, **numbers, attempt=4_000
  )


def random_words(size: int | tuple[int, int], scheme: Shamir) -> np.ndarray:
  rng = np.random.default_rng(3)
  words = rng.integers(scheme.field.modulus, size=size, dtype=np.uint32)
  words[::3] = scheme.field.modulus - 1
  return words


def floats(size: int) -> np.ndarray:
  values = np.random.default_rng(size).normal(size=size).astype(np.float32)
  values[::4] = np.resize(np.float32([-0.0, 1e-45, -3.4e38, 0.1]), size)[::4]
  return values


def model_example(mask: np.ndarray) -> Example:
  params = np.where(mask, floats(len(mask)), np.float32(0))
  kind = Kind.MODEL if mask.all() else Kind.SPARSE_MODEL

  def encode(header, params, mask):
    return clear.encode_model(
      header.round, header.receiver, params, mask, header.attempt
    )

  header = Header(kind, 7, 0, 9, len(mask), attempt=5)
  parts = (header, params, mask)

  def decode(message):
    return clear.decode_model(message, len(mask))

  return Example(encode(*parts), parts, encode, decode)


def example(kind: Kind, size: int = 5, scheme: Shamir = SCHEME) -> Example:
  """Returns a message of `size` values (or clients) and the count 600."""
  if kind in (Kind.MODEL, Kind.SPARSE_MODEL):
    is_dense = kind is Kind.MODEL
    return model_example((np.arange(size) % 3 != 0) | is_dense)
  if kind is Kind.UPDATE:
    parts: tuple[Any, ...] = (make_header(kind, size), floats(size), 600)
    message = clear.encode_update(*parts)
    return Example(message, parts, clear.encode_update, clear.decode_update)
  if kind is Kind.QUANTISED_UPDATE:
    rounded = np.random.default_rng(3).integers(-15, 16, size, np.int32)
    parts = (make_header(kind, size), rounded, 5, 600)
    message = clear.encode_quantised_update(*parts)
    return Example(
      message,
      parts,
      clear.encode_quantised_update,
      clear.decode_quantised_update,
    )
  if kind is Kind.POSITIONS:
    parts = (make_header(kind, size), np.arange(size) % 3 == 0)
    message = clear.encode_positions_message(*parts)

    def decode_positions(message):
      return clear.decode_positions_message(message, size)

    encode_positions = clear.encode_positions_message
    return Example(message, parts, encode_positions, decode_positions)
  words = random_words(scheme.num_columns(size + 1), scheme)
  payload: tuple[Any, ...] = {
    Kind.SEED: (np.arange(2**32 - 8, 2**32, dtype=np.uint32),),
    Kind.SHARE: (words,),
    Kind.SUM: (600, shared.client_set_digest(range(600)), words),
    Kind.CHECK: (random_words((size, 3), scheme),),
  }[kind]
  parts = (make_header(kind, size, scheme), *payload)
  encode_any = getattr(shared, f'encode_{kind.name.lower()}')
  decode_any = getattr(shared, f'decode_{kind.name.lower()}')

  def encode(*parts):
    return encode_any(*parts, scheme)

  def decode(message):
    return decode_any(message, scheme)

  return Example(encode(*parts), parts, encode, decode)
