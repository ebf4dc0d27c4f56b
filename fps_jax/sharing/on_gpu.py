"""Uniform words on a GPU in one kernel, which XLA makes dozens of.

A thread computes one block of the cipher at a time and keeps it in registers:
its words are drawn again there until they are below p, and added up over
clients before anything is written. So what is read are keys, and what is
written are sums. The words are those of `randomness.uniform`, bit for bit.

Pallas compiles it by Triton; `interpret` runs it anywhere, for tests.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from fps_jax.core.types import Array
from fps_jax.sharing import chacha
from fps_jax.sharing.field import PrimeField

# A block of the cipher a thread, two warps.
_BLOCKS = 64
_WARPS = 2
# That one program adds up: more of them write less, fewer keep more of the
# device busy.
_CLIENTS = 32


def where_it_compiles(
  kernel: Callable[..., Array],
  elsewhere: Callable[..., Array],
  *arguments: Array,
) -> Array:
  """Returns what a kernel computes, or where Triton has none, a function.

  Triton is for CUDA from compute capability 8 on, Ampere. Programs that are
  compiled for GPUs that are not there are taken to be for such.
  """
  try:
    devices = jax.local_devices(backend='cuda')
  except RuntimeError:
    devices = []
  if any(float(device.compute_capability) < 8 for device in devices):
    return elsewhere(*arguments)
  return jax.lax.platform_dependent(*arguments, cuda=kernel, default=elsewhere)


def uniform_sums(
  keys_CxZx8: Array,
  ends_C: Array,
  first_word: Array,
  num_words: int,
  field: PrimeField,
  interpret: bool = False,
) -> Array:
  """Returns sums over clients of uniform elements; see `randomness`.

  Args:
    keys_CxZx8: uint32 [C, Z, 8], C and Z at least 1.
    ends_C: int32 [C], how many words of each client's rows count.
    first_word: uint32 [], place of the first element, a multiple of 16.
    num_words: elements a row.
    field: the field.
    interpret: whether to run it without compiling, which any device can.

  Returns:
    uint32 [Z, num_words].
  """
  num_clients, num_rows, _ = keys_CxZx8.shape
  num_groups = pl.cdiv(num_clients, _CLIENTS)
  sums = pl.pallas_call(
    functools.partial(_add_words, field, num_words),
    out_shape=jax.ShapeDtypeStruct(
      (num_groups, num_rows, num_words), jnp.uint32
    ),
    grid=(num_groups * num_rows, pl.cdiv(num_words, _BLOCKS * 16)),
    compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=1),
    interpret=interpret,
    name='uniform_sums',
  )(keys_CxZx8, ends_C, (first_word // chacha.BLOCK_WORDS)[None])
  return field.sum(sums) if num_groups > 1 else sums[0]


def _add_words(
  field: PrimeField,
  num_words: int,
  keys_ref: Any,
  ends_ref: Any,
  first_block_ref: Any,
  sums_ref: Any,
) -> None:
  """The kernel: a row of a group of clients, `_BLOCKS` blocks of it."""
  num_clients, num_rows, _ = keys_ref.shape
  group, row = pl.program_id(0) // num_rows, pl.program_id(0) % num_rows
  blocks_B = pl.program_id(1) * _BLOCKS + jnp.arange(_BLOCKS, dtype=jnp.int32)
  counters_B = first_block_ref[0] + blocks_B.astype(jnp.uint32)
  places = [blocks_B * 16 + word for word in range(chacha.BLOCK_WORDS)]

  def add_client(client: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
    key = [keys_ref[client, row, word] for word in range(chacha.KEY_WORDS)]
    end = ends_ref[client]
    return tuple(
      field.add(total_B, jnp.where(places_B < end, word_B, jnp.uint32(0)))
      for total_B, places_B, word_B in zip(
        sums, places, _draw(field, key, counters_B), strict=True
      )
    )

  first = group * _CLIENTS
  nothing_B = jnp.zeros(_BLOCKS, jnp.uint32)
  sums = jax.lax.fori_loop(
    first,
    jnp.minimum(first + _CLIENTS, num_clients),
    add_client,
    (nothing_B,) * chacha.BLOCK_WORDS,
  )
  for places_B, total_B in zip(places, sums, strict=True):
    triton.store(
      sums_ref.at[group, row, places_B], total_B, mask=places_B < num_words
    )


def _draw(
  field: PrimeField, key: list[Array], counters_B: Array
) -> tuple[Array, ...]:
  """Returns the words of blocks of the cipher, each drawn until below p."""

  def is_outside(carry: tuple[tuple[Array, ...], Array]) -> Array:
    largest_B = functools.reduce(jnp.maximum, carry[0])
    return jnp.max(largest_B) >= jnp.uint32(field.modulus)

  def redraw(
    carry: tuple[tuple[Array, ...], Array],
  ) -> tuple[tuple[Array, ...], Array]:
    words, attempt = carry
    shape = counters_B.shape
    state = (
      *(jnp.broadcast_to(word, shape) for word in key),
      counters_B,
      jnp.broadcast_to(attempt, shape),
      *(jnp.zeros(shape, jnp.uint32),) * 2,
    )
    drawn = chacha.blocks(state)
    low_bits = jnp.uint32(2**field.bits - 1)
    words = tuple(
      jnp.where(word_B < jnp.uint32(field.modulus), word_B, drawn_B & low_bits)
      for word_B, drawn_B in zip(words, drawn, strict=True)
    )
    return words, attempt + jnp.uint32(1)

  # p itself lies outside the field, so the first pass draws every word.
  nothing_B = jnp.full(counters_B.shape, field.modulus, jnp.uint32)
  start = (nothing_B,) * chacha.BLOCK_WORDS, jnp.uint32(0)
  return jax.lax.while_loop(is_outside, redraw, start)[0]
