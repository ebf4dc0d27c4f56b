"""Which rounding of its values each client of a chunk shares."""

from typing import Protocol

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, Key
from fps_jax.federated.loops import Turns, repeat
from fps_jax.privacy import rounding
from fps_jax.privacy.noisy_codec import Draws, NoisyCodec


class ReadTile(Protocol):
  """What a chunk's clients would share of a tile, if it were not rounded."""

  def __call__(self, tile: Array) -> tuple[Array, Array]:
    """Returns float32 [C, W], and the place of its first value, int32 []."""


def choose_roundings(
  codec: NoisyCodec,
  noise_Cx8: Array,
  keys_C: Key,
  read_tile: ReadTile,
  num_tiles: Turns | Array | int,
) -> Draws:
  """Returns the first rounding of each client that holds the codec's bound.

  Roundings are drawn for all while any client has none; each takes its own
  first one, whoever is in its chunk.

  Args:
    codec: of their values.
    noise_Cx8: uint32 [C, 8], the key of each one's noise.
    keys_C: of their roundings.
    read_tile: what is rounded.
    num_tiles: how many tiles have values.
  """
  (num_clients,) = keys_C.shape
  none_Cx2 = jnp.zeros((num_clients, 2), jnp.uint32)

  def is_within(attempt: Array) -> Array:
    """Returns whose rounding of this attempt holds the bound, bool [C]."""

    def add_tile(tile: Array, squares_Cx2: Array) -> Array:
      values_CxW, first = read_tile(tile)
      rounded_CxW = jax.vmap(codec.round, (0, 0, None, None))(
        values_CxW, keys_C, attempt, first
      )
      more_Cx2 = rounding.squares_of_integers(rounded_CxW)
      return rounding.add_pairs(squares_Cx2, more_Cx2)

    return codec.is_within(repeat(num_tiles, add_tile, none_Cx2))

  def is_open(carry: tuple[Array, Array, Array]) -> Array:
    attempt, _, is_within_C = carry
    return (attempt < rounding.MAX_ATTEMPTS) & ~jnp.all(is_within_C)

  def draw_again(
    carry: tuple[Array, Array, Array],
  ) -> tuple[Array, Array, Array]:
    attempt, chosen_C, is_within_C = carry
    chosen_C = jnp.where(is_within_C, chosen_C, attempt)
    return attempt + 1, chosen_C, is_within_C | is_within(attempt)

  start = (
    jnp.int32(0),
    jnp.zeros(num_clients, jnp.int32),
    jnp.zeros(num_clients, bool),
  )
  _, chosen_C, is_within_C = jax.lax.while_loop(is_open, draw_again, start)
  return Draws(keys_C, noise_Cx8, chosen_C, is_within_C)
