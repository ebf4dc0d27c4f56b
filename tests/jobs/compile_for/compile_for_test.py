"""What a run takes of devices: the table, the file, the errors.

The processor's compiler stands in for others where any will do.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from fps_jax.core.accelerators import ACCELERATORS
from fps_jax.jobs import run as jobs
from fps_jax.jobs.compile_for import measure, report, target
from fps_jax.jobs.compile_for.estimate import Assumptions, Seconds
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from tests.helpers import small

_FIELDS = {
  'device': str,
  'num_devices': int,
  'argument_bytes': int,
  'output_bytes': int,
  'temporary_bytes': int,
  'peak_bytes': int,
  'device_memory_bytes': int,
  'usable_memory_bytes': int,
  'fits': bool,
  'chunk_size': int,
  'kernels_per_round': int,
  'unknown_trip_counts': int,
  'host_callbacks': int,
  'flops_per_round': float,
  'bytes_per_round': int,
  'collective_bytes': int,
  'estimated_round_seconds': float,
}


def _config(**overrides):
  return small.make_config(
    perf__execution='vmap', perf__num_devices=1, num_rounds=1, **overrides
  )


def _run(config, workdir: pathlib.Path, devices: str, **options) -> dict:
  jobs.run(
    config, workdir, ['launch.py'], Options(compile_for=devices, **options)
  )
  return json.loads((workdir / 'results.json').read_text())


@pytest.fixture(name='on_processors')
def _on_processors(monkeypatch: pytest.MonkeyPatch) -> None:
  """Has the devices of this machine take the place of any others."""
  monkeypatch.setattr(target.Target, 'devices', lambda self: jax.devices())


@pytest.mark.slow
def test_file_and_table_have_what_a_run_takes(tmp_path, on_processors, capsys):
  found = _run(_config(), tmp_path / 'work', 'cuda:h200', prints_json=True)
  for field, kind in _FIELDS.items():
    assert isinstance(found[field], kind), field
  (row,) = found['variants']
  assert {name: row[name] for name in _FIELDS} == {
    name: found[name] for name in _FIELDS
  }
  assert (found['device'], found['num_devices']) == ('NVIDIA H200', 1)
  assert found['fits']
  assert found['host_callbacks'] == 0
  assert found['peak_bytes'] > found['argument_bytes'] > 0
  names = [program['name'] for program in row['programs']]
  assert names == ['collect_updates', 'step', '_init_state', 'evaluate']
  assert set(row['assumptions']) == set(Assumptions._fields)
  printed = capsys.readouterr().out
  assert json.loads(printed.splitlines()[-1]) == found
  for shown in ('Fits', 'yes', 'Kernels', '3 us to launch', '494.5 TFLOP/s'):
    assert shown in printed
  assert 'Kernels' in (tmp_path / 'work' / 'report.md').read_text()
  # Nothing has run.
  assert not list((tmp_path / 'work').glob('*/seed_*'))


@pytest.mark.slow
def test_run_that_does_not_fit_says_so(tmp_path, on_processors, monkeypatch):
  little = ACCELERATORS['tpu:v5e']._replace(memory_bytes=10_000)
  monkeypatch.setitem(ACCELERATORS, 'tpu:v5e', little)
  found = _run(_config(), tmp_path, 'tpu:v5e:2x4')
  assert not found['fits']
  assert '| no |' in (tmp_path / 'report.md').read_text()


@pytest.mark.slow
def test_program_that_no_device_can_hold_is_named(
  tmp_path, on_processors, monkeypatch, capsys
):
  compile_lowered = measure.compile_lowered

  def refuse(lowered, mesh):
    if 'collect_updates' in lowered.as_text():
      raise jax.errors.JaxRuntimeError(
        'RESOURCE_EXHAUSTED: Ran out of memory on HBM: 28G of 16G.\n[details]'
      )
    return compile_lowered(lowered, mesh)

  monkeypatch.setattr(measure, 'compile_lowered', refuse)
  found = _run(_config(), tmp_path, 'tpu:v5e:2x4')
  assert not found['fits']
  (row,) = found['variants']
  assert [bool(program['problem']) for program in row['programs']] == [
    True,
    False,
    False,
    False,
  ]
  line = 'collect_updates: RESOURCE_EXHAUSTED: Ran out of memory on HBM: 28G of'
  assert line in capsys.readouterr().out


def test_summary_has_the_most_of_any_variant():
  rows = [
    {
      'name': 'a',
      'device': 'x',
      'fits': True,
      'kernels': 3,
      'unknown_loops': [],
    },
    {
      'name': 'b',
      'device': 'x',
      'fits': False,
      'kernels': 2,
      'unknown_loops': [],
    },
  ]
  assert report.summary(rows) == {
    'name': 'a, b',
    'device': 'x',
    'fits': False,
    'kernels': 3,
  }


def test_estimate_is_launching_and_the_longer_of_computing_and_moving():
  assumed = Assumptions.of('cuda', ACCELERATORS['cuda:h200'])
  seconds = Seconds.of(assumed, 1000, 100, 494.5e12, int(9.6e12))
  assert seconds.launch == pytest.approx(1000 * 3e-6 + 100 * 15e-6)
  assert (seconds.compute, seconds.memory) == (1.0, 2.0)
  assert seconds.total == pytest.approx(2.0 + seconds.launch)


@pytest.mark.parametrize(
  ('config', 'devices', 'message'),
  [
    ({}, 'cuda:b300', "'cuda:b300' is not one of"),
    ({'job': 'inversion'}, 'cuda:h200', 'compiles the runs of a study'),
  ],
)
def test_mistake_is_a_line_before_anything_is_written(
  tmp_path, config, devices, message
):
  with pytest.raises(StudyError, match=message):
    _run(_config(**config), tmp_path / 'work', devices)
  assert not (tmp_path / 'work').exists()


def test_options_of_studies_are_refused(tmp_path, on_processors):
  with pytest.raises(StudyError, match='--compile_for runs nothing'):
    _run(_config(), tmp_path / 'work', 'cuda:h200', profile=True)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('devices', 'package', 'num_devices'),
  [
    ('tpu:v5e:2x4', 'libtpu', 8),
    ('tpu:v5e:4x4', 'libtpu', 16),
    ('cuda:h200', 'jax_cuda13_plugin', 1),
  ],
)
def test_round_is_compiled_for_devices_that_are_not_there(
  tmp_path, devices, package, num_devices
):
  if importlib.util.find_spec(package) is None:
    pytest.skip(f'{package} is not installed')
  # In a process of its own, whose JAX has not looked for devices yet.
  done = subprocess.run(
    [
      sys.executable,
      'launch.py',
      '--config=mnist:tiny,methods=fedpruneshare',
      f'--compile_for={devices}',
      f'--workdir={tmp_path}/work',
    ],
    cwd=pathlib.Path(__file__).parents[3],
    env={
      name: value
      for name, value in os.environ.items()
      if name not in ('XLA_FLAGS', 'JAX_COMPILATION_CACHE_DIR')
    },
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'work' / 'results.json').read_text())
  assert found['num_devices'] == num_devices
  assert found['fits']
  assert found['host_callbacks'] == 0
  assert found['kernels_per_round'] > 100
  # All clients of a device at once: there is memory for that.
  assert found['chunk_size'] == -(-8 // num_devices)
  assert (found['collective_bytes'] > 0) == (num_devices > 1)
