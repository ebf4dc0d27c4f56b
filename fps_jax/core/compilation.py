"""How programs are compiled where compiling is most of what they take."""

import os
from typing import Any

_OPTIMIZATION = 'xla_backend_optimization_level'


def of_one_call(platform: str) -> dict[str, Any]:
  """Returns arguments of `jax.jit` for a program that is called once.

  On a CPU it is optimised less, in a third of the time: it begins a model with
  the same bits. What is set in `XLA_FLAGS` stays.

  Args:
    platform: of the devices that run it, by JAX's name.
  """
  is_set = f'--{_OPTIMIZATION}' in os.environ.get('XLA_FLAGS', '')
  if platform != 'cpu' or is_set:
    return {}
  return {'compiler_options': {_OPTIMIZATION: 1}}
