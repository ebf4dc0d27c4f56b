"""Settings for every test; must run before JAX is imported."""

import os
import tempfile

# Tests are about values, which must not depend on what the machine has.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Tests compile the same small programs over and over; within one session each
# is compiled once. The cache holds programs, not results, and starts empty.
# Worker processes inherit the folder of the process that started them.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix='fps_jax_tests_')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'
