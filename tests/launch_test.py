"""The command line, in a process of its own, as a user types it."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).parent.parent


def _launch(*arguments, environment=None):
  return subprocess.run(
    [sys.executable, 'launch.py', *arguments],
    cwd=_ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=300,
  )


def test_launch_runs_a_config_with_arguments_and_overrides(tmp_path):
  done = _launch(
    '--config=experiments/mnist.py:seeds=2,tiny,methods=fedpruneshare',
    '--config.num_rounds=2',
    '--config.model.args.mlp.widths=(8,)',
    '--config.pruning.sparsity=0.5',
    f'--workdir={tmp_path}/work',
  )
  assert done.returncode == 0, done.stderr
  assert '2 rounds, seeds 0, 1' in done.stdout
  config = json.loads((tmp_path / 'work' / 'config.json').read_text())
  assert config['model']['args']['mlp']['widths'] == [8]
  source = (_ROOT / 'experiments' / 'mnist.py').read_bytes()
  assert (tmp_path / 'work' / 'source' / 'mnist.py').read_bytes() == source


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config.client.learning_rte=1'], 'learning_rte; Did you mean'),
    (['--config.num_rounds=many'], 'config.num_rounds=many: invalid'),
    (
      ['--config.seeds=3'],
      'config.seeds=3: must be a tuple: write "3," or "(3,)" for the one entry '
      '3; for 3 seeds, give --config=experiments/mnist.py:seeds=3',
    ),
    (['--nonsense'], "Unknown command line flag 'nonsense'"),
    (['--config.sharing.threshold=9'], 'threshold=9 must be in [1, num_s'),
  ],
)
def test_mistake_on_the_command_line_is_named_and_fails(
  tmp_path, arguments, message
):
  done = _launch(
    '--config=experiments/mnist.py:tiny',
    f'--workdir={tmp_path}/work',
    *arguments,
  )
  assert done.returncode == 1
  assert done.stderr.startswith('error: ')
  assert message in done.stderr
  assert 'Traceback' not in done.stderr


def test_unknown_config_argument_is_named():
  done = _launch('--config=experiments/mnist.py:fast')
  assert done.returncode == 1
  assert done.stderr.strip().count('\n') == 0
  assert "'fast' is not one of ['methods', 'seeds', 'tiny']" in done.stderr


@pytest.mark.parametrize('flag', ['--help', '--helpshort', '--helpfull'])
def test_help_prints_the_flags_of_the_program_and_is_no_mistake(flag):
  done = _launch(flag)
  assert done.returncode == 0, done.stderr
  assert '--config: Config file' in done.stdout
  assert '--tfds_data_dir:' in done.stdout


def test_misspelt_field_in_a_file_is_named_with_its_line(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(
    'from fps_jax.config import defaults as configs\n\n\n'
    'def get_config(_=None):\n'
    '  config = configs.default()\n'
    '  config.pruning.sparsty = 0.4\n'
    '  return config\n'
  )
  done = _launch(f'--config={file}', f'--workdir={tmp_path}/work')
  assert done.returncode == 1
  assert done.stderr.strip() == (
    f'error: {file}, line 6: the config has no field sparsty; Did you mean '
    'sparsity instead of sparsty? (see fps_jax/config/sections)'
  )
  assert not (tmp_path / 'work').exists()


def test_missing_config_file_is_named():
  done = _launch('--config=experiments/nope.py')
  assert done.returncode == 1
  assert done.stderr.strip().count('\n') == 0
  assert 'experiments/nope.py' in done.stderr


def test_list_needs_no_config_and_starts_no_device():
  # A platform that does not exist fails as soon as JAX looks for devices.
  environment = {**os.environ, 'JAX_PLATFORMS': 'none_such'}
  done = _launch('--list', environment=environment)
  assert done.returncode == 0, done.stderr
  for line in ('data.partition: partitioners', 'sharing.audit: audits'):
    assert f'\n{line}\n' in done.stdout


def test_without_a_config_both_ways_on_are_named():
  done = _launch()
  assert done.returncode == 1
  assert done.stderr.strip().count('\n') == 0
  assert 'give --config=experiments/mnist.py to run it' in done.stderr
  assert '--list for what there is' in done.stderr


def test_sweep_without_a_config_is_refused():
  done = _launch('--list', '--sweep=num_rounds=2,3')
  assert done.returncode == 1
  assert 'error: --sweep needs a config' in done.stderr
