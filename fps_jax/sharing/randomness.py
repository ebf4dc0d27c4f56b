"""Exactly uniform field elements from a JAX key.

The key and the generator are JAX's threefry: reproducible, portable, and good
enough to simulate with. It has a 64-bit key and is not a cryptographic
generator, so these shares must not protect real data.
"""

import jax
import jax.numpy as jnp

from fps_jax.sharing.field import PrimeField
from fps_jax.types import Array, Key


def uniform(key: Key, shape: tuple[int, ...], field: PrimeField) -> Array:
  """Returns independent, exactly uniform elements of the field.

  Draws ceil(log2 p) bits and draws again wherever they are not below p, so
  that, unlike `bits % p`, no element is likelier than another.

  Args:
    key: the key is consumed.
    shape: the shape of the result.
    field: the field.

  Returns:
    uint32 elements of shape `shape`.
  """
  low_bits = jnp.uint32(2**field.bits - 1)

  def is_outside(carry):
    return jnp.any(carry[0] >= field.modulus)

  def redraw(carry):
    words, key = carry
    key, draw_key = jax.random.split(key)
    drawn = jax.random.bits(draw_key, shape, jnp.uint32) & low_bits
    return jnp.where(words < field.modulus, words, drawn), key

  # p itself lies outside the field, so the first pass draws every word.
  nothing = jnp.full(shape, field.modulus, jnp.uint32)
  return jax.lax.while_loop(is_outside, redraw, (nothing, key))[0]
