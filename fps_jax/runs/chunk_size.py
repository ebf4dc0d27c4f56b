"""How many clients a device trains at once, by the memory that it has.

Where clients are vmapped, larger chunks make fewer and longer kernels; memory
is what bounds them. It is planned, not tried: programs are compiled for a few
sizes, and their compiler says what each takes.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping

import jax
from absl import logging
from jax.sharding import Mesh

from fps_jax.core.accelerators import usable_bytes
from fps_jax.federated.mesh import Call
from fps_jax.federated.round import make_round
from fps_jax.runs.programs import (
  Memory,
  compile_lowered,
  is_out_of_memory,
  lower,
  round_programs,
)
from fps_jax.runs.simulation import Simulation

# Of the memory that JAX has. The rest is for tests of models, what libraries
# take while they run, and gaps between arrays.
PART_OF_MEMORY = 0.6
# Elements of an array that 32 bits can count.
_MOST_ELEMENTS = 2**31 - 1
# Sizes that are compiled to see how memory grows.
_FIRST_SIZES = (32, 128)
_MOST_TRIES = 5
# Bytes by the program, of which several runs of a study have the same.
_known_bytes: dict[str, float] = {}

# Clients a chunk -> bytes that a round takes on a device.
Measure = Callable[[int], float]


def with_chunk_size(simulation: Simulation) -> Simulation:
  """Returns a run whose chunks are as large as the memory of a device allows.

  It is as it was where clients run in sequence, where `perf.chunk_size` says
  how many they are, and where nobody knows the memory, as of a processor.

  Guarantees:
    - nothing is run, and the same run on the same devices has the same size;
    - a round takes `PART_OF_MEMORY` of what JAX has, at most, unless one client
      takes more.
  """
  performance = simulation.round.method.performance
  if performance.chunk_size or not performance.vmaps:
    return simulation
  usable = usable_bytes(simulation.mesh)
  if usable is None:
    return simulation
  num_rows = len(simulation.plan(0).cohort.client_ids) // simulation.mesh.size
  most_rows = _MOST_ELEMENTS // simulation.round.method.tiling.padded_size
  size = largest_fitting(
    lambda size: _round_bytes(_with(simulation, size)),
    max(1, min(num_rows, most_rows)),
    int(PART_OF_MEMORY * usable),
  )
  logging.info('chunks of %d clients (perf.chunk_size=0)', size)
  return _with(simulation, size)


def _with(simulation: Simulation, size: int) -> Simulation:
  method = simulation.round.method
  performance = dataclasses.replace(method.performance, chunk_size=size)
  method = method._replace(performance=performance)
  return dataclasses.replace(
    simulation, round=make_round(method, simulation.mesh)
  )


def _round_bytes(simulation: Simulation) -> float:
  """Returns what a round takes of a device; infinity for more than it has."""
  # The central server's step has no chunks.
  *calls, _ = round_programs(simulation, 0)
  return max(_program_bytes(call, simulation.mesh) for call in calls)


def _program_bytes(call: Call, mesh: Mesh) -> float:
  lowered = lower(call)
  text = f'{mesh.devices.flat[0].device_kind}\n{lowered.as_text()}'
  digest = hashlib.sha256(text.encode()).hexdigest()
  if digest not in _known_bytes:
    try:
      memory = Memory.of(compile_lowered(lowered, mesh))
      _known_bytes[digest] = memory.total_bytes
    except jax.errors.JaxRuntimeError as error:
      if not is_out_of_memory(error):
        raise
      _known_bytes[digest] = math.inf
  return _known_bytes[digest]


def largest_fitting(measure: Measure, most: int, limit: int) -> int:
  """Returns a size that fits, and as far as a few tries tell the largest.

  Chunks of it are as even as can be: of `most` in all, it is a part rounded up.

  Args:
    measure: bytes of a size; they grow about linearly.
    most: at least 1.
    limit: of the bytes.

  Returns:
    A size that was measured and fits; 1 where none does.
  """
  tried: dict[int, float] = {}
  for size in _FIRST_SIZES:
    size = _even(size, most)
    tried[size] = measure(size)
    if size == most and tried[size] <= limit:
      return most
  while len(tried) < _MOST_TRIES:
    size = _even(_on_line(tried, limit), most)
    if size in tried:
      break
    tried[size] = measure(size)
    if tried[size] <= limit:
      break
  return max((size for size in tried if tried[size] <= limit), default=1)


def _on_line(tried: Mapping[int, float], limit: int) -> int:
  """Returns the size at which a line through what was tried is at the limit."""
  sizes = sorted(size for size in tried if tried[size] < math.inf)
  too_large = min((size for size in tried if size not in sizes), default=None)
  if len(sizes) < 2:
    return min(tried) // 2
  small, large = sizes[-2:]
  slope = (tried[large] - tried[small]) / (large - small)
  if slope <= 0:
    return (too_large or 2 * _MOST_ELEMENTS) - 1
  on_line = large + int((limit - tried[large]) // slope)
  return on_line if too_large is None else min(on_line, too_large - 1)


def _even(size: int, most: int) -> int:
  """Returns the size of as many chunks, all about as large."""
  num_chunks = -(-most // max(1, min(size, most)))
  return -(-most // num_chunks)
