"""A study whose code has changed stops, and says what differs."""

import hashlib
import importlib
import io
import json
import sys

import pytest
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.core import environment
from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.jobs.recording import Record
from tests.helpers import small

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('no_figures')]

_CONFIG = ConfigDict({'name': 'mine', 'seeds': (0,)})


@pytest.fixture(name='code')
def _code(tmp_path, monkeypatch):
  """A folder with a config file and a module that it has imported."""
  folder = tmp_path / 'code'
  folder.mkdir()
  (folder / 'my_config.py').write_text('import my_attack_of_tests\n')
  (folder / 'my_attack_of_tests.py').write_text('scale = 1\n')
  monkeypatch.syspath_prepend(str(folder))
  importlib.import_module('my_attack_of_tests')
  yield folder
  del sys.modules['my_attack_of_tests']


def _begin(workdir, options):
  """Records a study, and its first run."""
  Record.now(workdir, ['launch.py'], options).write(
    workdir, _CONFIG, {'mine': _CONFIG}
  )
  (workdir / 'mine' / 'seed_0').mkdir()


def _options(code, **changes):
  return Options(config_file=str(code / 'my_config.py'), **changes)


def _edit(path):
  path.write_text(path.read_text() + '# edited\n')


def test_code_of_the_user_is_hashed_and_copied(code, tmp_path):
  _begin(tmp_path / 'work', _options(code))
  recorded = json.loads((tmp_path / 'work' / 'environment.json').read_text())
  for name in ('my_config.py', 'my_attack_of_tests.py'):
    content = (code / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert recorded['user_code'][name] == digest
    copy = tmp_path / 'work' / 'source' / name
    assert copy.read_bytes() == content


def test_study_whose_code_has_not_changed_goes_on(code, tmp_path):
  """Although the command line and the processor have."""
  workdir = tmp_path / 'work'
  _begin(workdir, _options(code))
  path = workdir / 'environment.json'
  recorded = json.loads(path.read_text())
  path.write_text(json.dumps({**recorded, 'cpu_model': 'another'}))
  record = Record.now(workdir, ['launch.py', '--more'], _options(code))
  assert record.changed == ()
  record.write(workdir, _CONFIG, {'mine': _CONFIG})
  assert json.loads(path.read_text())['resumed'][0]['changed'] == []


@pytest.mark.parametrize('name', ['my_config.py', 'my_attack_of_tests.py'])
def test_changed_config_file_stops_the_study(code, tmp_path, name):
  _begin(tmp_path / 'work', _options(code))
  _edit(code / name)
  with pytest.raises(ValueError, match=rf'\n  user_code.{name}: \w+ there, '):
    Record.now(tmp_path / 'work', [], _options(code))


def test_changed_package_stops_the_study(code, tmp_path, monkeypatch):
  _begin(tmp_path / 'work', _options(code))
  monkeypatch.setattr(environment, 'package_version', lambda name: '9.9')
  with pytest.raises(ValueError, match=r'packages.jaxlib: \S+ there, 9.9 now'):
    Record.now(tmp_path / 'work', [], _options(code))


def test_changed_code_of_the_package_stops_the_study(
  code, tmp_path, monkeypatch
):
  _begin(tmp_path / 'work', _options(code))
  monkeypatch.setattr(environment, 'code_sha256', lambda: 'f' * 64)
  with pytest.raises(
    ValueError, match=r'code_sha256: \w{16} there, f{16} now\n  git_commit: '
  ):
    Record.now(tmp_path / 'work', [], _options(code))


@pytest.mark.parametrize('is_there', [True, False])
def test_study_that_records_no_code_is_refused(code, tmp_path, is_there):
  """As those of earlier versions do not."""
  workdir = tmp_path / 'work'
  _begin(workdir, _options(code))
  path = workdir / 'environment.json'
  path.write_text('{"python": "3.11"}')
  if not is_there:
    path.unlink()
  with pytest.raises(ValueError, match='code_sha256: not recorded there, '):
    Record.now(workdir, [], _options(code))
  record = Record.now(workdir, [], _options(code, resume_changed=True))
  assert 'code_sha256' in record.changed


def test_changed_study_goes_on_if_asked_to_and_says_so(code, tmp_path):
  workdir = tmp_path / 'work'
  _begin(workdir, _options(code))
  first = (code / 'my_config.py').read_bytes()
  _edit(code / 'my_config.py')
  record = Record.now(workdir, [], _options(code, resume_changed=True))
  record.write(workdir, _CONFIG, {'mine': _CONFIG})
  recorded = json.loads((workdir / 'environment.json').read_text())
  (resumed,) = recorded['resumed']
  assert resumed['changed'] == ['user_code.my_config.py']
  name = 'my_config.py'
  assert resumed['user_code'][name] != recorded['user_code'][name]
  assert (workdir / 'source' / name).read_bytes() == first
  copy = workdir / 'source' / 'resumed_1' / name
  assert copy.read_bytes() == (code / name).read_bytes()
  with pytest.raises(ValueError, match='--resume_changed'):
    Record.now(workdir, [], _options(code))


def test_study_that_ran_nothing_yet_begins_with_what_is_there(code, tmp_path):
  workdir = tmp_path / 'work'
  _begin(workdir, _options(code))
  (workdir / 'mine' / 'seed_0').rmdir()
  _edit(code / 'my_config.py')
  Record.now(workdir, [], _options(code)).write(workdir, _CONFIG, {})
  recorded = json.loads((workdir / 'environment.json').read_text())
  assert 'resumed' not in recorded
  assert Record.now(workdir, [], _options(code)).changed == ()


@pytest.mark.parametrize('content', ['{"pyth', '[1]', '{"resumed": 3}'])
def test_damaged_record_is_named(code, tmp_path, content):
  _begin(tmp_path / 'work', _options(code))
  (tmp_path / 'work' / 'environment.json').write_text(content)
  with pytest.raises(ValueError, match=r'environment.json is damaged .* remov'):
    Record.now(tmp_path / 'work', [], _options(code))


def test_finished_study_of_other_code_prints_no_old_result(
  tmp_path, monkeypatch
):
  config = small.make_config(num_rounds=1)
  path = tmp_path / 'my_config.py'
  path.write_text('# Of a study.\n')

  def run(**options):
    console = Console(file=io.StringIO())
    given = Options(config_file=str(path), **options)
    study.run_study(config, tmp_path / 'work', [], given, console)
    return console.file.getvalue()

  first = run()
  _edit(path)
  with pytest.raises(study.StudyError, match=r'my_config.py: \w+ there'):
    run()
  monkeypatch.delattr(study, 'train')
  assert run(resume_changed=True).splitlines()[-1] == first.splitlines()[-1]


def test_names_of_user_code_do_not_depend_on_where_it_is(code, tmp_path):
  before = environment.user_code(str(code / 'my_config.py'))
  moved = code.rename(tmp_path / 'moved')
  sys.modules['my_attack_of_tests'].__file__ = str(
    moved / 'my_attack_of_tests.py'
  )
  assert environment.user_code(str(moved / 'my_config.py')) == before


def test_digest_of_code_changes_with_any_file_or_name(tmp_path):
  digests = set()
  for name, content in (('a.py', ''), ('a.py', 'x'), ('b.py', 'x')):
    folder = tmp_path / str(len(digests))
    (folder / 'part').mkdir(parents=True)
    (folder / 'part' / name).write_text(content)
    (folder / 'notes.txt').write_text(name)
    digests.add(environment.code_sha256(folder))
  assert len(digests) == 3
