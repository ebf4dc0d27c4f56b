"""JAX traces, whose operations bear the names of a round's phases."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax


@contextlib.contextmanager
def trace(
  folder: pathlib.Path | None, before: Any
) -> Iterator[Callable[[Any], Any]]:
  """Writes a trace of what devices do meanwhile; XProf and Perfetto show it.

  Args:
    folder: created; None for no trace.
    before: arrays that are waited for before the trace begins.

  Yields:
    A function to call, at the end, with the arrays that belong to the trace.
  """
  if folder is None:
    yield lambda after: after
    return
  options = jax.profiler.ProfileOptions()
  # Every call of Python would drown what the devices do.
  options.python_tracer_level = 0
  jax.block_until_ready(before)
  with jax.profiler.trace(folder, profiler_options=options):
    yield jax.block_until_ready
