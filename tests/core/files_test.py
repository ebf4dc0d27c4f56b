"""Files that cannot be read or written are named, with what to do."""

import errno
import fcntl
import importlib
import io
import os
import pathlib
import subprocess
import sys

import jax
import pytest
from rich.console import Console

from fps_jax.core import files
from fps_jax.jobs import run as jobs
from fps_jax.jobs import study
from fps_jax.jobs.planning import job as planning
from fps_jax.jobs.sharing_throughput import job as sharing_throughput
from fps_jax.jobs.study import StudyError
from fps_jax.jobs.throughput import job as throughput
from fps_jax.results import metrics_file, report, tensorboard
from fps_jax.results import workdir as workdirs
from fps_jax.results.html import page as html_page
from fps_jax.runs import checkpoints, profiling
from tests.helpers import small
from tests.helpers.runs import make_row, write_run, write_study

_ROOT = pathlib.Path(__file__).parents[2]
# Whose writers find no room.
_FULL = pathlib.Path('/dev/full')
_NO_ROOM = r'\(No space left on device\): make room there, then run the same'
needs_full_disk = pytest.mark.skipif(
  not _FULL.exists(), reason='there is no /dev/full'
)


def _config(job):
  config = small.make_config()
  if job == 'poisoning':
    config.variants.update({'none--fedavg': {}})
  elif job == 'inversion':
    config = importlib.import_module('inversion').get_config('tiny')
  elif job == 'tradeoff':
    config = importlib.import_module('tradeoff').get_config('tiny')
  elif job == 'throughput':
    config = throughput.default()
  elif job == 'planning':
    config = planning.default()
  elif job == 'sharing_throughput':
    config = sharing_throughput.default()
  with config.unlocked():
    config.job = job
  return config


@pytest.fixture(autouse=True)
def path_of_experiments(monkeypatch):
  monkeypatch.syspath_prepend(str(_ROOT / 'experiments'))


@pytest.mark.parametrize('job', jobs.JOBS)
@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('a' * 300, r'\(File name too long\): give a shorter path'),
    ('file/mine', r'\(Not a directory\): give another --workdir'),
    ('a\0b', r'--workdir=.*a\\x00b. has a NUL'),
    ('\udcc3', r'is not UTF-8 to this process: set PYTHONUTF8=1, or'),
  ],
)
def test_no_job_runs_in_a_folder_that_there_cannot_be(
  tmp_path, job, name, message
):
  (tmp_path / 'file').write_text('no folder')
  with pytest.raises(StudyError, match=message) as caught:
    jobs.run(_config(job), f'{tmp_path}/{name}', [])
  assert '\n' not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize('job', jobs.JOBS)
def test_address_of_a_bucket_is_no_work_directory(tmp_path, job, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(StudyError, match=r'gs://mine is not a folder of this ma'):
    jobs.run(_config(job), 'gs://mine', [])
  assert not list(tmp_path.iterdir())


def test_addresses_are_no_folders_of_a_report(tmp_path):
  with pytest.raises(ValueError, match=r'--report=s3://a/b is not a folder'):
    html_page.write(['s3://a/b'])
  write_study(tmp_path / 'work', {'fedavg': {}})
  with pytest.raises(ValueError, match=r'--report_file=gs://a is not a folder'):
    html_page.write([tmp_path / 'work'], 'gs://a')


def test_page_that_cannot_be_written_is_named_with_the_flag(tmp_path):
  write_study(tmp_path / 'work', {'fedavg': {}})
  (tmp_path / 'page').mkdir()
  message = r'page.* \(Is a directory\): give another --report_file'
  with pytest.raises(OSError, match=message):
    html_page.write([tmp_path / 'work'], tmp_path / 'page')


@needs_full_disk
def test_page_is_written_where_a_link_leads_and_replaces_none(tmp_path):
  write_study(tmp_path / 'work', {'fedavg': {}})
  (tmp_path / 'page').symlink_to(_FULL)
  message = r'page cannot be written \(No space left'
  with pytest.raises(OSError, match=message):
    html_page.write([tmp_path / 'work'], tmp_path / 'page')
  assert (tmp_path / 'page').is_symlink()


def test_folder_that_cannot_be_reported_on_is_named(tmp_path):
  with pytest.raises(OSError, match='too long'):
    html_page.write([tmp_path / ('a' * 300)])
  (tmp_path / 'work' / 'config.json').mkdir(parents=True)
  message = r'config.json cannot be read \(Is a directory\): leave the folder'
  with pytest.raises(OSError, match=message):
    html_page.write([tmp_path / 'work'])


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOTSUP])
def test_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
  def flock(*_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, 'flock', flock)
  with pytest.raises(StudyError, match=r'cannot be locked .* a disk of this'):
    _run(small.make_config(), tmp_path / 'work')


def test_config_that_is_a_folder_is_named(tmp_path):
  (tmp_path / 'config.json').mkdir()
  (tmp_path / 'lock').touch()
  message = r'config.json cannot be read \(Is a directory\): give another'
  with pytest.raises(StudyError, match=message):
    _run(small.make_config(), tmp_path)


def _run(config, workdir):
  console = Console(file=io.StringIO())
  study.run_study(config, workdir, [], console=console)


@pytest.mark.slow
@needs_full_disk
@pytest.mark.parametrize(
  'name', ['report.json', 'report.md', 'metrics.csv', 'accuracy_rounds.png']
)
def test_full_disk_names_the_file_of_the_report(tmp_path, name):
  write_run(tmp_path, 'fedavg', 0, [0.5, 0.6], [10, 10])
  written = name + files.PART if name.startswith('report') else name
  (tmp_path / written).symlink_to(_FULL)
  with pytest.raises(OSError, match=f'{name} cannot be written to {_NO_ROOM}'):
    report.write_report(tmp_path, ['fedavg'], 'fedavg')


@needs_full_disk
def test_full_disk_names_the_metrics(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  message = f'metrics.jsonl cannot be written to {_NO_ROOM}'
  with (
    pytest.raises(OSError, match=message),
    metrics_file.MetricsWriter(path) as writer,
  ):
    writer._file.close()
    # Not opened as such: what is there would be read, without an end.
    writer._file = _FULL.open('a')
    writer.write(make_row(1))


@needs_full_disk
def test_full_disk_leaves_json_as_it_was(tmp_path):
  path = tmp_path / 'file.json'
  workdirs.write_json(path, {'a': 1})
  part = tmp_path / f'file.json{files.PART}'
  part.symlink_to(_FULL)
  with pytest.raises(
    OSError, match=f'file.json cannot be written to {_NO_ROOM}'
  ):
    workdirs.write_json(path, {'a': 2})
  assert path.read_text() == '{\n  "a": 1\n}\n'
  assert not part.exists()


def test_full_disk_ends_a_run_that_writes_events(tmp_path, monkeypatch):
  """The writer of tensorboardX would have it wait for ever."""
  writers = pytest.importorskip('tensorboardX.event_file_writer')

  original = writers.EventsWriter.flush

  def flush_or_fail(self):
    monkeypatch.setattr(writers.EventsWriter, 'flush', original)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(writers.EventsWriter, 'flush', flush_or_fail)
  with (
    pytest.raises(OSError, match=f'events cannot be written to {_NO_ROOM}'),
    tensorboard.writing(tmp_path / 'events') as write,
  ):
    for number in range(1, 100):
      write(make_row(number))


def test_trace_that_cannot_be_written_is_named(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('no folder')
  with (
    pytest.raises(OSError, match=r'file cannot be written to \(File exists\)'),
    profiling.trace(tmp_path / 'file', ()),
  ):
    pass
  stop = jax.profiler.stop_trace

  def stop_and_fail():
    stop()
    raise RuntimeError('RESOURCE_EXHAUSTED')

  monkeypatch.setattr(jax.profiler, 'stop_trace', stop_and_fail)
  with (
    pytest.raises(OSError, match=r'trace can be written to .*leave out --prof'),
    profiling.trace(tmp_path / 'profile', ()),
  ):
    pass


def test_folder_of_checkpoints_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('no folder')
  with pytest.raises(OSError, match=r'file/mine cannot be written to \(Not a'):
    checkpoints.Checkpoints(tmp_path / 'file' / 'mine', 1, 1)


def test_cure_is_that_of_the_cause():
  try:
    try:
      raise OSError(errno.ENAMETOOLONG, 'too long')
    except OSError as error:
      raise ValueError('no checkpoint') from error
  except ValueError as error:
    assert files.cure_of(error).startswith('give a shorter path')
  assert files.cure_of(ValueError('?')).startswith('make room')


def test_error_that_is_named_already_stays_as_it_is():
  with pytest.raises(FileNotFoundError, match=r'^no a: make it$'):  # noqa: SIM117
    with files.naming('b', 'use c'), files.naming('a', 'make it'):
      raise FileNotFoundError('no a: make it')


@pytest.mark.slow
def test_letters_that_the_locale_lacks_are_refused_before_any_work(tmp_path):
  """Else no checkpoint could be written to that folder."""
  done = subprocess.run(
    [
      sys.executable,
      'launch.py',
      '--config=experiments/mnist.py:tiny',
      f'--workdir={tmp_path}/é',
    ],
    cwd=_ROOT,
    env={**os.environ, 'LC_ALL': 'C', 'PYTHONUTF8': '0'},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 1
  assert 'Traceback' not in done.stderr
  assert 'set PYTHONUTF8=1' in done.stderr.splitlines()[-1]
  assert not list(tmp_path.iterdir())
