"""Tests of `fps_jax.jobs.timing`; a time itself is never tested."""

import numpy as np

from fps_jax.jobs import timing


def test_function_is_called_once_more_than_it_counts():
  calls = []
  timed = timing.measure(lambda: calls.append(0), repeats=4)
  assert len(calls) == 5
  assert timed.seconds > 0


def test_page_faults_of_new_memory_are_counted():
  # Far more than any allocator keeps: every call gets new pages.
  timed = timing.measure(lambda: np.ones(2**24, np.uint32), repeats=3)
  assert timed.page_faults > 16  # Pages may be huge: 64 MiB in 2 MiB ones.


def test_copy_moves_bytes():
  assert timing.copy_bytes_per_second(1) > 0
