"""What is set before JAX looks for devices.

Importing the package starts no device, so that `launch.py` can still choose
them, and join other processes.
"""

import ctypes
import dataclasses
import gc
import hashlib
import os
import platform
import tempfile
import threading

import jax
from absl import logging

from fps_jax.core import files, over_jax
from fps_jax.core.environment import cpu_model
from fps_jax.core.interruption import Ending
from fps_jax.core.peers import Peers

_DEVICE_COUNT_FLAG = '--xla_force_host_platform_device_count'
# JAX ends with a core dump when its own time is up.
_LATER_SECONDS = 60
_M_ARENA_MAX = -8  # of glibc's malloc.h
# What XLA's compilers would ask of a machine with the accelerator.
_OF_COMPILERS = {
  # More than one process may compile for TPUs, as none of them runs there.
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'JAX_SKIP_CUDA_CONSTRAINTS_CHECK': '1',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
}


@dataclasses.dataclass(frozen=True)
class Processes:
  """Which processes work together, as the command line has it.

  Attributes:
    distributed: whether JAX finds the processes in the environment of Slurm,
      Open MPI, GKE or a TPU pod.
    coordinator: instead, HOST:PORT of process 0, which must be free there.
    num_processes: with `coordinator`, how many there are.
    process_id: with `coordinator`, the number of this one, from 0.
    timeout: seconds to wait for all of them, at least 1.

  Raises:
    ValueError: if the attributes contradict each other.
  """

  distributed: bool = False
  coordinator: str | None = None
  num_processes: int | None = None
  process_id: int | None = None
  timeout: int = 60

  def __post_init__(self):
    if self.timeout < 1:
      raise ValueError(f'--timeout={self.timeout} must be at least 1 second')
    given = (self.coordinator, self.num_processes, self.process_id)
    if any(value is not None for value in given) and None in given:
      raise ValueError(
        f'coordinator={self.coordinator}, num_processes={self.num_processes} '
        f'and process_id={self.process_id} belong together: give all three, or '
        '--distributed alone where JAX can find them'
      )
    if self.coordinator is None:
      return
    if self.distributed:
      raise ValueError(
        f'--distributed finds the coordinator: leave it out, or '
        f'coordinator={self.coordinator}'
      )
    host, _, port = self.coordinator.rpartition(':')
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
      raise ValueError(
        f'coordinator={self.coordinator} must be HOST:PORT, such as '
        'localhost:1234, with a port in [1, 65535]'
      )
    process_id, num_processes = self.process_id or 0, self.num_processes or 0
    if not 0 <= process_id < num_processes:
      raise ValueError(
        f'process_id={self.process_id} must be in [0, num_processes='
        f'{self.num_processes})'
      )

  def join(self, ending: Ending) -> Peers | None:
    """Waits for the other processes, if there are any.

    Args:
      ending: ends this process if another one does before its time.

    Returns:
      The other processes, which watch over each other; None where there are
      none, and where JAX finds some that cannot.

    Raises:
      ValueError: if the environment does not tell them, they do not come in
        time, or what they were told does not fit together.
    """
    # JAX would take SIGTERM for itself.
    jax.config.update('jax_enable_preemption_service', False)
    if self.distributed:
      self._join_those_of_the_environment(ending)
      return over_jax.watch(self.timeout, ending)
    if self.coordinator is None:
      return None
    num_processes, process_id = self.num_processes or 1, self.process_id or 0
    peers = Peers(
      self.coordinator, num_processes, process_id, self.timeout, ending
    )
    jax.distributed.initialize(
      peers.meet(),
      num_processes,
      process_id,
      initialization_timeout=self.timeout + _LATER_SECONDS,
    )
    return peers

  def _join_those_of_the_environment(self, ending: Ending) -> None:
    line = (
      'error: --distributed: not all processes came within '
      f'--timeout={self.timeout} s: see what became of them, or wait longer'
    )
    timer = threading.Timer(self.timeout, ending.now, (line, 1))
    timer.daemon = True
    timer.start()
    try:
      jax.distributed.initialize(
        initialization_timeout=self.timeout + _LATER_SECONDS
      )
    except (ValueError, RuntimeError) as error:
      raise ValueError(
        f'--distributed: {error}. JAX does not know this environment: give '
        '--coordinator, --num_processes and --process_id'
      ) from error
    finally:
      timer.cancel()


def only_compile() -> None:
  """Keeps JAX off the accelerators of this machine, to compile for others.

  Their compilers would ask for what belongs to such a machine, and not find it.
  """
  jax.config.update('jax_platforms', 'cpu')
  # Nothing can be read that was kept of what is compiled for others.
  jax.config.update('jax_enable_compilation_cache', False)
  for name, value in _OF_COMPILERS.items():
    os.environ.setdefault(name, value)


def use_all_cores() -> None:
  """Makes a JAX device of each core of a CPU, unless the user chose a number.

  A number set by `JAX_NUM_CPU_DEVICES` or in `XLA_FLAGS` stays. Accelerators
  are not affected.
  """
  if jax.config.values['jax_num_cpu_devices'] >= 0:
    return
  if _DEVICE_COUNT_FLAG not in os.environ.get('XLA_FLAGS', ''):
    cores = len(os.sched_getaffinity(0))
    jax.config.update('jax_num_cpu_devices', cores)


def keep_compiled(folder: str) -> None:
  """Keeps compiled programs on disk, for the next run of the same.

  A folder set by `JAX_COMPILATION_CACHE_DIR` stays. Where nothing can be kept,
  the log says so in one line.

  Args:
    folder: created; `~` is the home directory. Each model of processor has its
      own in it, for programs are compiled for one. Empty: nothing is kept.
  """
  if not folder or jax.config.values['jax_compilation_cache_dir']:
    return
  model = hashlib.sha256(cpu_model().encode()).hexdigest()[:16]
  try:
    path = files.local(folder, '--compilation_cache').expanduser() / model
    path.mkdir(parents=True, exist_ok=True)
    # Whether it may be written to is not always known before.
    tempfile.TemporaryFile(dir=path).close()
  except (ValueError, OSError, RuntimeError) as error:
    logging.warning(
      'compiled programs are not kept (%s): give another --compilation_cache, '
      'or an empty one to keep none',
      error,
    )
    return
  jax.config.update('jax_compilation_cache_dir', str(path))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def share_heap() -> None:
  """Lets all threads allocate from one heap, where the C library is glibc.

  It gives every thread a heap of its own otherwise. XLA's threads free what
  others allocated, so those heaps would grow with each client of a round. A
  number set by `MALLOC_ARENA_MAX` stays.
  """
  if platform.libc_ver()[0] == 'glibc' and 'MALLOC_ARENA_MAX' not in os.environ:
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def spare_collector() -> None:
  """Has Python's garbage collector look less often, and at what is new alone.

  It would go through all modules, again and again, while JAX traces programs,
  which makes many objects that stay.
  """
  gc.collect()
  gc.freeze()
  gc.set_threshold(10_000, 10, 10)
