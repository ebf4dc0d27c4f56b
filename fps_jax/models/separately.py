"""Functions that XLA compiles by themselves."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from fps_jax.core.types import Array

Result = TypeVar('Result')


def separately(function: Callable[..., Result], *arrays: Array) -> Result:
  """Returns function(*arrays), which XLA leaves a call.

  What is computed before and after is not fused with it: XLA would compute it
  anew for each use, or compute where each number lies while it moves it.
  `jax.lax.optimization_barrier` is gone by then.
  """
  with set_xla_metadata(inlineable='false'):
    return _call(function, *arrays)


@functools.partial(jax.jit, static_argnums=0)
def _call(function: Callable[..., Result], *arrays: Array) -> Result:
  return function(*arrays)
