"""What servers make of each client's shares for a defence, a tile at a time.

Of every client a sketch is opened, then the sums of the range check, and then
the products with the central server's own update, if it has one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Key
from fps_jax.federated.method import Method
from fps_jax.sharing.protocol import SumProtocol


class Seen(NamedTuple):
  """What is opened of each client; floats.

  Attributes:
    sketches_CxK: of the updates.
    ranges_CxS: sums of the range check.
    products_CxP: sums of products with the central server's own update.
  """

  sketches_CxK: Array
  ranges_CxS: Array
  products_CxP: Array


class Sketching(NamedTuple):
  """One round's draws, made once all shares are fixed.

  Attributes:
    width: words that are held of each client, in every row.
    add_tile: (held uint32 [C, R, width], contributions [C, R, W], tile) ->
      held, with what the servers make of a tile of shares.
  """

  width: int
  add_tile: Callable[[Array, Array, Array], Array]


def make_sketching(
  method: Method, root_M: Array | None, key: Key, draw_number: Array
) -> Sketching:
  """Returns what servers are to compute, once all shares are fixed.

  Args:
    method: the parts of a round, with what is opened for a defence.
    root_M: float32 [`Tiling.padded_size`], the central server's own update;
      None where the defence needs none.
    key: the run's root key.
    draw_number: of the round's draws.
  """
  protocol, tiling = method.protocol, method.tiling
  assert method.guard is not None and method.guard.opened is not None
  sketch, range_check, projection = method.guard.opened
  num_secrets = protocol.alignment
  sketch_key, range_key, root_key = (
    device_key(key, stream, draw_number)
    for stream in (Stream.SKETCH, Stream.RANGE_CHECK, Stream.ROOT_ROUNDING)
  )
  multiples_M = None
  if projection is not None and root_M is not None:
    multiples_M = projection.multiples(root_M, root_key)

  def add_tile(held: Array, contributions: Array, tile: Array) -> Array:
    def open_columns(columns: Array) -> Array:
      parts = [
        sketch.apply(columns, sketch_key, tile),
        range_check.apply(columns, range_key, tile),
      ]
      if projection is not None and multiples_M is not None:
        multiples_W = jax.lax.dynamic_slice_in_dim(
          multiples_M, tile * tiling.size, tiling.size
        )
        multiples_LxW = multiples_W.reshape(-1, num_secrets).T
        parts.append(projection.apply(columns, multiples_LxW))
      return jnp.concatenate(parts, axis=-1)

    return sketch.add(held, _in_columns(protocol, contributions, open_columns))

  num_columns = sum(_sizes(method))
  return Sketching(num_columns * _slots(protocol), add_tile)


def split(method: Method, opened_CxV: Array) -> Seen:
  """Returns the parts of what was opened of each client."""
  num_sketched, num_ranges, _ = _sizes(method)
  start = method.protocol.alignment * num_sketched
  end = start + method.protocol.alignment * num_ranges
  return Seen(
    opened_CxV[:, :start], opened_CxV[:, start:end], opened_CxV[:, end:]
  )


def _sizes(method: Method) -> tuple[int, int, int]:
  """Returns the columns of each part, of l secrets each."""
  assert method.guard is not None and method.guard.opened is not None
  sketch, range_check, projection = method.guard.opened
  num_products = projection.num_sums if projection else 0
  return (
    sketch.num_buckets,
    range_check.num_sums,
    num_products * method.protocol.alignment,
  )


def _in_columns(
  protocol: SumProtocol, held: Array, apply: Callable[[Array], Array]
) -> Array:
  """Returns what `apply` makes of the columns that are held of a tile."""
  slots = _slots(protocol)
  if slots == 1:
    return apply(held)
  # Words that nobody shares, treated as if they were packed.
  columns = held.reshape(*held.shape[:-1], -1, slots)
  pieces = apply(jnp.moveaxis(columns, -1, -2))
  return jnp.moveaxis(pieces, -2, -1).reshape(*held.shape[:-1], -1)


def _slots(protocol: SumProtocol) -> int:
  """Returns the values that share their draws, but not a column."""
  return protocol.alignment // protocol.values_per_column
