"""Work directories: one config, one process, nothing removed unasked."""

import json

import pytest
from ml_collections import ConfigDict

from fps_jax.results import workdir as workdirs

_CONFIG = ConfigDict({'name': 'mine', 'seeds': (0, 1), 'data': {'alpha': 0.5}})


def _fill(folder, config=_CONFIG):
  with workdirs.hold(folder, config):
    workdirs.write_json(folder / 'config.json', json.loads(config.to_json()))
    (folder / 'runs').mkdir()
    (folder / 'runs' / 'metrics.jsonl').write_text('one\n')


def test_directory_of_the_same_config_is_gone_on_with(tmp_path):
  _fill(tmp_path / 'new' / 'mine')
  with workdirs.hold(tmp_path / 'new' / 'mine', _CONFIG):
    assert (tmp_path / 'new/mine/runs/metrics.jsonl').exists()


def test_directory_of_another_config_is_refused_with_the_difference(tmp_path):
  _fill(tmp_path)
  other = ConfigDict({'name': 'mine', 'seeds': (0, 1), 'data': {'alpha': 1.0}})
  with (
    pytest.raises(ValueError, match=r'\n  data.alpha: 0.5 there, 1.0 now$'),
    workdirs.hold(tmp_path, other),
  ):
    pass
  assert (tmp_path / 'runs' / 'metrics.jsonl').exists()


def test_overwrite_takes_the_study_of_another_config(tmp_path):
  _fill(tmp_path)
  with workdirs.hold(tmp_path, ConfigDict({'name': 'other'}), overwrite=True):
    workdirs.empty(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['lock']


@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('name', ['precious', 'config.json'])
def test_directory_that_holds_no_study_is_left_alone(tmp_path, name, overwrite):
  (tmp_path / name).write_text('mine')
  with (
    pytest.raises(ValueError, match='not empty'),
    workdirs.hold(tmp_path, _CONFIG, overwrite),
  ):
    pass
  assert (tmp_path / name).read_text() == 'mine'
  assert len(list(tmp_path.iterdir())) == 1


def test_study_killed_while_its_first_file_was_written_begins_anew(tmp_path):
  (tmp_path / 'lock').write_text('')
  (tmp_path / 'config.json.part').write_text('{"name": ')
  _fill(tmp_path)
  with workdirs.hold(tmp_path, _CONFIG):
    pass


def test_directory_in_use_by_another_process_is_refused(tmp_path):
  with (
    workdirs.hold(tmp_path, _CONFIG),
    pytest.raises(ValueError, match='in use by another process'),
    workdirs.hold(tmp_path, _CONFIG),
  ):
    pass


@pytest.mark.parametrize('content', ['{"name": ', '[1, 2]'])
def test_torn_config_is_named(tmp_path, content):
  _fill(tmp_path)
  (tmp_path / 'config.json').write_text(content)
  with (
    pytest.raises(ValueError, match=r'is not the JSON of a config .* --overw'),
    workdirs.hold(tmp_path, _CONFIG),
  ):
    pass


def test_json_is_written_as_a_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'folder' / 'file.json'
  workdirs.write_json(path, {'a': 1})
  with pytest.raises(TypeError):
    workdirs.write_json(path, {'a': object()})
  assert json.loads(path.read_text()) == {'a': 1}


@pytest.mark.parametrize(
  'name',
  [
    *('report.md', 'report.json', 'metrics.csv', 'config.json.part', 'lock'),
    *('accuracy_rounds.png', 'accuracy_time.pdf', 'report.html', 'profile'),
    *('tensorboard', 'poisoning.md', 'tradeoff.json', 'REPORT.md', 'Lock'),
    *('environment.json', 'warnings.json', 'no', '..', 'a/b', '', 'n' * 101),
  ],
)
def test_no_folder_is_named_like_a_file_of_a_study(name):
  assert workdirs.is_name(name) == (name == 'no')


def test_names_of_variants_may_have_dots_and_values_of_sweeps():
  for name in ('fedpruneshare_97.5', 'a--client.learning_rate=0.05', 'locks'):
    assert workdirs.is_name(name)


def test_directory_that_cannot_be_written_to_is_named(tmp_path):
  (tmp_path / 'file').write_text('no folder')
  with (
    pytest.raises(OSError, match=r'file/mine cannot be written to \(Not a dir'),
    workdirs.hold(tmp_path / 'file' / 'mine', _CONFIG),
  ):
    pass
