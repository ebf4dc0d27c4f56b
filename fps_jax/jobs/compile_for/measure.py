"""Compiles all programs of a run, and adds up what a round takes."""

from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from fps_jax.config.sections.model import make_model
from fps_jax.data.dataset import Dataset
from fps_jax.federated.mesh import Call
from fps_jax.jobs.compile_for import hlo, kernels
from fps_jax.jobs.compile_for.estimate import Assumptions, Seconds
from fps_jax.jobs.compile_for.kernels import Count
from fps_jax.jobs.compile_for.plan import Turns
from fps_jax.jobs.compile_for.target import Target
from fps_jax.runs.costs.flops import training_flops
from fps_jax.runs.programs import (
  Memory,
  compile_lowered,
  is_out_of_memory,
  lower,
  name_of,
  other_programs,
  round_programs,
)
from fps_jax.runs.simulation import Simulation


class Compiled(NamedTuple):
  """A program, compiled.

  Attributes:
    name: as in traces.
    memory: None where the compiler found that there is too little.
    counted: what runs in it.
    problem: what the compiler says of the memory; '' where there is enough.
  """

  name: str
  memory: Memory | None
  counted: Count
  problem: str = ''

  def to_json(self) -> dict[str, Any]:
    """Returns it for a file."""
    return {
      'name': self.name,
      **(self.memory or Memory(0, 0, 0, 0))._asdict(),
      'problem': self.problem,
      'kernels': self.counted.kernels,
    }


def compile_call(call: Call, simulation: Simulation, turns: Turns) -> Compiled:
  """Compiles a program for the devices of a run; runs nothing."""
  try:
    compiled = compile_lowered(lower(call), simulation.mesh)
  except jax.errors.JaxRuntimeError as error:
    if not is_out_of_memory(error):
      raise
    problem = str(error).partition('\n')[0]
    return Compiled(name_of(call), None, Count(), problem)
  program = hlo.parse(compiled.as_text() or '')
  counted = kernels.count(program, turns.of_loop)
  return Compiled(name_of(call), Memory.of(compiled), counted)


def measure(
  name: str,
  config: ConfigDict,
  dataset: Dataset,
  simulation: Simulation,
  target: Target,
) -> dict[str, Any]:
  """Returns what a run takes of each device, as `json.dumps` has it.

  Args:
    name: of the variant.
    config: of the variant.
    dataset: that it trains on.
    simulation: built for the target's devices.
    target: the devices.
  """
  # The last round: those before it may be on the way to what is pruned.
  last, num_devices = config.num_rounds - 1, simulation.mesh.size
  plan = simulation.plan(last)
  turns = Turns.of(simulation, plan, num_devices)
  of_round = [
    compile_call(call, simulation, turns)
    for call in round_programs(simulation, plan, simulation.put_data())
  ]
  others = [
    compile_call(call, simulation, turns) for call in other_programs(simulation)
  ]
  count = sum((each.counted for each in of_round), Count())
  model = make_model(config, dataset.num_classes)
  per_example = training_flops(model, dataset, config.client.batch_size)
  assumed = Assumptions.of(target.platform, target.accelerator)
  is_cuda = target.platform == 'cuda'
  seconds = Seconds.of(
    assumed,
    count.kernels if is_cuda else len(of_round),
    sum(loop.turns * loop.runs for loop in count.unknown),
    per_example * turns.examples,
    count.bytes,
  )
  return {
    'name': name,
    'device': target.accelerator.kind,
    'num_devices': num_devices,
    **_memory(of_round, others, target),
    'round': last + 1,
    'clients_per_device': len(plan.cohort.client_ids) // num_devices,
    'chunk_size': simulation.round.method.performance.clients_per_chunk,
    'kernels_per_round': count.kernels,
    'unknown_trip_counts': len(count.unknown),
    'unknown_loops': [loop._asdict() for loop in count.unknown],
    'host_callbacks': len(count.callbacks),
    'callbacks': list(count.callbacks),
    'flops_per_round': per_example * turns.examples,
    'bytes_per_round': count.bytes,
    'collective_bytes': count.collective_bytes,
    'estimated_round_seconds': seconds.total,
    'estimate': seconds._asdict(),
    'assumptions': assumed._asdict(),
    'programs': [each.to_json() for each in (*of_round, *others)],
  }


def _memory(
  of_round: list[Compiled], others: list[Compiled], target: Target
) -> dict[str, Any]:
  """Returns what the program of a round that takes the most takes."""
  fits = all(each.memory is not None for each in (*of_round, *others))
  memories = [each.memory for each in of_round if each.memory is not None]
  most = max(memories, key=lambda each: each.total_bytes, default=None)
  most = most or Memory(0, 0, 0, 0)
  # Test sets stay on the devices.
  resident = sum(
    each.memory.argument_bytes for each in others if each.memory is not None
  )
  peak_bytes = most.total_bytes + resident
  accelerator = target.accelerator
  return {
    **most._asdict(),
    'peak_bytes': peak_bytes,
    'device_memory_bytes': accelerator.memory_bytes,
    'usable_memory_bytes': accelerator.usable_bytes,
    'fits': fits and peak_bytes <= accelerator.usable_bytes,
  }
