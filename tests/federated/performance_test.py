"""Tests of `fps_jax.federated.performance`."""

from typing import Any

import jax
import pytest

from fps_jax.federated.performance import Performance


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'chunk_size': -1}, 'chunk_size=-1 must be at least 0'),
    ({'num_devices': -1}, 'num_devices=-1 must be at least 0'),
    ({'execution': 'pmap'}, "execution='pmap' is not one of .*'sequential'"),
  ],
)
def test_performance_out_of_range_raises(fields: dict[str, Any], message: str):
  with pytest.raises(ValueError, match=message):
    Performance(**fields)


@pytest.mark.parametrize(
  ('execution', 'backend', 'vmaps'),
  [
    ('auto', 'cpu', False),
    ('auto', 'gpu', True),
    ('auto', 'tpu', True),
    ('vmap', 'cpu', True),
    ('sequential', 'gpu', False),
  ],
)
def test_auto_vmaps_everywhere_but_on_a_cpu(
  monkeypatch: pytest.MonkeyPatch, execution: str, backend: str, vmaps: bool
):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  assert Performance(execution=execution).vmaps is vmaps
  monkeypatch.undo()
  assert Performance(execution=execution, platform=backend).vmaps is vmaps


def test_chunk_size_is_chosen_or_that_of_the_user():
  assert Performance(execution='sequential').clients_per_chunk == 5
  assert Performance(execution='vmap').clients_per_chunk == 16
  assert Performance(3, 'vmap').clients_per_chunk == 3


def test_tiles_are_short_on_a_cpu_alone():
  cpu, gpu = Performance(platform='cpu'), Performance(platform='gpu')
  assert cpu.longest_tile < gpu.longest_tile
