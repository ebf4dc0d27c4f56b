"""Loops that a processor ends when it must, and an accelerator is told of.

Where a program runs on an accelerator, a host launches its kernels. Of a loop
whose trip count is traced it reads the condition back before every turn, and
cannot launch ahead. Known turns have no condition; what is to be left out of
them stands in branches, which are read back once for as many turns.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax

from fps_jax.core.types import Array

_Carry = TypeVar('_Carry')


class Turns(NamedTuple):
  """How often a loop turns.

  Attributes:
    limit: int32 [], the turns that do something; may be traced.
    most: turns that a program has, in `stride`s that are left out as a whole; a
      multiple of it.
    stride: turns between branches. Those of a stride that are not left out do
      something harmless beyond `limit`.
  """

  limit: Array
  most: int
  stride: int = 1


def repeat(
  turns: Turns | Array | int,
  body: Callable[[Array, _Carry], _Carry],
  start: _Carry,
) -> _Carry:
  """Returns what a body makes of where it starts, in turns from 0.

  Args:
    turns: how many; what is not `Turns` is a count for a loop that ends there.
    body: (number of the turn, carry) -> carry.
    start: the first carry.
  """
  if not isinstance(turns, Turns):
    return jax.lax.fori_loop(0, turns, body, start)

  def stride_or_nothing(number: Array, carry: _Carry) -> _Carry:
    first = number * turns.stride
    return jax.lax.cond(
      first < turns.limit,
      lambda now: jax.lax.fori_loop(
        0, turns.stride, lambda turn, now: body(first + turn, now), now
      ),
      lambda now: now,
      carry,
    )

  num_strides = turns.most // turns.stride
  return jax.lax.fori_loop(0, num_strides, stride_or_nothing, start)
