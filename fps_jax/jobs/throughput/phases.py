"""Where a round's time goes, by phase: from a trace of its operations.

Programs bear the names of phases as scopes (`jax.named_scope`). A trace says
when each operation of the compiled programs ran; the programs' text says what
scope it came from. An operation that fuses two phases counts for the one that
its result belongs to.
"""

import collections
import pathlib
import re
import tempfile

import jax

from fps_jax.core.types import Examples, RoundPlan, RoundState
from fps_jax.runs import profiling
from fps_jax.runs.simulation import Simulation

PHASES = (
  'train',
  'prune',
  'encode',
  'share',
  'sum',
  'audit',
  'reconstruct',
  'server',
  'other',
)
# What only runs other operations, which have times of their own.
_CONTAINERS = frozenset({'while', 'call', 'conditional', 'tuple'})
_INSTRUCTION = re.compile(
  r'^\s*(?:ROOT )?%?(?P<name>[\w.\-]+) = .*? (?P<opcode>[\w\-]+)\('
)
_SCOPE = re.compile(r'op_name="(?P<scope>[^"]*)"')


def measure_phases(
  simulation: Simulation, state: RoundState, plan: RoundPlan, data: Examples
) -> dict[str, float]:
  """Runs a round and returns the seconds of each phase, averaged over devices.

  Args:
    simulation: whose programs are compiled once more, to be read.
    state: donated.
    plan: of the round.
    data: on the devices.

  Returns:
    Phase to seconds, in the order of `PHASES`; those that the method lacks are
    0. They add up to the time that devices were busy.
  """
  phase_of = _read_programs(simulation, state, plan, data)
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder)
    with profiling.trace(path, state) as wait:
      collected = simulation.start(state, plan, data)
      wait(simulation.finish(state, plan, data, collected)[:2])
    nanoseconds = _read_trace(path, phase_of)
  num_devices = len(jax.local_devices())
  return {phase: nanoseconds[phase] / 1e9 / num_devices for phase in PHASES}


def phases_of_instructions(text: str) -> dict[str, str | None]:
  """Returns the phase of each instruction of a compiled program.

  Args:
    text: of the program, after all of XLA's passes.

  Returns:
    Name of the instruction to a phase, or None for one whose time is that of
    others.
  """
  phase_of: dict[str, str | None] = {}
  for line in text.splitlines():
    instruction = _INSTRUCTION.match(line)
    if not instruction:
      continue
    scope = _SCOPE.search(line)
    # Such as jit(collect)/while/body/vmap(share)/add: the outermost counts.
    names = re.findall(r'\w+', scope['scope']) if scope else []
    phase = next((name for name in names if name in PHASES), 'other')
    is_container = instruction['opcode'] in _CONTAINERS
    phase_of[instruction['name']] = None if is_container else phase
  return phase_of


def _read_programs(
  simulation: Simulation, state: RoundState, plan: RoundPlan, data: Examples
) -> dict[tuple[str, str], str | None]:
  """Returns the phase of (module, instruction) of a round's programs."""
  phase_of = {}
  for program, arguments in simulation.programs(state, plan, data):
    text = program.lower(*arguments).compile().as_text()
    module = text.split(',')[0].removeprefix('HloModule ').split()[0]
    for name, phase in phases_of_instructions(text).items():
      phase_of[module, name] = phase
  return phase_of


def _read_trace(
  folder: pathlib.Path, phase_of: dict[tuple[str, str], str | None]
) -> collections.Counter[str]:
  """Returns the nanoseconds of each phase, summed over devices."""
  nanoseconds: collections.Counter[str] = collections.Counter()
  for path in folder.rglob('*.xplane.pb'):
    trace = jax.profiler.ProfileData.from_file(str(path))
    lines = (line for plane in trace.planes for line in plane.lines)
    for event in (event for line in lines for event in line.events):
      stats = dict(event.stats)
      if 'hlo_op' not in stats:
        continue
      key = (str(stats['hlo_module']), str(stats['hlo_op']))
      phase = phase_of.get(key, 'other')
      if phase is not None:
        nanoseconds[phase] += event.duration_ns
  return nanoseconds
