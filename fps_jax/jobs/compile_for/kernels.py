"""What a compiled program runs, loop by loop.

On a GPU each kernel is launched by the host, which also reads the condition of
a loop back before every turn, unless XLA knows how often it turns. A TPU runs a
whole program without its host: what is counted there are the operations that
take turns on the chip.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from fps_jax.jobs.compile_for.hlo import (
  Computation,
  Instruction,
  Program,
  num_bytes,
)
from fps_jax.jobs.compile_for.traffic import kernel_bytes

_COLLECTIVES = frozenset(
  (
    'all-gather',
    'all-reduce',
    'all-to-all',
    'collective-broadcast',
    'collective-permute',
    'ragged-all-to-all',
    'reduce-scatter',
  )
)
_KERNELS = _COLLECTIVES | frozenset(
  (
    'cholesky',
    'concatenate',
    'convolution',
    'copy',
    'custom-call',
    'dot',
    'dynamic-slice',
    'dynamic-update-slice',
    'fft',
    'fusion',
    'gather',
    'pad',
    'reduce',
    'reduce-window',
    'reverse',
    'rng-bit-generator',
    'scatter',
    'select-and-scatter',
    'slice',
    'sort',
    'transpose',
    'triangular-solve',
  )
)
# Custom calls that run nothing.
_NOTHING = re.compile(
  r'custom_call_target="(AllocateBuffer|AssumeGather\w*|ConcatBitcast|Sharding'
  r'|SPMD\w*|annotate_device_placement)"'
)
_CALLBACK = re.compile(r'custom_call_target="[^"]*callback[^"]*"')
# By a loop's place in the Python code; None where that does not tell.
TurnsOf = Callable[[str], int | None]


class Loop(NamedTuple):
  """A loop of a program.

  Attributes:
    scope: where in the Python code it comes from.
    turns: how often it turns each time, as it is counted.
    source: 'program' where XLA knows that, 'plan' where the host's plan tells,
      'assumed' where nothing does and it is counted once.
    kernels: of a turn, with those of loops inside.
    runs: how often it is begun, in the whole program.
  """

  scope: str
  turns: int
  source: str
  kernels: int
  runs: int


class Count(NamedTuple):
  """What runs in a program.

  Attributes:
    kernels: of a branch the one with the most.
    bytes: moved to and from main memory.
    collective_bytes: that a device gives to collectives.
    callbacks: to the host: where in the Python code, or what they are called.
    loops: all, from the outside in.
  """

  kernels: int = 0
  bytes: int = 0
  collective_bytes: int = 0
  callbacks: tuple[str, ...] = ()
  loops: tuple[Loop, ...] = ()

  def __add__(self, other: tuple) -> 'Count':
    """Returns what runs in both."""
    return Count(*(one + two for one, two in zip(self, other, strict=True)))

  def times(self, turns: int) -> 'Count':
    """Returns what runs in so many turns."""
    return Count(
      self.kernels * turns,
      self.bytes * turns,
      self.collective_bytes * turns,
      self.callbacks,
      tuple(loop._replace(runs=loop.runs * turns) for loop in self.loops),
    )

  @property
  def unknown(self) -> tuple[Loop, ...]:
    """Loops of which XLA does not know how often they turn."""
    return tuple(loop for loop in self.loops if loop.source != 'program')


def count(program: Program, turns_of: TurnsOf = lambda scope: None) -> Count:
  """Counts what runs in a program.

  Args:
    program: compiled.
    turns_of: how often a loop turns, where only the host knows.
  """
  return _count(program, program.computations[program.entry], turns_of)


def _count(
  program: Program, computation: Computation, turns_of: TurnsOf
) -> Count:
  total = Count()
  for each in computation.instructions.values():
    total += _count_one(program, computation, each, turns_of)
  return total


def _count_one(
  program: Program,
  computation: Computation,
  each: Instruction,
  turns_of: TurnsOf,
) -> Count:
  """Counts what one instruction runs."""
  opcode = each.opcode.removesuffix('-start')
  if opcode == 'while':
    return _count_loop(program, computation, each, turns_of)
  inner = [
    _count(program, program.computations[name], turns_of)
    for name in _run_inside(each, opcode)
    if name in program.computations
  ]
  if opcode == 'conditional':
    return max(inner, key=lambda branch: branch.kernels)
  if inner:
    return inner[0]
  callbacks = (each.scope or each.name,) if _calls_host(each, opcode) else ()
  if opcode not in _KERNELS or _NOTHING.search(each.rest):
    return Count(callbacks=callbacks)
  given = 0
  if opcode in _COLLECTIVES:
    given = sum(
      num_bytes(computation.instructions[name].type, anywhere=True)
      for name in each.operands
      if name in computation.instructions
    )
  moved = kernel_bytes(program, computation, each)
  return Count(1, moved, given, callbacks)


def _run_inside(each: Instruction, opcode: str) -> list[str]:
  """Returns the computations whose kernels an instruction runs one by one."""
  if opcode == 'conditional':
    return each.called(
      'branch_computations', 'true_computation', 'false_computation'
    )
  if opcode in ('call', 'async'):
    return each.called('to_apply', 'calls', 'called_computation')
  return []


def _calls_host(each: Instruction, opcode: str) -> bool:
  return (
    opcode in ('infeed', 'outfeed')
    or 'is_host_transfer=true' in each.rest
    or (opcode == 'custom-call' and _CALLBACK.search(each.rest) is not None)
  )


def _count_loop(
  program: Program,
  computation: Computation,
  loop: Instruction,
  turns_of: TurnsOf,
) -> Count:
  """Counts all turns of a loop."""
  (body,) = loop.called('body')
  (name,) = loop.called('condition')
  condition = program.computations[name]
  turn = _count(program, program.computations[body], turns_of)
  turns, source = _known_turns(program, computation, loop, condition), 'program'
  if turns is None:
    # Whether to go on is then found out every time, too.
    turn += _count(program, condition, turns_of)
    turns, source = turns_of(loop.scope), 'plan'
  if turns is None:
    turns, source = 1, 'assumed'
  own = Loop(loop.scope, turns, source, turn.kernels, 1)
  counted = turn.times(turns)
  return counted._replace(loops=(own, *counted.loops))


def _known_turns(
  program: Program,
  computation: Computation,
  loop: Instruction,
  condition: Computation,
) -> int | None:
  """Returns how often a loop turns, where the program says so."""
  if said := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
    return int(said.group(1))
  # What is compiled for a TPU does not say it, but compares with a constant.
  root = condition.root
  if root.opcode != 'compare' or 'direction=LT' not in root.rest:
    return None
  counter, bound = (condition.instructions[name] for name in root.operands)
  if counter.opcode != 'get-tuple-element':
    return None
  if _initial(computation, loop, counter) != 0:
    return None
  return _value(bound)


def _initial(
  computation: Computation, loop: Instruction, counter: Instruction
) -> int | None:
  """Returns what a loop's counter begins with, if that is a constant."""
  place = re.search(r'index=(\d+)', counter.rest)
  start = computation.instructions[loop.operands[0]]
  if place is None or start.opcode != 'tuple':
    return None
  value = computation.instructions[start.operands[int(place.group(1))]]
  while value.opcode in ('copy', 'bitcast') and value.operands:
    value = computation.instructions[value.operands[0]]
  return _value(value)


def _value(constant: Instruction) -> int | None:
  is_whole = constant.opcode == 'constant' and constant.given.isdecimal()
  return int(constant.given) if is_whole else None
