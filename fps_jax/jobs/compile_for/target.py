"""Devices to compile for, by the name that the command line gives them."""

import re
from typing import NamedTuple

import jax
from jax.experimental import topologies

from fps_jax.core import extras
from fps_jax.core.accelerators import ACCELERATORS, Accelerator
from fps_jax.core.nearest import nearest

GRAMMAR = (
  'cuda:KIND (one device), cuda:KIND:DEVICES, cuda:KIND:PROCESSESxDEVICES or '
  'tpu:KIND:TOPOLOGY, such as cuda:h200, cuda:h200:8, cuda:h200:2x8 or '
  'tpu:v5e:2x4'
)
# The package that each compiler comes in. The extra is called as the platform.
_COMPILERS = {'cuda': 'jax_cuda13_plugin', 'tpu': 'libtpu'}
_SIZES = re.compile(r'[1-9]\d*(x[1-9]\d*)*')
# The same for all NVIDIA GPUs of the table.
_LIMITS = """
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
"""


class Target(NamedTuple):
  """Devices to compile for.

  Attributes:
    name: as the command line has it.
    platform: cuda or tpu.
    accelerator: each of the devices.
    sizes: of GPUs processes x devices of each, of a TPU its topology.
  """

  name: str
  platform: str
  accelerator: Accelerator
  sizes: tuple[int, ...]

  def devices(self) -> list[jax.Device]:
    """Returns the devices of all processes; nothing can run on them.

    Raises:
      ValueError: if their compiler is not installed, or knows no such topology.
    """
    purpose = f'--compile_for={self.name}'
    extras.require(_COMPILERS[self.platform], self.platform, purpose)
    try:
      return list(self._describe().devices)
    except (RuntimeError, NotImplementedError) as error:
      first = str(error).strip().partition('\n')[0]
      raise ValueError(
        f'{purpose}: its compiler refuses ({first}): if it does not know the '
        f'devices, give {GRAMMAR}'
      ) from error

  def _describe(self) -> topologies.TopologyDescription:
    if self.platform == 'tpu':
      sizes = 'x'.join(map(str, self.sizes))
      kind = self.name.split(':')[1]
      return topologies.get_topology_desc(
        platform='tpu', topology_name=f'{kind}:{sizes}'
      )
    processes, devices = self.sizes
    return topologies.get_topology_desc(
      '',
      platform='cuda',
      topology=f'1x{processes}x{devices}',
      target_config=describe_gpu(self.accelerator),
    )


def parse(name: str) -> Target:
  """Returns the devices of a name.

  >>> parse('cuda:h200:2x8').sizes
  (2, 8)

  Raises:
    ValueError: if it is none; the message says what is.
  """
  kind, _, sizes = name.partition(':')[2].partition(':')
  platform = name.partition(':')[0]
  known = f'{platform}:{kind}'
  if known not in ACCELERATORS:
    near = nearest(known, ACCELERATORS)
    raise ValueError(
      f'--compile_for={name}: {known!r} is not one of {sorted(ACCELERATORS)}'
      + (f': did you mean {near}?' if near else '')
      + f': give {GRAMMAR}'
    )
  numbers = tuple(map(int, sizes.split('x'))) if _SIZES.fullmatch(sizes) else ()
  if platform == 'cuda':
    numbers = {'': (1, 1)}.get(sizes, (1, *numbers)[-2:])
  if len(numbers) < 2 or (platform == 'cuda' and sizes.count('x') > 1):
    raise ValueError(
      f'--compile_for={name}: {sizes!r} does not say how many devices: give '
      f'{GRAMMAR}'
    )
  return Target(name, platform, ACCELERATORS[known], numbers)


def describe_gpu(accelerator: Accelerator) -> str:
  """Returns a GPU as XLA's GpuTargetConfigProto has it, in text."""
  gpu = accelerator.gpu
  assert gpu is not None  # It is no TPU.
  major, minor = gpu.capability
  return f"""gpu_device_info {{{_LIMITS}
  core_count: {gpu.cores}
  fpus_per_core: {gpu.units_per_core}
  shared_memory_per_core: {gpu.shared_bytes_per_core}
  shared_memory_per_block_optin: {gpu.shared_bytes_per_block}
  l2_cache_size: {gpu.cache_bytes}
  clock_rate_ghz: {gpu.gigahertz}
  memory_bandwidth: {accelerator.bytes_per_second:.0f}
  device_memory_size: {accelerator.memory_bytes}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "{accelerator.kind}"
"""
