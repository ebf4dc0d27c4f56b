"""The bytes that a kernel moves to and from a device's main memory."""

from fps_jax.jobs.compile_for.hlo import Computation, Instruction, Program

# What reads of its first operand no more than it returns.
_READS_PART = ('dynamic-slice', 'gather', 'slice')


def kernel_bytes(
  program: Program, computation: Computation, kernel: Instruction
) -> int:
  """Returns what a kernel reads and writes, each array once.

  Of an array of which it takes or updates a part, that part counts.

  Args:
    program: that it is of.
    computation: of the program, in which it stands.
    kernel: an instruction.
  """
  operands = [
    computation.instructions[name]
    for name in kernel.operands
    if name in computation.instructions
  ]
  if kernel.opcode == 'dynamic-update-slice':
    return 2 * operands[1].bytes
  if kernel.opcode.endswith('-start'):
    # What it begins returns is in its type, behind what it is given.
    return sum(operand.bytes for operand in operands)
  if kernel.opcode in _READS_PART:
    return 2 * kernel.bytes
  fused = [
    program.computations[name]
    for name in kernel.called('calls')
    if name in program.computations
  ]
  if kernel.opcode != 'fusion' or not fused:
    return kernel.bytes + sum(operand.bytes for operand in operands)
  read = sum(
    _read_bytes(program, fused[0], parameter)
    for parameter in fused[0].instructions.values()
    if parameter.opcode == 'parameter'
  )
  return read + _written_bytes(fused[0], fused[0].root)


def _read_bytes(
  program: Program, computation: Computation, value: Instruction
) -> int:
  """Returns how much of a value of a fusion is read."""
  total = 0
  for user in computation.users(value.name):
    if user.opcode in _READS_PART and user.operands[0] == value.name:
      total += user.bytes
    elif user.opcode == 'bitcast':
      total += _read_bytes(program, computation, user)
    elif (
      user.opcode == 'dynamic-update-slice' and user.operands[0] == value.name
    ):
      continue  # It is written in place.
    else:
      return value.bytes
  return min(total, value.bytes)


def _written_bytes(computation: Computation, value: Instruction) -> int:
  """Returns how much of a fusion's result is written."""
  given = [
    computation.instructions[name]
    for name in value.operands
    if name in computation.instructions
  ]
  if value.opcode == 'tuple':
    return sum(_written_bytes(computation, each) for each in given)
  if value.opcode == 'bitcast' and given:
    return _written_bytes(computation, given[0])
  if value.opcode == 'dynamic-update-slice':
    return given[1].bytes
  return value.bytes
