"""Timing of functions, and the memory copy that others are measured against.

>>> timing = measure(lambda: sum(range(1000)), repeats=3)
>>> timing.seconds > 0
True
"""

import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

_COPIED_BYTES = 64 * 2**20


class Timing(NamedTuple):
  """Medians over the repeats.

  Attributes:
    seconds: wall time of a call.
    page_faults: pages that a call had to be given by the system.
  """

  seconds: float
  page_faults: float

  def million_per_second(self, items: int) -> float:
    """Returns how many millions of the items of a call are done a second."""
    return items / self.seconds / 1e6


def measure(function: Callable[[], object], repeats: int) -> Timing:
  """Calls a function `repeats` times, after once that does not count.

  Args:
    function: what it returns is waited for.
    repeats: at least 1.
  """
  jax.block_until_ready(function())
  seconds, faults = [], []
  for _ in range(repeats):
    faults_before = _page_faults()
    start = time.perf_counter()
    jax.block_until_ready(function())
    seconds.append(time.perf_counter() - start)
    faults.append(_page_faults() - faults_before)
  return Timing(statistics.median(seconds), statistics.median(faults))


def copy_bytes_per_second(repeats: int) -> float:
  """Returns bytes read and written a second by NumPy's copy of 64 MiB."""
  source = np.ones(_COPIED_BYTES, np.uint8)
  target = np.empty_like(source)
  timing = measure(lambda: np.copyto(target, source), repeats)
  return 2 * _COPIED_BYTES / timing.seconds


def _page_faults() -> int:
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
