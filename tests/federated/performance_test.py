"""Tests of `fps_jax.federated.performance`."""

from typing import Any

import jax
import pytest

from fps_jax.federated.performance import Performance


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'chunk_size': 0}, 'chunk_size=0 must be at least 1'),
    ({'chunk_size': -3}, 'chunk_size=-3 must be at least 1'),
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
