"""What servers make of each client's shares for a defence, a tile at a time.

Of every client a sketch is opened, then the sums of the range check, and then
the products with the central server's own update, if it has one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream
from fps_jax.core.types import Array, Key, PlanArray
from fps_jax.federated.layout import Tiling
from fps_jax.federated.method import Method, Opened, RoundInput
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
    protocol: how updates are shared.
    tiling: how they are cut.
    opened: what is opened of them.
    sketch_key: of what values are added up in a sketch.
    range_key: of what is added up for the range check.
    multiples_M: the central server's own update as servers multiply by it; None
      where the defence needs none.
  """

  protocol: SumProtocol
  tiling: Tiling
  opened: Opened
  sketch_key: Key
  range_key: Key
  multiples_M: Array | None

  def start(self, num_clients: int) -> Array:
    """Returns nothing: uint32 [C, R, words that are held of each client]."""
    rows = self.protocol.zeros(1).shape[0]
    width = sum(_sizes(self.protocol, self.opened)) * _slots(self.protocol)
    return jnp.zeros((num_clients, rows, width), jnp.uint32)

  def add_tile(self, held: Array, contributions: Array, tile: Array) -> Array:
    """Adds what servers make of a tile of shares, [C, R, W]."""

    def open_columns(columns: Array) -> Array:
      sketch, range_check, projection = self.opened
      parts = [
        sketch.apply(columns, self.sketch_key, tile),
        range_check.apply(columns, self.range_key, tile),
      ]
      if projection is not None and self.multiples_M is not None:
        size = self.tiling.size
        multiples_W = jax.lax.dynamic_slice_in_dim(
          self.multiples_M, tile * size, size
        )
        multiples_LxW = multiples_W.reshape(-1, self.protocol.alignment).T
        parts.append(projection.apply(columns, multiples_LxW))
      return jnp.concatenate(parts, axis=-1)

    made = _in_columns(self.protocol, contributions, open_columns)
    return self.opened.sketch.add(held, made)


def make_sketching(
  method: Method, opened: Opened, inputs: RoundInput, root_M: Array | None
) -> Sketching:
  """Returns what servers are to compute, once all shares are fixed.

  `root_M` is as of `Trained`.
  """
  multiples_M = None
  if opened.projection is not None and root_M is not None:
    multiples_M = opened.projection.multiples(
      root_M, inputs.attempt_key(Stream.ROOT_ROUNDING)
    )
  return Sketching(
    method.protocol,
    method.tiling,
    opened,
    inputs.attempt_key(Stream.SKETCH),
    inputs.attempt_key(Stream.RANGE_CHECK),
    multiples_M,
  )


def open_views(
  protocol: SumProtocol, opened: Opened, views: Array, opening: PlanArray
) -> Seen:
  """Opens what servers hold of each client, uint32 [C, R, V]."""
  opened_CxV = jax.vmap(
    lambda held: protocol.decode(protocol.open(held, opening))
  )(views)
  num_sketched, num_ranges, _ = _sizes(protocol, opened)
  start = protocol.alignment * num_sketched
  end = start + protocol.alignment * num_ranges
  return Seen(
    opened_CxV[:, :start], opened_CxV[:, start:end], opened_CxV[:, end:]
  )


def inner_products(
  opened: Opened, seen: Seen, root_M: Array | None
) -> tuple[Array, Array]:
  """Returns the inner products of updates, as far as they are opened.

  Guarantee: whose words wrapped around in a product is not sound, nor is who
  does not pass the range check.

  Args:
    opened: what it was opened by.
    seen: what was opened of each client.
    root_M: float32 [M], the central server's own update; None where the defence
      needs none.

  Returns:
    float32 [C, C], or [C + 1, C + 1] with the central server's own update in
    the last row, and bool [C], whether what a client shared is sound.
  """
  gram_CxC = gram(seen.sketches_CxK)
  norms_C = jnp.sqrt(jnp.diagonal(gram_CxC))
  is_sound_C = opened.range_check.is_within(seen.ranges_CxS, norms_C)
  if root_M is None or opened.projection is None:
    return gram_CxC, is_sound_C
  root_norm = jnp.linalg.norm(root_M)
  products_C = opened.projection.total(seen.products_CxP)
  products_C = products_C * opened.projection.step(root_M)
  # Norms are estimates, but not by a factor of two.
  is_sound_C &= jnp.abs(products_C) <= 2 * norms_C * root_norm
  gram_VxV = jnp.block(
    [
      [gram_CxC, products_C[:, None]],
      [products_C[None], jnp.square(root_norm)[None, None]],
    ]
  )
  return gram_VxV, is_sound_C


def gram(rows: Array) -> Array:
  """Returns the inner products of all pairs of rows."""
  return jnp.matmul(rows, rows.T, precision='highest')


def _sizes(protocol: SumProtocol, opened: Opened) -> tuple[int, int, int]:
  """Returns the columns of each part, of l secrets each."""
  sketch, range_check, projection = opened
  num_products = projection.num_sums if projection else 0
  return (
    sketch.num_buckets,
    range_check.num_sums,
    num_products * protocol.alignment,
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
