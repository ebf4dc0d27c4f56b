"""Functions that XLA compiles by themselves."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

Arguments = ParamSpec('Arguments')
Result = TypeVar('Result')


def separately(
  function: Callable[Arguments, Result], static_argnames: Sequence[str] = ()
) -> Callable[Arguments, Result]:
  """Decorates a function that XLA is to leave a call, jitted.

  It is not fused with what its arguments are computed from, which would be
  computed anew for every use, nor with what becomes of its results: if those
  are only moved, each number's place is computed in the loop that computes the
  number. XLA removes `jax.lax.optimization_barrier` before it fuses.

  Args:
    function: of arrays, and of keywords.
    static_argnames: keywords that are no arrays.
  """
  jitted = jax.jit(function, static_argnames=static_argnames)

  @functools.wraps(function)
  def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    with set_xla_metadata(inlineable='false'):
      return jitted(*args, **kwargs)

  return call
