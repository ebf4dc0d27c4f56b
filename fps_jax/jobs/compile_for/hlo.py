"""Reads programs as XLA prints them."""

import math
import re
from typing import NamedTuple

_HEAD = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$')
_NAMED = re.compile(r'\s+(?:ROOT )?%?([\w.\-]+) = ')
_OPCODE = re.compile(r' ?([\w\-]+)(?=\()')
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\](\{[^{}]*\})?')
# Of one element. What is not listed, such as tokens, has none.
_BYTES = {
  **dict.fromkeys(('pred', 's8', 'u8'), 1),
  **dict.fromkeys(('f16', 'bf16', 's16', 'u16'), 2),
  **dict.fromkeys(('f32', 's32', 'u32'), 4),
  **dict.fromkeys(('f64', 's64', 'u64', 'c64'), 8),
  'c128': 16,
}


class Instruction(NamedTuple):
  """A line of a computation.

  Attributes:
    name: that others name it by.
    type: of its result, as it is printed.
    opcode: what it does.
    operands: names of what it is given.
    rest: everything behind these: attributes and metadata.
    given: what is in its brackets, as it is printed: of a constant its value.
    is_root: whether it is what its computation returns.
  """

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  rest: str
  given: str = ''
  is_root: bool = False

  @property
  def bytes(self) -> int:
    """Bytes of its result, in the device's main memory."""
    return num_bytes(self.type)

  @property
  def scope(self) -> str:
    """Where in the Python code it comes from; '' where XLA does not say."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found.group(1) if found else ''

  def called(self, *attributes: str) -> list[str]:
    """Returns the computations that these attributes name, those there are."""
    names: list[str] = []
    for attribute in attributes:
      found = re.search(rf'\b{attribute}=(\{{[^}}]*\}}|[^,\s]+)', self.rest)
      if found:
        names += re.findall(r'[\w.\-]+', found.group(1))
    return names


class Computation(NamedTuple):
  """A function of a program: its instructions by name, in their order."""

  instructions: dict[str, Instruction]

  @property
  def root(self) -> Instruction:
    """What it returns."""
    return next(each for each in self.instructions.values() if each.is_root)

  def users(self, name: str) -> list[Instruction]:
    """Returns the instructions that are given what one returns."""
    return [
      each for each in self.instructions.values() if name in each.operands
    ]


class Program(NamedTuple):
  """A compiled program: its computations by name, and which one it begins."""

  computations: dict[str, Computation]
  entry: str


def parse(text: str) -> Program:
  """Reads a program, as `compiled.as_text()` has it.

  Raises:
    ValueError: if it has no entry.
  """
  computations: dict[str, Computation] = {}
  current, entry = Computation({}), ''
  for line in text.splitlines():
    if head := _HEAD.match(line):
      current = computations[head.group(2)] = Computation({})
      entry = head.group(2) if head.group(1) else entry
    elif named := _NAMED.match(line):
      instruction = _parse_instruction(named.group(1), line, named.end())
      current.instructions[instruction.name] = instruction
  if not entry:
    raise ValueError('this is no program of XLA: it has no ENTRY')
  return Program(computations, entry)


def _parse_instruction(name: str, line: str, start: int) -> Instruction:
  """Returns the instruction of a line whose type begins at `start`."""
  # The type of several arrays is in brackets, and has blanks.
  end = _closing(line, start) if line[start] == '(' else line.index(' ', start)
  opcode = _OPCODE.match(line, end)
  if opcode is None:
    raise ValueError(f'this is no instruction of XLA: {line.strip()[:80]}')
  close = _closing(line, opcode.end())
  return Instruction(
    name,
    line[start:end],
    opcode.group(1),
    tuple(re.findall(r'%([\w.\-]+)', line[opcode.end() : close])),
    line[close:],
    line[opcode.end() + 1 : close - 1],
    line.lstrip().startswith('ROOT '),
  )


def _closing(line: str, start: int) -> int:
  """Returns the place behind the bracket that closes the one at `start`."""
  depth = 0
  for bracket in re.compile(r'[()]').finditer(line, start):
    depth += 1 if bracket.group() == '(' else -1
    if not depth:
      return bracket.end()
  raise ValueError(f'a bracket of XLA is not closed: {line.strip()[:80]}')


def num_bytes(type_text: str, anywhere: bool = False) -> int:
  """Returns the bytes of a type: by default, in the device's main memory.

  >>> num_bytes('(f32[16,200]{1,0}, u8[4]{0})')
  12804

  What a TPU keeps closer by has a memory space in its layout, `S(1)`.
  >>> num_bytes('f32[16,200]{1,0:T(8,128)S(1)}')
  0
  >>> num_bytes('f32[16,200]{1,0:T(8,128)S(1)}', anywhere=True)
  12800
  """
  total = 0
  for dtype, shape, layout in _ARRAY.findall(type_text):
    if anywhere or 'S(' not in layout:
      sizes = [int(size) for size in shape.split(',') if size]
      total += math.prod(sizes) * _BYTES.get(dtype, 0)
  return total
