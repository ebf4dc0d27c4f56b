"""How fast a round runs: everything in `config.perf`."""

import dataclasses

import jax

EXECUTIONS = ('auto', 'vmap', 'sequential')


@dataclasses.dataclass(frozen=True)
class Performance:
  """How fast, never what, but for how vmapped training rounds.

  Attributes:
    chunk_size: clients that are trained before their updates are added up,
      >= 1; memory grows with it.
    execution: `'vmap'`, `'sequential'` or `'auto'`: sequential on a CPU,
      vmapped elsewhere.
    num_devices: devices that each process uses; 0 for all it has.

  Raises:
    ValueError: if a field is out of range.
  """

  chunk_size: int = 10
  execution: str = 'auto'
  num_devices: int = 0

  def __post_init__(self):
    if self.chunk_size < 1:
      raise ValueError(f'chunk_size={self.chunk_size} must be at least 1')
    if self.num_devices < 0:
      raise ValueError(
        f'num_devices={self.num_devices} must be at least 0, which means all'
      )
    if self.execution not in EXECUTIONS:
      raise ValueError(
        f'execution={self.execution!r} is not one of {EXECUTIONS}'
      )

  @property
  def vmaps(self) -> bool:
    """Whether clients of a chunk are vmapped on this machine."""
    if self.execution == 'auto':
      return jax.default_backend() != 'cpu'
    return self.execution == 'vmap'
