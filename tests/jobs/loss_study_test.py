"""A study of numbers, which have no accuracy: reported by its loss."""

import io
import json

import numpy as np
import pytest
from rich import console as rich_console

from fps_jax import data
from fps_jax.data import Dataset
from fps_jax.jobs import study
from fps_jax.results.html import page
from tests.helpers import small

pytestmark = pytest.mark.slow


def _load_line() -> Dataset:
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(240, 6)).astype(np.float32)
  targets = np.tanh(inputs[:, :2])
  return Dataset(
    'line', inputs[:200], targets[:200], inputs[200:], targets[200:], 2
  )


def test_study_of_numbers_is_reported_by_its_loss(tmp_path, monkeypatch):
  monkeypatch.setitem(data.SOURCES, 'line', _load_line)
  config = small.make_config(
    data__source='line',
    data__partition='iid',
    model__loss='mean_squared_error',
    sharing__scheme='ideal',
    pruning__sparsity=0.2,
    num_rounds=4,
  )
  console = rich_console.Console(file=io.StringIO(), width=100)
  study.run_study(config, tmp_path / 'work', ['launch.py'], console=console)
  (metrics,) = (tmp_path / 'work').glob('*/seed_0/metrics.jsonl')
  rows = [json.loads(line) for line in metrics.read_text().splitlines()]
  losses = [row['test_loss'] for row in rows]
  assert [row['test_accuracy'] for row in rows] == [None] * 4
  assert losses == sorted(losses, reverse=True)
  shown = f'loss {losses[-1]:.4g}'
  assert shown in console.file.getvalue()
  assert shown in (tmp_path / 'work' / 'report.md').read_text()
  assert (tmp_path / 'work' / 'loss_rounds.png').exists()
  made = page.write([tmp_path / 'work']).read_text()
  assert shown in made
  assert 'Test loss over rounds</figcaption>' in made
  assert 'Test loss over rounds' in made
