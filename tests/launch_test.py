"""The command line, in a process of its own, as a user types it."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

from fps_jax.jobs import launch_flags
from tests.helpers.cases import thorough

# As ml_collections loads a config file.
pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings(
    r'ignore:the load_module\(\) method is deprecated'
  ),
]

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
    thorough(['--config.num_rounds=many'], 'config.num_rounds=many: invalid'),
    thorough(
      ['--config.seeds=3'],
      'config.seeds=3: must be a tuple: write "3," or "(3,)" for the one entry '
      '3; for 3 seeds, give --config=experiments/mnist.py:seeds=3',
    ),
    thorough(
      ['--compile_for=cuda:h20'], 'did you mean cuda:h200?: give cuda:KIND'
    ),
    (['--seeded_draws'], '--seeded_draws needs --deploy'),
    thorough(['--client_processes=3'], '--client_processes needs --deploy'),
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
  for name in ('config', 'tfds_data_dir', 'workdir'):
    assert f'--{name}' in done.stdout


def test_help_begins_with_examples_and_leaves_out_what_jax_and_absl_have():
  done = _launch('--help')
  title, _, examples, first, *_ = done.stdout.splitlines()
  assert (title[-1], examples) == ('.', 'Examples:')
  assert first.startswith('  python launch.py --config=mnist ')
  for group in ('What runs', 'What is written', 'Looking at', 'Machines'):
    assert f'\n\n{group}' in done.stdout
  for foreign in ('verbosity', 'only_check_args', 'chex', 'pdb'):
    assert foreign not in done.stdout
  assert '--verbosity' in _launch('--helpfull').stdout


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
  assert 'give --config=mnist to run it' in done.stderr
  assert '--list for what there is' in done.stderr


def test_sweep_without_a_config_is_refused():
  done = _launch('--list', '--sweep=num_rounds=2,3')
  assert done.returncode == 1
  assert 'error: --sweep needs a config' in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
  'program',
  [['launch.py'], ['-m', 'fps_jax']],
  ids=['launch.py', 'module'],
)
def test_programs_take_the_name_of_a_config(program, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      *program,
      '--config',
      'mnist:tiny,methods=fedavg',
      '--config.num_rounds=1',
      f'--workdir={tmp_path}/work',
    ],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert '1 round, seed 0' in done.stdout
  assert (tmp_path / 'work' / 'source' / 'mnist.py').exists()


@pytest.mark.parametrize(
  ('stray', 'meant'),
  [
    ('mnist:tiny', '--config=mnist:tiny'),
    ('experiments/mnist.py', '--config=experiments/mnist.py'),
    ('client.epochs=2', '--config.client.epochs=2'),
    ('config.client.epochs=2', '--config.client.epochs=2'),
    ('\u2013config=mnist', '--config=mnist'),
    ('workdir=a', '--workdir=a'),
    ('swep=client.epochs=1,2', '--sweep=client.epochs=1,2'),
    ('tiny', '--config=NAME:tiny'),
    ('tests', '--workdir=tests or --report=tests'),
    ('what', ''),
  ],
)
def test_stray_argument_is_named_with_what_was_meant(stray, meant):
  expected = f'did you mean {meant}?' if meant else ''
  assert launch_flags.meant_by(stray) == expected


def test_stray_argument_ends_in_one_line():
  done = _launch('mnist:tiny')
  assert done.returncode == 1
  assert done.stderr == (
    "error: unexpected argument 'mnist:tiny': did you mean "
    '--config=mnist:tiny?\n'
  )


@pytest.mark.parametrize(
  ('source', 'message'),
  [
    (b'x = (\n', ", line 1: SyntaxError: '(' was never closed"),
    (b'import nonesuch\n', ', line 1: ModuleNotFoundError: No module named'),
    (b'x = 1\ny = x / 0\n', ', line 2: ZeroDivisionError: division by zero'),
    (b'x = 1\n', ': there is no function get_config(), which is'),
    (b'def get_config():\n  return 1\n', 'takes no such arguments: leave out'),
    (b'def get_config(_):\n  return 1\n', 'get_config() returns 1, not a Con'),
    (
      b'import json\ndef get_config(_):\n  return json.loads("x")\n',
      ', line 3: Expecting value',
    ),
    (
      b'def get_config(_):\n  raise RuntimeError("no luck")\n',
      ', line 2: RuntimeError: no luck',
    ),
    (b'\xff\x00', 'SyntaxError: '),
  ],
)
def test_broken_config_file_is_named_with_the_line(
  source, message, tmp_path, monkeypatch
):
  # A module is loaded over the one before, whose functions it keeps.
  monkeypatch.delitem(sys.modules, 'config_config', raising=False)
  file = tmp_path / 'mine.py'
  file.write_bytes(source)
  values = flags.FlagValues()
  argv = ['fps-jax', f'--config={file}:tiny']
  launch_flags.define(values, argv)
  with pytest.raises(SystemExit) as caught:
    launch_flags.parse(argv, values)
  (line,) = str(caught.value).splitlines()
  assert line.startswith('error: ')
  assert message in line
  assert str(file) in line


def test_config_file_imports_what_is_beside_it(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'path', list(sys.path))
  (tmp_path / 'its_neighbour_42.py').write_text('ROUNDS = 7\n')
  file = tmp_path / 'mine.py'
  file.write_text(
    'import its_neighbour_42\n'
    'from fps_jax.config import defaults\n'
    'def get_config(_=None):\n'
    '  config = defaults.default()\n'
    '  config.num_rounds = its_neighbour_42.ROUNDS\n'
    '  return config\n'
  )
  values = flags.FlagValues()
  argv = ['fps-jax', '--config', str(file)]
  launch_flags.define(values, argv)
  launch_flags.parse(argv, values)
  assert values.config.num_rounds == 7


# A config whose study is sent a signal at some stage, and waits there.
_STOPPED = """
import os, signal, time
from fps_jax import data
from fps_jax.config import defaults
from fps_jax.results import report
def stop(*args, **kwargs):
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(60)
STAGE
def get_config(_=None):
  config = defaults.default()
  defaults.tiny(config)
  config.num_rounds = 1
  config.model.args.mlp.widths = (4,)
  config.pruning.sparsity = 0.5
  return config
"""


@pytest.mark.parametrize(
  ('stage', 'on'),
  [
    ('stop()', 'nothing has begun: give the same command again'),
    thorough(
      'data.load = stop', 'to go on: .*launch.py --config=.*--workdir=.*work'
    ),
    thorough(
      'report.write_report = stop', 'to go on: .*launch.py --config=.*work'
    ),
  ],
  ids=['as_the_config_is_read', 'as_data_are_loaded', 'in_the_report'],
)
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(stage, on, tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(_STOPPED.replace('STAGE', stage))
  done = _launch(f'--config={file}', f'--workdir={tmp_path}/work')
  assert done.returncode == 130
  *warned, line = done.stderr.splitlines()
  assert re.fullmatch(f'stopped by Ctrl-C; {on}', line)
  assert all(each.startswith('warning: ') for each in warned)


def test_warnings_have_no_prefix_of_a_log(tmp_path):
  done = _launch(
    '--config=mnist:tiny,methods=sharing',
    '--config.num_rounds=1',
    '--config.model.args.mlp.widths=(4,)',
    '--config.sharing.clip=1e-4',
    f'--workdir={tmp_path}/work',
  )
  assert done.returncode == 0
  for line in done.stderr.splitlines():
    assert re.match(r'warning: Secret sharing only, seed 0: up to ', line)
  assert done.stderr
  # Nor is a table of it cut off, or broken, where it is no terminal.
  assert '…' not in done.stdout
  (row,) = (line for line in done.stdout.splitlines() if ' kB ' in line)
  assert 'Secret sharing only' in row


def test_config_that_is_given_twice_is_refused():
  done = _launch('--config=mnist', '--config', 'faults')
  assert done.returncode == 1
  assert done.stderr == 'error: --config is given twice: give one\n'
