"""How programs are compiled where compiling is most of what they take."""

import os
from typing import Any

import jax

_OPTIMIZATION = 'xla_backend_optimization_level'


def of_one_call(on: jax.Array) -> dict[str, Any]:
  """Returns arguments of `jax.jit` for a program that is called once.

  On a CPU it is optimised less, in a third of the time: it begins a model with
  the same bits. What is set in `XLA_FLAGS` stays.

  Args:
    on: any array on the devices that run it.
  """
  is_cpu = all(device.platform == 'cpu' for device in on.devices())
  if not is_cpu or f'--{_OPTIMIZATION}' in os.environ.get('XLA_FLAGS', ''):
    return {}
  return {'compiler_options': {_OPTIMIZATION: 1}}
