"""Tests of the description of the environment."""

import datetime
import json
import pathlib
import subprocess

import jax
import pytest

from fps_jax.core import environment


def _git(folder: pathlib.Path, *arguments: str) -> str:
  return subprocess.run(
    [
      'git',
      '-c',
      'user.name=T',
      '-c',
      'user.email=t@example.org',
      '-C',
      str(folder),
      *arguments,
    ],
    capture_output=True,
    check=True,
    text=True,
  ).stdout.strip()


@pytest.fixture(name='source')
def _source(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
  """A source folder in a new checkout without commits."""
  # Set in git hooks; they would point git at the outer checkout.
  for name in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE'):
    monkeypatch.delenv(name, raising=False)
  source = tmp_path / 'package'
  source.mkdir()
  (source / 'module.py').write_text('one = 1\n')
  _git(tmp_path, 'init', '--quiet')
  return source


def _commit(source: pathlib.Path) -> str:
  _git(source, 'add', '.')
  _git(source, 'commit', '--quiet', '--no-gpg-sign', '--message', 'test')
  return _git(source, 'rev-parse', 'HEAD')


def test_description_is_json_and_tells_this_process() -> None:
  before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
  described = environment.describe_environment(['study.py', '--seed=1'])
  assert json.loads(json.dumps(described, allow_nan=False)) == described
  assert described['argv'] == ['study.py', '--seed=1']
  assert described['packages']['jax'] == jax.__version__
  assert described['packages'].keys() == {
    'fps_jax',
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'numpy',
  }
  assert described['jax_backend'] == jax.default_backend()
  assert described['device_count'] == jax.device_count()
  assert described['cpu_model']
  assert described['cpu_logical_cores'] >= 1
  started = datetime.datetime.fromisoformat(described['started_utc'])
  assert before <= started <= datetime.datetime.now(datetime.UTC)


def test_package_that_is_not_installed_has_no_version() -> None:
  assert environment.package_version('no-such-distribution') is None


def test_clean_checkout_has_its_commit(source: pathlib.Path) -> None:
  commit = _commit(source)
  assert environment.describe_git(source) == (commit, False)


@pytest.mark.parametrize('name', ['module.py', 'untracked.py'])
def test_changed_or_untracked_file_makes_it_dirty(
  source: pathlib.Path, name: str
) -> None:
  commit = _commit(source)
  (source / name).write_text('two = 2\n')
  assert environment.describe_git(source) == (commit, True)


def test_change_outside_the_folder_does_not(source: pathlib.Path) -> None:
  commit = _commit(source)
  (source.parent / 'results.txt').write_text('97 %\n')
  assert environment.describe_git(source) == (commit, False)


def test_no_commit_before_the_first(source: pathlib.Path) -> None:
  assert environment.describe_git(source) == (None, None)


def test_no_commit_where_git_tracks_nothing(source: pathlib.Path) -> None:
  _commit(source)
  installed = source.parent / 'site-packages'
  installed.mkdir()
  assert environment.describe_git(installed) == (None, None)


def test_no_commit_outside_a_checkout(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  # Whatever lies above the temporary folder must not count.
  monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
  monkeypatch.delenv('GIT_DIR', raising=False)
  assert environment.describe_git(tmp_path) == (None, None)


def test_no_commit_without_git(
  source: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  _commit(source)
  monkeypatch.setenv('PATH', str(source))
  assert environment.describe_git(source) == (None, None)
