"""Settings for every test; must run before JAX is imported."""

import ctypes
import os
import tempfile

# Tests are about values, which must not depend on what the machine has.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Most of the time is the compiler's. Optimised, programs round otherwise:
# `small.full_compilation` is for what is held to the bits that users get.
os.environ['XLA_FLAGS'] = ' '.join(
  [
    *os.environ.get('XLA_FLAGS', '').split(),
    '--xla_backend_optimization_level=0',
    '--xla_cpu_use_fusion_emitters=false',
  ]
)
# Tests compile the same small programs over and over; within one session each
# is compiled once. The cache holds programs, not results, and starts empty.
# Worker processes inherit the folder of the process that started them.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix='fps_jax_tests_')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'


def pytest_runtest_teardown(item, nextitem):
  """Gives memory back after each file, which the compiler takes and frees."""
  if nextitem is None or nextitem.path != item.path:
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:  # Of glibc.
      trim(0)
