"""How fast a round runs: everything in `config.perf`."""

import dataclasses

import jax

from fps_jax.federated.layout import LONGEST_TILE

EXECUTIONS = ('auto', 'vmap', 'sequential')
# Values. Longer ones leave a CPU's caches, shorter ones are all overhead. Where
# kernels are launched, a tile had better be all that a round shares.
_LONG_TILE = 2**17


@dataclasses.dataclass(frozen=True)
class Performance:
  """How fast, never what, but for how vmapped training rounds.

  Attributes:
    chunk_size: clients that are trained before their updates are added up;
      memory grows with it. 0 is 5 in sequence and 16 vmapped, unless the
      devices' memory is known: `fps_jax.runs.chunk_size` puts a number here.
    execution: `'vmap'`, `'sequential'` or `'auto'`: sequential on a CPU,
      vmapped elsewhere.
    num_devices: devices that each process uses; 0 for all it has.
    platform: of the devices that run it, `'cpu'`, `'gpu'`, `'tpu'` or another
      of JAX's names; None for that of this machine.

  Raises:
    ValueError: if a field is out of range.
  """

  chunk_size: int = 0
  execution: str = 'auto'
  num_devices: int = 0
  platform: str | None = None

  def __post_init__(self):
    if self.chunk_size < 0:
      raise ValueError(
        f'chunk_size={self.chunk_size} must be at least 0, which chooses one'
      )
    if self.num_devices < 0:
      raise ValueError(
        f'num_devices={self.num_devices} must be at least 0, which means all'
      )
    if self.execution not in EXECUTIONS:
      raise ValueError(
        f'execution={self.execution!r} is not one of {EXECUTIONS}'
      )

  @property
  def clients_per_chunk(self) -> int:
    """Clients that are trained before their updates are added up."""
    return self.chunk_size or (16 if self.vmaps else 5)

  @property
  def vmaps(self) -> bool:
    """Whether clients of a chunk are vmapped."""
    if self.execution == 'auto':
      return not self.is_cpu
    return self.execution == 'vmap'

  @property
  def longest_tile(self) -> int:
    """Values that are shared at a time at most."""
    return LONGEST_TILE if self.is_cpu else _LONG_TILE

  @property
  def is_cpu(self) -> bool:
    """Whether the devices are processors, which have caches and cheap loops."""
    return (self.platform or jax.default_backend()) == 'cpu'
