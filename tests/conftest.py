"""Settings for every test; must run before JAX is imported."""

import ctypes
import os
import pathlib
import sys
import tempfile

import pytest

# Tests are about values, which must not depend on what the machine has.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Most of the time is the compiler's. Optimised, programs round otherwise:
# `small.full_compilation` is for what is held to the bits that users get.
_QUICK = (
  '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false '
  # Cores have workers of pytest of their own.
  '--xla_cpu_parallel_codegen_split_count=1'
)
if _QUICK not in os.environ.get('XLA_FLAGS', ''):
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_QUICK}'
# Tests compile the same small programs over and over; within one session each
# is compiled once. The cache holds programs, not results, and starts empty.
# Worker processes inherit the folder of the process that started them.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix='fps_jax_tests_')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Leaves what is thorough to those who ask for all tests, as CI does."""
  for item in items:
    if item.get_closest_marker('thorough'):
      item.add_marker('slow')
      if 'FPS_JAX_ALL_TESTS' not in os.environ:
        item.add_marker(
          pytest.mark.skip(
            reason='takes long; FPS_JAX_ALL_TESTS=1, as in CI, runs it'
          )
        )


def pytest_collection_finish():
  """Has garbage looked for among what tests make alone."""
  from fps_jax.core import startup

  startup.spare_collector()


@pytest.fixture(name='no_figures')
def _no_figures(monkeypatch):
  """Has reports draw none, for tests of studies that look at no figure."""
  path = 'fps_jax.results.report._write_figures'
  monkeypatch.setattr(path, lambda *_: [])


def pytest_runtest_teardown(item, nextitem):
  """Forgets compiled programs after a file, once they are a lot of memory."""
  is_last = nextitem is None or nextitem.path != item.path
  if is_last and _used_bytes() > 2**30:
    sys.modules['jax'].clear_caches()
    # glibc keeps what is freed, but for being told.
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', lambda _: None)
    trim(0)


def _used_bytes() -> int:
  """Returns the memory of this process; 0 where Linux does not say."""
  path = pathlib.Path('/proc/self/statm')
  if not path.exists():
    return 0
  return int(path.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
