"""The package: what a wheel holds, what importing it takes, who calls it."""

import configparser
import os
import pathlib
import subprocess
import sys

import pytest

from fps_jax.config import experiments

_ROOT = pathlib.Path(__file__).parent.parent
# Of the packages that the plain install has, what few importers need.
_HEAVY = (
  'array_record',
  'jinja2',
  'matplotlib',
  'orbax',
  'tensorboardX',
  'tensorflow_datasets',
)
# As pip does where there is no setup.py.
_BUILD = 'import setuptools; setuptools.setup()'
_HIGH_LEVEL = ('flax', 'ml_collections', 'optax', 'rich')


def _imports(module: str, names: tuple[str, ...]) -> list[str]:
  """Returns which packages are there once a module is imported alone."""
  code = (
    f'import sys, {module}\n'
    f'print(*(name for name in {names!r} if name in sys.modules))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize('module', ['fps_jax', 'fps_jax.jobs.study'])
def test_importing_takes_none_of_what_few_need(module):
  assert _imports(module, _HEAVY) == []


@pytest.mark.slow
def test_help_takes_no_jax():
  assert _imports('fps_jax.jobs.launch_flags', ('jax',)) == []


@pytest.mark.slow
def test_core_imports_jax_and_numpy_alone():
  """Sharing, pruning, attacks and defences, by all of their modules."""
  modules = [
    '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
    for layer in ('sharing', 'pruning', 'attacks', 'defences')
    for path in sorted((_ROOT / 'fps_jax' / layer).rglob('*.py'))
    if path.name != '__init__.py'
  ]
  assert len(modules) > 30
  assert _imports(', '.join(modules), _HEAVY + _HIGH_LEVEL) == []


def _setup(command: str, tmp_path: pathlib.Path) -> list[str]:
  """Returns the lines of a command of setuptools that builds nothing."""
  done = subprocess.run(
    [sys.executable, '-c', _BUILD, '--quiet', 'egg_info', f'-e{tmp_path}'],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
  )
  assert done.returncode == 0
  return (tmp_path / 'fps_jax.egg-info' / command).read_text().splitlines()


@pytest.mark.slow
def test_wheel_has_every_file_of_the_package_and_the_experiments(tmp_path):
  listed = set(_setup('SOURCES.txt', tmp_path))
  for folder in ('fps_jax', 'experiments'):
    for path in (_ROOT / folder).rglob('*.py'):
      assert str(path.relative_to(_ROOT)) in listed
  assert 'fps_jax/data/mnist_sample.npz' in listed
  assert {'fps_jax/results/html/page.html', 'fps_jax/py.typed'} <= listed
  assert not [path for path in listed if path.startswith('tests/')]
  names = (tmp_path / 'fps_jax.egg-info' / 'top_level.txt').read_text().split()
  assert names == ['fps_jax', 'fps_jax_experiments']


def test_console_command_is_that_of_the_package():
  setup = configparser.ConfigParser()
  setup.read(_ROOT / 'setup.cfg')
  scripts = setup['options.entry_points']['console_scripts'].split('\n')
  assert scripts[1:] == ['fps-jax = fps_jax.__main__:main']


def test_extras_name_packages_that_the_plain_install_has():
  setup = configparser.ConfigParser()
  setup.read(_ROOT / 'setup.cfg')
  plain = setup['options']['install_requires'].splitlines()
  for extra in ('tfds', 'figures', 'checkpoints'):
    packages = setup['options.extras_require'][extra].split('\n')[1:]
    assert packages
    assert set(packages) <= set(plain)


@pytest.mark.parametrize(
  ('given', 'end'),
  [
    ('mnist', 'experiments/mnist.py'),
    ('mnist:tiny,seeds=3', 'experiments/mnist.py:tiny,seeds=3'),
    ('experiments/mnist.py:tiny', 'experiments/mnist.py:tiny'),
  ],
)
def test_config_is_found_by_its_name_and_by_its_path(
  given, end, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  found = experiments.find(given)
  assert found == str(_ROOT / end)


def test_file_of_the_user_goes_before_one_of_the_package(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'experiments').mkdir()
  own = pathlib.Path('experiments', 'mnist.py')
  own.write_text('')
  assert experiments.find(f'{own}:tiny') == f'{own}:tiny'


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (
      'mnits',
      'mnits: no such config, did you mean mnist[?]; .*cifar10, cifar10_long',
    ),
    ('a/mnist_cn.py', 'mnist_cn.py: no such file, did you mean mnist_cnn[?]'),
    ('x.py:tiny', '--config=x.py: no such file; give a file, FILE.py, or one'),
    ('.', '--config=. is a folder: name a file in it'),
    (':tiny', '--config=:tiny names no file'),
  ],
)
def test_config_that_is_not_there_lists_those_that_are(given, message):
  with pytest.raises(ValueError, match=message):
    experiments.find(given)
