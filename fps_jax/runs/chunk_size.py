"""How many clients a device trains at once, by the memory that it has.

Where clients are vmapped, larger chunks make fewer and longer kernels; memory
is what bounds them. It is planned, not tried: programs are compiled for a few
sizes, and their compiler says what each takes.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from fps_jax.core.accelerators import usable_bytes
from fps_jax.core.types import Examples, RoundPlan
from fps_jax.federated.mesh import Call
from fps_jax.federated.round import make_round
from fps_jax.runs.programs import (
  Memory,
  compile_lowered,
  digest_of,
  is_out_of_memory,
  lower,
  round_programs,
  shapes_of,
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
# Chunks of so few clients are as good as it gets; and how much more than theirs
# larger chunks may take.
_EVEN_ENOUGH = 16
_STEPS_IN_VAIN = 0.25
# Bytes by the program, of which several runs of a study have the same.
_known_bytes: dict[str, float] = {}


class OutOfMemoryError(ValueError):
  """A device has too little memory; the message says which field to lower."""


# Clients a chunk -> bytes that a round takes on a device.
Measure = Callable[[int], float]


def with_chunk_size(simulation: Simulation) -> Simulation:
  """Returns a run whose chunks are as large as the memory of a device allows.

  It is as it was where clients run in sequence, where `perf.chunk_size` says
  how many they are, and where nobody knows the memory, as of a processor.

  Guarantees:
    - nothing is run, and the same run on the same devices has the same size;
    - a round takes `PART_OF_MEMORY` of what JAX has, at most, unless one client
      takes more;
    - by the plan of the first round, no more steps are taken in vain than
      `most_in_step` allows.
  """
  performance = simulation.round.method.performance
  if performance.chunk_size or not performance.vmaps:
    return simulation
  usable = usable_bytes(simulation.mesh)
  if usable is None:
    return simulation
  most_rows = _MOST_ELEMENTS // simulation.round.method.tiling.padded_size
  plan = simulation.plan(0)
  # The arrays themselves need not stay on the devices.
  data = shapes_of(simulation.put_data())
  num_steps = np.asarray(plan.cohort.num_steps)
  size = largest_fitting(
    lambda size: round_bytes(_with(simulation, size), plan, data),
    most_in_step(num_steps.reshape(simulation.mesh.size, -1), most_rows),
    int(PART_OF_MEMORY * usable),
  )
  return _with(simulation, size)


@contextlib.contextmanager
def naming_it(simulation: Simulation) -> Iterator[None]:
  """Has a device that runs out of memory inside say what to lower.

  Raises:
    OutOfMemoryError: in the place of JAX's error.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not is_out_of_memory(error):
      raise
    size = simulation.round.method.performance.clients_per_chunk
    cure = f'lower perf.chunk_size, which is {size} now'
    if size == 1:
      cure = (
        'perf.chunk_size is 1 already: lower client.batch_size or '
        'eval.batch_size, or use more devices'
      )
    raise OutOfMemoryError(
      f'a device has too little memory for a round: {cure}'
    ) from error


def _with(simulation: Simulation, size: int) -> Simulation:
  method = simulation.round.method
  performance = dataclasses.replace(method.performance, chunk_size=size)
  method = method._replace(performance=performance)
  return dataclasses.replace(
    simulation, round=make_round(method, simulation.mesh)
  )


def round_bytes(
  simulation: Simulation, plan: RoundPlan, data: Examples
) -> float:
  """Returns what a round takes of a device; infinity for more than it has."""
  # The central server's step has no chunks.
  *calls, _ = round_programs(simulation, plan, data)
  return max(_program_bytes(call, simulation.mesh) for call in calls)


def _program_bytes(call: Call, mesh: Mesh) -> float:
  lowered = lower(call)
  digest = digest_of(lowered, mesh)
  if digest not in _known_bytes:
    try:
      memory = Memory.of(compile_lowered(lowered, mesh))
      _known_bytes[digest] = memory.total_bytes
    except jax.errors.JaxRuntimeError as error:
      if not is_out_of_memory(error):
        raise
      _known_bytes[digest] = math.inf
  return _known_bytes[digest]


def most_in_step(steps_PxC: np.ndarray, most: int) -> int:
  """Returns the largest chunk whose clients take about as many steps.

  All clients of a chunk train for as long as the longest.

  Guarantee: chunks of it take `_STEPS_IN_VAIN` of the steps that small chunks
  take, at most, besides these.

  Args:
    steps_PxC: int [devices, clients], falling for each device.
    most: clients of a chunk, at least 1.
  """
  num_rows = steps_PxC.shape[1]

  def taken(size: int) -> int:
    return int(steps_PxC[:, ::size].sum(axis=1).max()) * size

  small = min(_EVEN_ENOUGH, most, num_rows)
  limit = (1 + _STEPS_IN_VAIN) * taken(small)
  for num_chunks in range(1, num_rows // small + 1):
    size = -(-num_rows // num_chunks)
    if size <= most and taken(size) <= limit:
      return size
  return small


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
  if len(sizes) < 2 and too_large is not None:
    return (max(sizes, default=0) + too_large) // 2
  if len(sizes) < 2:
    return int(limit / tried[sizes[0]] * sizes[0])
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
