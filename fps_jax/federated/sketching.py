"""What servers make of each client's shares for a defence, a tile at a time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.federated.method import Method
from fps_jax.rng import Stream, device_key
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.types import Array, Key


class Sketching(NamedTuple):
  """What is opened of each client: a sketch and then sums of products, if any.

  Attributes:
    num_columns: that are held of each client, in every row.
    add_tile: (held uint32 [C, R, num_columns], contributions [C, R, W], tile)
      -> held, with what the servers make of a tile of shares.
    root_step: float32 [], what the products are to be multiplied by; None where
      there are none.
  """

  num_columns: int
  add_tile: Callable[[Array, Array, Array], Array]
  root_step: Array | None


def make_sketching(
  method: Method, root_M: Array | None, key: Key, draw_number: Array
) -> Sketching:
  """Returns what is drawn once all shares are fixed, for one round.

  Args:
    method: the parts of a round, with a sketch.
    root_M: float32 [`Tiling.padded_size`], the central server's own update;
      None where the defence needs none.
    key: the run's root key.
    draw_number: of the round's draws.
  """
  protocol, tiling = method.protocol, method.tiling
  assert method.guard is not None and method.guard.sketch is not None
  sketch, projection = method.guard.sketch, method.guard.projection
  sketch_key = device_key(key, Stream.SKETCH, draw_number)
  num_secrets = protocol.alignment
  num_columns, root_step, multiples_M = sketch.num_buckets, None, None
  if root_M is not None and projection is not None:
    num_columns += num_secrets * projection.num_sums
    multiples_M, root_step = projection.multiples(
      root_M, device_key(key, Stream.ROOT_ROUNDING, draw_number)
    )

  def add_tile(held: Array, contributions: Array, tile: Array) -> Array:
    def see(columns: Array) -> Array:
      sketched = sketch.apply(columns, sketch_key, tile)
      if projection is None or multiples_M is None:
        return sketched
      multiples_W = jax.lax.dynamic_slice_in_dim(
        multiples_M, tile * tiling.size, tiling.size
      )
      sums = projection.apply(columns, multiples_W.reshape(-1, num_secrets).T)
      return jnp.concatenate([sketched, sums], axis=-1)

    return sketch.add(held, _in_columns(protocol, contributions, see))

  return Sketching(num_columns * _slots(protocol), add_tile, root_step)


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
