"""What is said to JAX before it starts; importing does not start it."""

import gc
import os
import platform
import subprocess
import sys
import weakref

import jax
import pytest

from fps_jax.core.interruption import Ending
from fps_jax.core.startup import Processes, keep_compiled, spare_collector

_PRINT_DEVICES = (
  'import importlib, pkgutil, jax, fps_jax; '
  'names = [m.name for m in pkgutil.walk_packages(fps_jax.__path__, '
  '"fps_jax.")]; '
  '[importlib.import_module(name) for name in names]; '
  'from fps_jax.core import startup; startup.use_all_cores(); '
  'print(jax.device_count())'
)

# Eight threads allocate at once; glibc then lists its heaps.
_COUNT_HEAPS = """
import ctypes, threading
together = threading.Barrier(8)
def allocate():
  together.wait()
  some = bytearray(10_000)
  together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fdopen(1, b'w'))
libc.malloc_info(0, file)
libc.fflush(file)
"""


def _run(code: str, variables: dict[str, str]) -> str:
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', **variables},
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  return done.stdout


def _count_devices(**variables: str) -> int:
  return int(_run(_PRINT_DEVICES, variables))


@pytest.mark.slow
def test_importing_everything_leaves_the_devices_to_be_chosen():
  assert _count_devices() == len(os.sched_getaffinity(0))


@pytest.mark.thorough
@pytest.mark.parametrize(
  'variables',
  [
    {'JAX_NUM_CPU_DEVICES': '3'},
    {'XLA_FLAGS': '--xla_force_host_platform_device_count=3'},
  ],
)
def test_number_of_devices_that_the_user_chose_stays(variables: dict[str, str]):
  assert _count_devices(**variables) == 3


@pytest.mark.slow
@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='heaps are those of glibc'
)
@pytest.mark.parametrize(
  ('code', 'variables', 'expected'),
  [
    ('', {}, range(4, 100)),
    ('startup.share_heap()', {}, range(1, 2)),
    ('startup.share_heap()', {'MALLOC_ARENA_MAX': '3'}, range(2, 4)),
  ],
)
def test_threads_share_one_heap_unless_the_user_chose_a_number(
  code: str, variables: dict[str, str], expected: range
):
  done = _run(
    f'from fps_jax.core import startup; {code}\n{_COUNT_HEAPS}', variables
  )
  assert done.count('<heap nr=') in expected


def test_collector_looks_at_what_is_new_alone_and_still_collects_it():
  class Circle:
    pass

  spare_collector()
  assert gc.get_freeze_count() > len(gc.get_objects())
  circle = Circle()
  circle.itself = circle
  is_there = weakref.ref(circle)
  del circle
  assert is_there()
  new = [[] for _ in range(11_000)]
  assert new and not is_there()


def test_without_flags_there_is_one_process():
  assert Processes().join(Ending()) is None
  assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ((False, 'localhost:1', None, None), 'num_processes=None .* give all thr'),
    ((False, None, 2, 0), 'coordinator=None, num_processes=2 .* give all thr'),
    ((True, 'localhost:1', 2, 0), 'leave it out, or coordinator=localhost:1'),
    ((False, 'localhost', 2, 0), 'coordinator=localhost must be HOST:PORT'),
    ((False, ':1', 2, 0), 'coordinator=:1 must be HOST:PORT'),
    ((False, 'localhost:ssh', 2, 0), 'coordinator=localhost:ssh must be'),
    ((False, 'localhost:65536', 2, 0), r'with a port in \[1, 65535\]'),
    ((True, None, None, None, 0), '--timeout=0 must be at least 1'),
    ((False, 'localhost:1', 2, 2), r'process_id=2 must be in \[0, num_proces'),
    ((False, 'localhost:1', 2, -1), r'process_id=-1 must be in'),
  ],
)
def test_processes_that_contradict_themselves_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    Processes(*arguments)


def test_distributed_where_jax_finds_no_processes_says_what_to_give():
  with pytest.raises(ValueError, match=r'--distributed: .* give --coordinator'):
    Processes(distributed=True).join(Ending())


@pytest.mark.slow
def test_distributed_whose_processes_do_not_come_ends_in_one_line():
  code = (
    'from fps_jax.core.interruption import Ending; '
    'from fps_jax.core.startup import Processes; '
    'Processes(distributed=True, timeout=1).join(Ending())'
  )
  slurm = {
    'SLURM_JOB_ID': '77',
    'SLURM_STEP_NODELIST': 'localhost',
    'SLURM_NTASKS': '2',
    'SLURM_PROCID': '0',
    'SLURM_LOCALID': '0',
  }
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', **slurm},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 1
  assert done.stderr == (
    'error: --distributed: not all processes came within --timeout=1 s: see '
    'what became of them, or wait longer\n'
  )


def test_folder_for_compiled_programs_is_the_processors_own(tmp_path):
  before = jax.config.values['jax_compilation_cache_dir']
  jax.config.update('jax_compilation_cache_dir', None)
  try:
    keep_compiled('')
    assert not jax.config.values['jax_compilation_cache_dir']
    keep_compiled(str(tmp_path))
    folder = jax.config.values['jax_compilation_cache_dir']
    assert folder.startswith(f'{tmp_path}/')
    # What is set already stays.
    keep_compiled('elsewhere')
    assert jax.config.values['jax_compilation_cache_dir'] == folder
  finally:
    jax.config.update('jax_compilation_cache_dir', before)


@pytest.mark.parametrize('name', ['file', 'file/mine', 'a' * 300, 'a\0b'])
def test_run_goes_on_without_a_folder_for_compiled_programs(
  tmp_path, caplog, name
):
  (tmp_path / 'file').write_text('no folder')
  before = jax.config.values['jax_compilation_cache_dir']
  jax.config.update('jax_compilation_cache_dir', None)
  try:
    keep_compiled(f'{tmp_path}/{name}')
    assert jax.config.values['jax_compilation_cache_dir'] is None
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
  (message,) = caplog.messages
  assert 'not kept (' in message and 'give another --compilation_c' in message


_COMPILE = """
import jax
from fps_jax.core import startup
startup.keep_compiled('FOLDER')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
print(jax.jit(lambda x: x * 2 + 1)(20))
"""


@pytest.mark.slow
@pytest.mark.parametrize('damage', [b'', b'no program'])
def test_damaged_cache_is_as_if_it_were_not_there(tmp_path, damage):
  code = _COMPILE.replace('FOLDER', str(tmp_path))
  for _ in range(2):
    assert _run(code, {'JAX_COMPILATION_CACHE_DIR': ''}) == '41\n'
    kept = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert kept
    for path in kept:
      path.write_bytes(damage)
