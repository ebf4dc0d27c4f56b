"""Chunks are as large as memory allows, and what a round takes is known."""

import json
import math

import jax
import numpy as np
import pytest

from fps_jax.jobs import study
from fps_jax.jobs.study import StudyError
from fps_jax.runs import chunk_size
from fps_jax.runs.chunk_size import largest_fitting, most_in_step
from tests.helpers import small

_PLAIN = {
  'perf__execution': 'vmap',
  'data__partition': 'iid',
  'pruning__schedule': 'none',
  'sharing__scheme': 'none',
}


def _linear(first: float, each: float):
  return lambda size: first + each * size


@pytest.mark.parametrize(
  ('measure', 'most', 'limit', 'size'),
  [
    (_linear(0, 1), 10_000, 20_000, 10_000),
    (_linear(0, 1), 10_000, 1_000, 1_000),
    # Even: 10,000 in ten chunks, not nine of 1,100 and one of 100.
    (_linear(0, 1), 10_000, 1_100, 1_000),
    (_linear(500, 2), 300, 900, 150),
    (_linear(0, 1), 7, 100, 7),
    # Three in two chunks of four, or in three of three.
    (_linear(0, 1), 7, 3, 3),
    (_linear(0, 1), 1, 100, 1),
    # Not even one client fits.
    (_linear(1_000, 1), 300, 100, 1),
    # Less memory than the line says, and more.
    (lambda size: math.ceil(size / 128) * 128, 10_000, 2_000, 1_667),
    (lambda size: size**1.1, 10_000, 5_000, 2_000),
    # What cannot be compiled at all does not fit.
    (lambda size: size if size < 100 else math.inf, 10_000, 50_000, 99),
    (lambda size: size if size < 5 else math.inf, 10_000, 50_000, 4),
  ],
)
def test_size_fits_and_is_about_the_largest(measure, most, limit, size):
  found = largest_fitting(measure, most, limit)
  assert measure(found) <= limit or found == 1
  assert 0.75 * size <= found <= size


def test_sizes_are_measured_a_few_times_at_most():
  tried = []

  def measure(size):
    tried.append(size)
    return 1000 + size**2

  largest_fitting(measure, 10**6, 10**9)
  assert len(tried) == len(set(tried)) <= 5


def test_chunks_take_few_steps_in_vain():
  alike = np.full((2, 1_000), 60)
  assert most_in_step(alike, 10**6) == 1_000
  assert most_in_step(alike, 400) == 334
  # One client of 100 takes ten times as many steps as the others.
  uneven = np.concatenate([np.full(10, 600), np.full(990, 60)])[None]
  size = most_in_step(uneven, 10**6)
  assert 16 <= size < 1_000
  taken = uneven[0, ::size].sum() * size
  assert taken <= 1.25 * uneven[0, ::16].sum() * 16
  # Few clients are one chunk, whatever they take.
  assert most_in_step(np.array([[90, 10, 1]]), 10**6) == 3


def _simulation(monkeypatch, usable, **overrides):
  monkeypatch.setattr(chunk_size, 'usable_bytes', lambda mesh: usable)
  config = small.make_config(
    **{
      'data__num_clients': 64,
      'cohort__size': 64,
      'perf__num_devices': 1,
      **overrides,
    }
  )
  return small.make(config)


@pytest.mark.slow
def test_round_takes_its_part_of_the_memory_at_most(monkeypatch):
  everyone = _simulation(monkeypatch, 2**40, **_PLAIN)
  assert _size(everyone) == 64
  usable = _bytes(everyone)
  sizes = set()
  for _ in range(2):
    # As if in another process.
    chunk_size._known_bytes.clear()
    simulation = _simulation(monkeypatch, usable, **_PLAIN)
    taken = _bytes(simulation)
    assert taken <= chunk_size.PART_OF_MEMORY * usable
    sizes.add(_size(simulation))
  (size,) = sizes
  assert 1 < size < 64


def _bytes(simulation):
  return chunk_size.round_bytes(
    simulation, simulation.plan(0), simulation.put_data()
  )


def _size(simulation):
  return simulation.round.method.performance.clients_per_chunk


@pytest.mark.parametrize(
  ('usable', 'overrides', 'size'),
  [
    # A processor, whose memory nobody says.
    (None, {'perf__execution': 'vmap'}, 16),
    (2**40, {'perf__execution': 'vmap', 'perf__chunk_size': 3}, 3),
    (2**40, {'perf__execution': 'sequential'}, 5),
  ],
)
def test_memory_decides_only_where_it_is_known_and_asked(
  monkeypatch, usable, overrides, size
):
  monkeypatch.setattr(chunk_size, 'round_programs', None)
  simulation = _simulation(monkeypatch, usable, **overrides)
  assert _size(simulation) == size


@pytest.mark.slow
def test_what_was_chosen_is_printed_and_recorded(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(chunk_size, 'usable_bytes', lambda mesh: 2**40)
  config = small.make_config(num_rounds=1, perf__num_devices=1, **_PLAIN)
  study.run_study(config, tmp_path, ['launch.py'])
  recorded = json.loads((tmp_path / 'environment.json').read_text())
  (size,) = recorded['chunk_sizes'].values()
  assert size == config.cohort.size
  line = f'chunks of {size} clients, for which the devices have memory'
  assert line in capsys.readouterr().out


@pytest.mark.parametrize(
  ('size', 'cure'),
  [
    (12, 'lower perf.chunk_size, which is 12 now'),
    (1, 'perf.chunk_size is 1 already: lower client.batch_size'),
  ],
)
def test_out_of_memory_is_a_line_that_says_what_to_lower(
  monkeypatch, tmp_path, size, cure
):
  def train(*_):
    raise jax.errors.JaxRuntimeError(
      'RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.\n[more lines]'
    )

  monkeypatch.setattr(study, 'train', train)
  config = small.make_config(perf__chunk_size=size)
  with pytest.raises(StudyError, match=cure) as caught:
    study.run_study(config, tmp_path, ['launch.py'])
  assert str(caught.value).startswith('a device has too little memory')
  assert '\n' not in str(caught.value)


def test_other_errors_of_devices_are_what_they_were(monkeypatch):
  simulation = small.make(small.make_config())
  with (
    pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'),
    chunk_size.naming_it(simulation),
  ):
    raise jax.errors.JaxRuntimeError('INTERNAL: something else')
