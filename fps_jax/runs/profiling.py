"""JAX traces, whose operations bear the names of a round's phases."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from fps_jax.core import files


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

  Raises:
    OSError: if the folder cannot be written to.
  """
  if folder is None:
    yield lambda after: after
    return
  options = jax.profiler.ProfileOptions()
  # Every call of Python would drown what the devices do.
  options.python_tracer_level = 0
  with files.naming(folder, problem='cannot be written to'):
    folder.mkdir(parents=True, exist_ok=True)
  jax.block_until_ready(before)
  jax.profiler.start_trace(folder, profiler_options=options)
  try:
    yield jax.block_until_ready
  finally:
    _stop(folder)


def _stop(folder: pathlib.Path) -> None:
  try:
    jax.profiler.stop_trace()
  except RuntimeError as error:
    raise OSError(
      f'no trace can be written to {files.show(folder)} ({error}): '
      f'{files.cure_of(error)}, or leave out --profile'
    ) from error
