"""Accelerators as their makers describe them: to compile for, to plan memory.

Figures of Google's are of cloud.google.com/tpu/docs (system architecture), of
NVIDIA's of the data sheets of the SXM boards, but for their memory: what CUDA
reports of it. FLOP/s are those of what JAX does
with float32 products unless told otherwise: bfloat16 on a TPU, TF32 on a GPU,
without sparsity.
"""

from typing import NamedTuple

import jax
from jax.sharding import Mesh

from fps_jax.core.devices import are_here

# What JAX takes of a GPU's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION says
# otherwise.
_TAKEN_OF_GPU = 0.75
_GIB = 2**30


class Gpu(NamedTuple):
  """What XLA has to know of a GPU to compile for one that is not there.

  Attributes:
    cores: streaming multiprocessors.
    units_per_core: that add and multiply float32.
    shared_bytes_per_core: shared memory of each.
    shared_bytes_per_block: the most that a block may ask for.
    cache_bytes: of the second level.
    gigahertz: of the clock, at its highest.
    capability: CUDA's, major and minor.
  """

  cores: int
  units_per_core: int
  shared_bytes_per_core: int
  shared_bytes_per_block: int
  cache_bytes: int
  gigahertz: float
  capability: tuple[int, int]


class Accelerator(NamedTuple):
  """A device that a run may be compiled for.

  Attributes:
    kind: as JAX has it in `device_kind`.
    memory_bytes: of a device.
    flops_per_second: see above.
    bytes_per_second: to and from its memory.
    gpu: None for a TPU.
  """

  kind: str
  memory_bytes: int
  flops_per_second: float
  bytes_per_second: float
  gpu: Gpu | None = None

  @property
  def usable_bytes(self) -> int:
    """The memory that JAX takes for arrays."""
    part = 1.0 if self.gpu is None else _TAKEN_OF_GPU
    return int(part * self.memory_bytes)


_HOPPER = Gpu(132, 128, 228 * 1024, 227 * 1024, 50 * 2**20, 1.98, (9, 0))
_AMPERE = Gpu(108, 64, 164 * 1024, 163 * 1024, 40 * 2**20, 1.41, (8, 0))
# By platform and name, as `--compile_for` has them.
ACCELERATORS = {
  'cuda:a100': Accelerator(
    'NVIDIA A100-SXM4-80GB', 85_100_068_864, 156e12, 2.039e12, _AMPERE
  ),
  'cuda:h100': Accelerator(
    'NVIDIA H100 80GB HBM3', 84_942_979_072, 494.5e12, 3.35e12, _HOPPER
  ),
  'cuda:h200': Accelerator(
    'NVIDIA H200', 150_754_820_096, 494.5e12, 4.8e12, _HOPPER
  ),
  'tpu:v4': Accelerator('TPU v4', 32 * 10**9, 275e12, 1.228e12),
  'tpu:v5e': Accelerator('TPU v5 lite', 16 * 10**9, 197e12, 0.819e12),
  'tpu:v5p': Accelerator('TPU v5', 95 * 10**9, 459e12, 2.765e12),
  'tpu:v6e': Accelerator('TPU v6 lite', 32 * 10**9, 918e12, 1.64e12),
}
_BY_KIND = {each.kind: each for each in ACCELERATORS.values()}


def usable_bytes(mesh: Mesh) -> int | None:
  """Returns the memory that JAX has for arrays on each device, in whole GiB.

  Of devices that are not here, what their maker says. None where nobody says
  it, as of processors.
  """
  own = jax.process_index()
  device = next(d for d in mesh.devices.flat if d.process_index == own)
  if not are_here(mesh):
    known = _BY_KIND.get(device.device_kind)
    return known and _whole(known.usable_bytes)
  stats = device.memory_stats() or {}
  # Devices of one kind differ by little, and are to be used alike.
  return _whole(stats['bytes_limit']) if 'bytes_limit' in stats else None


def _whole(num_bytes: int) -> int:
  return num_bytes // _GIB * _GIB
