"""What a run compiles, and the memory that it takes on a device.

Everything is shapes: nothing runs, and the devices need not be there.
"""

import functools
import hashlib
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax.sharding import Mesh, Sharding
from jax.stages import Compiled, Lowered

from fps_jax.core.devices import are_here
from fps_jax.core.types import Examples, RoundPlan
from fps_jax.federated.mesh import Call
from fps_jax.runs.simulation import Simulation

_WITHOUT_GPU: dict[str, str | bool] = {'xla_gpu_autotune_level': '0'}
# What is compiled for devices that are not here takes none of their memory.
_compiled: dict[str, Compiled] = {}


class Memory(NamedTuple):
  """Bytes of a program on each device.

  Attributes:
    argument_bytes: of what it is given.
    output_bytes: of what it returns.
    alias_bytes: of what it returns in the place of an argument.
    temporary_bytes: of everything in between.
  """

  argument_bytes: int
  output_bytes: int
  alias_bytes: int
  temporary_bytes: int

  @classmethod
  def of(cls, compiled: Compiled) -> Self:
    """Returns what the compiler planned."""
    planned: Any = compiled.memory_analysis()
    return cls(
      planned.argument_size_in_bytes,
      planned.output_size_in_bytes,
      planned.alias_size_in_bytes,
      planned.temp_size_in_bytes,
    )

  @property
  def total_bytes(self) -> int:
    """All of it, at the same time."""
    return (
      self.argument_bytes
      + self.output_bytes
      - self.alias_bytes
      + self.temporary_bytes
    )


def name_of(call: Call) -> str:
  """Returns what a program is called in traces."""
  return call[0].__name__


def lower(call: Call) -> Lowered:
  """Returns a program as its compiler takes it."""
  run, arguments = call
  return run.lower(*arguments)


def digest_of(lowered: Lowered, mesh: Mesh) -> str:
  """Returns what tells a program and its devices from all others."""
  text = f'{mesh.devices.flat[0].device_kind}\n{lowered.as_text()}'
  return hashlib.sha256(text.encode()).hexdigest()


def compile_lowered(lowered: Lowered, mesh: Mesh) -> Compiled:
  """Compiles a program for the devices of a mesh.

  Raises:
    JaxRuntimeError: if it cannot be compiled; see `is_out_of_memory`.
  """
  if are_here(mesh):
    return lowered.compile()
  digest = digest_of(lowered, mesh)
  if digest not in _compiled:
    is_gpu = mesh.devices.flat[0].platform == 'gpu'
    # Which algorithm is the fastest can only be tried where there is a GPU.
    options = _WITHOUT_GPU if is_gpu else None
    _compiled[digest] = lowered.compile(options)
  return _compiled[digest]


def is_out_of_memory(error: Exception) -> bool:
  """Returns whether an error of JAX is that a device has too little memory."""
  return 'RESOURCE_EXHAUSTED' in str(error)


def round_programs(
  simulation: Simulation, plan: RoundPlan, data: Examples
) -> list[Call]:
  """Returns what a round calls, as `Simulation.programs`, with shapes alone."""
  calls = simulation.programs(_state(simulation), plan, data)
  return [(run, shapes_of(arguments)) for run, arguments in calls]


def other_programs(simulation: Simulation) -> list[Call]:
  """Returns what a run calls besides: the first state, tests of models."""
  params_D = _state(simulation).params
  calls = [_call(simulation.init_state)]
  for run, arguments in simulation.tests(params_D):
    calls.append((run, shapes_of(arguments)))
  if by_client := simulation.evaluation.by_client:
    calls.append(_call(by_client.global_right, params_D))
    if by_client.own_right is not None:
      data = simulation.put_data()
      calls.append(_call(by_client.own_right, params_D, np.int32(0), data))
  return calls


def _call(function: Any, *arguments: Any) -> Call:
  """Returns a program of which some arguments are fixed, with all of them."""
  assert isinstance(function, functools.partial)
  return function.func, shapes_of((*function.args, *arguments))


def _state(simulation: Simulation) -> Any:
  """Returns the shapes of the state before a round, which all devices have."""
  return jax.tree.map(
    lambda shape: shape.update(sharding=simulation.key.sharding),
    jax.eval_shape(simulation.init_state),
  )


def shapes_of(arguments: Any) -> Any:
  """Returns the shapes of arguments, split over devices as they are."""

  def shape_of(value: Any) -> jax.ShapeDtypeStruct:
    if isinstance(value, jax.ShapeDtypeStruct):
      return value
    sharding: Sharding | None = getattr(value, 'sharding', None)
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)

  return jax.tree.map(shape_of, arguments)
