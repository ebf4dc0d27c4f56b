"""Tests of the throughput benchmark: everything it says but the times."""

import json
import math
import pathlib
import subprocess
import sys

import jax
import pytest
from ml_collections import ConfigDict

from fps_jax import data, models
from fps_jax.config import defaults as configs
from fps_jax.jobs import run as jobs
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from fps_jax.jobs.throughput import job as throughput
from fps_jax.jobs.throughput import report
from fps_jax.jobs.throughput.phases import PHASES, phases_of_instructions
from fps_jax.runs.costs.flops import training_flops

_ROOT = pathlib.Path(__file__).parents[3]
# What the simulators that others use print for the same workload.
KEYS = {
  'workload',
  'sec_per_round',
  'min',
  'max',
  'first_round',
  'rounds',
  'test_accuracy_after',
  'peak_rss_mb',
}


def tiny_config() -> ConfigDict:
  config = throughput.default()
  configs.tiny(config)
  config.model.args.mlp.widths = (8,)
  config.timing.rounds = 2
  config.timing.examples = 20
  config.timing.image_shape = (5, 4, 1)
  return config


@pytest.fixture(autouse=True, scope='module')
def compilation_cache():
  """Measuring switches the cache off, which other tests are faster with."""
  yield
  jax.config.update('jax_enable_compilation_cache', True)


def run(config: ConfigDict, workdir: pathlib.Path) -> dict:
  jobs.run(config, workdir, ['launch.py'])
  return json.loads((workdir / 'results.json').read_text())


@pytest.mark.thorough
def test_methods_of_a_group_are_measured_in_turn_with_their_phases(tmp_path):
  config = tiny_config()
  config.timing.group = 'methods'
  config.variants.fedavg = {}
  config.variants.fedpruneshare = {
    'pruning': {'schedule': 'constant', 'sparsity': 0.5},
    'sharing': {'scheme': 'shamir'},
  }
  fedavg, ours = run(config, tmp_path / 'new')['rows']
  for row in (fedavg, ours):
    assert row['rounds'] == 2
    assert 0 < row['min'] <= row['sec_per_round'] <= row['max']
    assert row['clients_per_second'] == pytest.approx(8 / row['sec_per_round'])
    assert row['examples_per_second'] * row['sec_per_round'] == pytest.approx(
      8 * 20
    )
    assert 0 < row['compile_seconds'] < row['first_round']
    assert set(row['phases']) == set(PHASES)
    assert row['phases']['train'] > 0
  assert fedavg['over_first_case'] == 1
  for phase in ('prune', 'encode', 'share', 'audit'):
    assert fedavg['phases'][phase] == 0
  for phase in PHASES:
    assert ours['phases'][phase] > 0, phase
  kept = round((1 - ours['sparsity']) * ours['num_params'])
  num_devices = jax.device_count()
  per_device = math.ceil(8 / num_devices)
  num_chunks = num_devices * math.ceil(per_device / ours['chunk_size'])
  assert ours['protocol_bytes'] == 4 * kept * (8 + 2 * 5 * num_chunks)
  for name in ('report.md', 'phases.png', 'config.json', 'environment.json'):
    assert (tmp_path / 'new' / name).stat().st_size > 0
  assert not (tmp_path / 'new' / 'scaling.png').exists()


@pytest.mark.slow
def test_one_case_ends_with_one_line_that_others_print_too(tmp_path, capsys):
  config = tiny_config()
  config.name = 'w0'
  config.timing.trace = False
  options = Options(prints_json=True)
  jobs.run(config, tmp_path / 'new', ['launch.py'], options)
  last = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert set(last) >= KEYS
  assert last['workload'] == 'w0'
  assert last['rounds'] == 2
  assert 0 <= last['test_accuracy_after'] <= 1
  # Importing JAX alone takes more.
  assert last['peak_rss_mb'] > 50


@pytest.mark.thorough
def test_scaling_measures_each_cohort_in_a_process_of_its_own(tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      'launch.py',
      '--config=experiments/throughput.py:scaling,tiny',
      '--config.model.args.mlp.widths=(8,)',
      f'--workdir={tmp_path}/new',
      '--json',
    ],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  rows = json.loads(done.stdout.splitlines()[-1])['rows']
  assert [row['cohort'] for row in rows] == [2, 8]
  assert (tmp_path / 'new' / 'scaling.png').stat().st_size > 0
  assert not (tmp_path / 'new' / 'phases.png').exists()


def measured_row(**changes: object) -> dict[str, object]:
  """Returns the row of a case all of whose phases took a second."""
  numbers = dict.fromkeys(
    (
      *('clients_per_second', 'examples_per_second', 'sec_per_round', 'min'),
      *('max', 'training_of_matmul_peak', 'cohort', 'batch_size'),
      *(
        'chunk_size',
        'first_round',
        'compile_seconds',
        'peak_rss_mb',
        'over_first_case',
      ),
    ),
    1,
  )
  return {
    **numbers,
    'name': 'case',
    'execution': 'vmap',
    'sharing': 'shamir',
    'protocol_bytes': 6e9,
    'peak_device_mb': None,
    'phases': dict.fromkeys(PHASES, 1.0),
    **changes,
  }


def tables_of(row: dict[str, object]) -> dict[str, str]:
  """Returns the cells of all tables of one case, by their headings."""
  machine = {'matmul_gigaflops': 1.0, 'copy_gigabytes': 10.0}
  cells: dict[str, str] = {}
  for table in report.tables({'rows': [row], 'machine': machine}):
    cells |= dict(zip(table.header, table.lines[0], strict=True))
  return cells


def test_sharing_is_a_part_of_the_time_of_all_phases():
  cells = tables_of(measured_row())
  # Five of nine phases; of which three move 6 GB in 3 s.
  assert cells['Part of time for sharing'] == '56%'
  assert cells['Part of copy speed'] == '20%'
  clear = tables_of(measured_row(sharing='none'))
  assert clear['Part of time for sharing'] == '-'


def test_memory_of_a_device_is_told_where_it_is_not_the_processs():
  assert 'Peak memory of a device (MiB)' not in tables_of(measured_row())
  cells = tables_of(measured_row(peak_device_mb=2048))
  assert cells['Peak memory of a device (MiB)'] == '2,048'


def test_instructions_belong_to_their_outermost_phase():
  text = """HloModule jit_f, is_scheduled=true

%body (p: (f32[2])) -> (f32[2]) {
  %fusion.1 = f32[2]{0} fusion(%x), metadata={op_name="jit(f)/while/train/sum"}
  ROOT %add.2 = f32[2]{0} add(%a, %b), metadata={op_name="jit(f)/vmap(share)/x"}
}

ENTRY %main (x: f32[2]) -> f32[2] {
  %copy.3 = f32[2]{0} copy(%x)
  %sub.4 = f32[2]{0} subtract(%x, %x), metadata={op_name="jit(f)/retrain/sub"}
  ROOT %while.5 = (f32[2]{0}) while(%t), metadata={op_name="jit(f)/train/while"}
}
"""
  assert phases_of_instructions(text) == {
    'fusion.1': 'train',
    'add.2': 'share',
    'copy.3': 'other',
    'sub.4': 'other',
    'while.5': None,
  }


def test_flops_are_those_of_the_matrix_products():
  dataset = data.load('fake')
  # Forwards, and both gradients but the images'.
  products = 2 * (2 * 64 * 30 + 3 * 30 * 10)
  model = models.make('mlp', dataset.num_classes, widths=(30,))
  flops = training_flops(model, dataset, batch_size=10)
  # Activations and the loss come on top.
  assert products < flops < 1.2 * products


@pytest.mark.slow
def test_flops_of_a_loop_are_those_of_all_its_steps():
  dataset = data.make_text(num_clients=2, length=12)
  num_tokens = dataset.num_classes
  model = models.make('char_lstm', num_tokens, embedding=8, width=32)
  layer = 4 * (8 * 32 + 32 * 32)
  products = 12 * 3 * 2 * (layer + 32 * num_tokens)
  flops = training_flops(model, dataset, batch_size=10)
  assert 0.9 * products < flops < 1.3 * products


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('rounds', 0, r'timing\.rounds=0 must be at least 1'),
    ('examples', -1, r'timing\.examples=-1 must be at least 0'),
    ('image_shape', (5, 4), r'timing\.image_shape=\(5, 4\) must be \(height'),
    ('image_shape', (5, 0, 1), r'timing\.image_shape=\(5, 0, 1\) must be'),
  ],
)
def test_timing_out_of_range_is_refused_before_anything_is_written(
  tmp_path, field, value, message
):
  config = tiny_config()
  config.timing[field] = value
  with pytest.raises(StudyError, match=message):
    run(config, tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def test_profile_is_refused(tmp_path):
  with pytest.raises(StudyError, match=r'--profile.* are for studies'):
    jobs.run(tiny_config(), tmp_path / 'new', [], Options(profile=True))
