"""A study that is killed goes on, and ends as if nothing had happened.

FPS_JAX_KILLS in the environment is how often one is killed with SIGKILL.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from fps_jax.core.interruption import Interruption, StoppedError
from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.results import metrics_file
from fps_jax.runs import checkpoints, retries
from tests.helpers import small
from tests.helpers.cases import thorough

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('no_figures')]

_ROOT = pathlib.Path(__file__).parents[2]
_RUNS = ('fedavg', 'fedpruneshare')


def _config(**checkpoint):
  config = small.make_config()
  config.variants.update(
    {'fedavg': {'sharing': {'scheme': 'none'}}, 'fedpruneshare': {}}
  )
  config.num_rounds = 4
  config.checkpoint.update({'every_rounds': 2, **checkpoint})
  return config


def _run(config, workdir, **options):
  console = Console(file=io.StringIO(), width=100)
  study.run_study(config, workdir, ['launch.py'], Options(**options), console)
  return console.file.getvalue()


def _rows(workdir):
  return {
    str(path.relative_to(workdir)): [
      {**row, 'round_seconds': 0.0} for row in metrics_file.read_metrics(path)
    ]
    for path in workdir.rglob('metrics.jsonl')
  }


def _models(workdir):
  """Returns the digests of all final models."""
  return {
    str(path.relative_to(workdir)): path.read_text()
    for path in workdir.rglob('digest/metadata')
  }


def _final_models(workdir):
  """Returns the arrays of all final models, by name and bits."""
  return {
    str(folder.relative_to(workdir)): {
      name: (array.dtype, array.shape, array.tobytes())
      for name, array in checkpoints.read(folder, round_number=4).items()
    }
    for folder in workdir.rglob('checkpoints')
  }


def _die(*_, **__):
  raise KeyboardInterrupt


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole') / 'work'
  _run(_config(), workdir)
  return workdir


@pytest.mark.parametrize('row', [4, *(thorough(row) for row in (1, 7))])
def test_study_goes_on_where_it_was_killed(whole, tmp_path, monkeypatch, row):
  written = []
  write = metrics_file.MetricsWriter.write

  def write_or_die(self, content):
    write(self, content)
    written.append(content['round'])
    if len(written) == row:
      self._file.write('{"round": 5, "test_acc')  # A torn line.
      raise KeyboardInterrupt

  monkeypatch.setattr(metrics_file.MetricsWriter, 'write', write_or_die)
  with pytest.raises(KeyboardInterrupt):
    _run(_config(), tmp_path)
  _run(_config(), tmp_path)
  assert _rows(tmp_path) == _rows(whole)
  assert _models(tmp_path) == _models(whole)
  assert {path.split('/')[0] for path in _models(whole)} == set(_RUNS)
  # What a checkpoint holds is not run again.
  lost = row - (row - 1) % 4 // 2 * 2 - (row - 1) // 4 * 4
  assert len(written) == 2 * 4 + lost


def _stop_after(monkeypatch, row):
  """Returns what has a signal come after a row, and the rows that are run."""
  interruption, written = Interruption(), []
  write = metrics_file.MetricsWriter.write

  def write_and_stop(self, content):
    write(self, content)
    written.append(content['round'])
    if len(written) == row:
      interruption.signal = signal.SIGTERM

  monkeypatch.setattr(metrics_file.MetricsWriter, 'write', write_and_stop)
  return interruption, written


# Signals come while the round after that of the row is on its way.
@pytest.mark.parametrize(
  ('row', 'message'),
  [
    (1, 'after round 2 of 4'),
    thorough(3, 'between two runs'),
    thorough(5, 'after round 2'),
  ],
)
def test_study_that_is_stopped_goes_on_to_the_same_models(
  whole, tmp_path, monkeypatch, row, message
):
  interruption, written = _stop_after(monkeypatch, row)
  config = _config(every_rounds=3)
  with pytest.raises(StoppedError, match=message):
    _run(config, tmp_path, interruption=interruption)
  _run(config, tmp_path, interruption=Interruption())
  assert _rows(tmp_path) == _rows(whole)
  assert _final_models(tmp_path) == _final_models(whole)
  # Rounds that are done are kept, whether or not a checkpoint is due.
  assert written == [1, 2, 3, 4] * 2


def test_stopped_without_checkpoints_says_that_rounds_are_lost(
  whole, tmp_path, monkeypatch
):
  interruption, written = _stop_after(monkeypatch, 1)
  config = _config(every_rounds=0)
  lost = r'after round 2 of 4, all lost \(checkpoint.every_rounds=0\)'
  with pytest.raises(StoppedError, match=lost):
    _run(config, tmp_path, interruption=interruption)
  _run(config, tmp_path)
  assert written == [1, 2] + [1, 2, 3, 4] * 2
  assert _rows(tmp_path) == _rows(whole)


@pytest.mark.thorough
def test_command_that_a_stopped_study_prints_goes_on(tmp_path):
  command = [
    sys.executable,
    str(_ROOT / 'launch.py'),
    f'--config={_ROOT}/experiments/mnist.py:tiny,methods=fedpruneshare',
    '--config.num_rounds=200',
    '--config.checkpoint.every_rounds=1000',
    '--config.model.args.mlp.widths=(8, 8)',
    '--config.pruning.sparsity=0.5',
    '--overwrite',
  ]
  process = subprocess.Popen(
    command,
    cwd=tmp_path,
    env=os.environ,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  while not any(
    path.stat().st_size for path in tmp_path.rglob('metrics.jsonl')
  ):
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  _, said = process.communicate(timeout=200)
  assert process.returncode == 143
  announced, last = said.splitlines()
  assert announced == 'stopping after this round; a second time: at once'
  stopped, _, go_on = last.partition('; to go on: ')
  assert stopped.startswith('stopped by SIGTERM after round ')
  (workdir,) = (tmp_path / 'runs').iterdir()
  assert shlex.split(go_on) == [
    *command,
    f'--workdir=runs/{workdir.name}',
    '--nooverwrite',
  ]
  done = int(stopped.split()[-3])
  assert checkpoints.read(
    workdir / 'fedpruneshare' / 'seed_0' / 'checkpoints', done
  )
  again = subprocess.run(
    go_on,
    shell=True,
    cwd=tmp_path,
    env=os.environ,
    capture_output=True,
    timeout=200,
  )
  assert again.returncode == 0, again.stderr
  (rows,) = _rows(workdir).values()
  assert [row['round'] for row in rows] == list(range(1, 201))


def test_finished_study_is_reported_again_and_not_run(
  whole, tmp_path, monkeypatch
):
  first = _run(_config(), tmp_path)
  monkeypatch.delattr(study, 'train')
  again = _run(_config(), tmp_path)
  assert again.splitlines()[-1] == first.splitlines()[-1]
  assert _rows(tmp_path) == _rows(whole)
  environment = (tmp_path / 'environment.json').read_text()
  assert environment.count('"started_utc"') == 2


def test_without_checkpoints_finished_runs_are_kept_and_others_begin_anew(
  whole, tmp_path, monkeypatch
):
  config = _config(every_rounds=0)
  train, runs = study.train, []

  def train_or_die(*arguments):
    runs.append(arguments)
    if len(runs) == 2:
      raise KeyboardInterrupt
    return train(*arguments)

  monkeypatch.setattr(study, 'train', train_or_die)
  with pytest.raises(KeyboardInterrupt):
    _run(config, tmp_path)
  _run(config, tmp_path)
  assert len(runs) == 3
  assert _rows(tmp_path) == _rows(whole)
  assert not _models(tmp_path)


def test_changed_config_is_refused_unless_overwritten(tmp_path):
  config = _config()
  _run(config, tmp_path)
  config.client.learning_rate = 0.05
  with pytest.raises(study.StudyError, match=r'learning_rate: 0.1 there, 0.05'):
    _run(config, tmp_path)
  _run(config, tmp_path, overwrite=True)
  assert '0.05' in (tmp_path / 'fedavg' / 'config.json').read_text()


def test_finished_run_whose_checkpoints_were_removed_is_kept(
  whole, tmp_path, monkeypatch
):
  shutil.copytree(whole, tmp_path / 'copy')
  for folder in (tmp_path / 'copy').rglob('checkpoints'):
    shutil.rmtree(folder)
  monkeypatch.delattr(study, 'train')
  _run(_config(), tmp_path / 'copy')
  assert _rows(tmp_path / 'copy') == _rows(whole)
  assert not list((tmp_path / 'copy').rglob('checkpoints'))


def test_finished_run_whose_checkpoint_could_not_be_written_gets_its_model(
  whole, tmp_path, monkeypatch
):
  config = _config(every_rounds=10)  # The only checkpoint follows the last row.
  save, fails = checkpoints.Checkpoints.save, [True]

  def save_or_fail(self, state, best=None):
    if fails:
      fails.clear()
      raise self._unwritable(OSError('no space left'))
    save(self, state, best)

  monkeypatch.setattr(checkpoints.Checkpoints, 'save', save_or_fail)
  with pytest.raises(study.StudyError, match=r'it goes on from round 0$'):
    _run(config, tmp_path)
  path = tmp_path / 'fedavg' / 'seed_0' / 'metrics.jsonl'
  assert metrics_file.count_rounds(path) == 4
  _run(config, tmp_path)
  assert _rows(tmp_path) == _rows(whole)
  assert _final_models(tmp_path) == _final_models(whole)


def test_finished_run_that_is_killed_while_saving_gets_its_model(
  whole, tmp_path, monkeypatch
):
  config = _config(every_rounds=10)
  with monkeypatch.context() as patched:
    # Nothing of the checkpoint is on disk yet.
    patched.setattr(checkpoints.Checkpoints, 'save', _die)
    with pytest.raises(KeyboardInterrupt):
      _run(config, tmp_path)
  _run(config, tmp_path)
  assert _rows(tmp_path) == _rows(whole)
  assert _final_models(tmp_path) == _final_models(whole)


def test_folder_of_checkpoints_is_there_before_the_first_row(
  tmp_path, monkeypatch
):
  """Else a run with all its rows would pass for one whose folder is removed."""
  monkeypatch.setattr(metrics_file.MetricsWriter, '__init__', _die)
  with pytest.raises(KeyboardInterrupt):
    _run(_config(), tmp_path)
  assert (tmp_path / 'fedavg' / 'seed_0' / 'checkpoints').is_dir()


def test_overwrite_keeps_the_study_if_the_other_cannot_be_built(
  whole, tmp_path
):
  shutil.copytree(whole, tmp_path / 'copy')
  config = _config()
  config.data.source = 'no_such_set'
  with pytest.raises(study.StudyError, match='no_such_set'):
    _run(config, tmp_path / 'copy', overwrite=True)
  assert _rows(tmp_path / 'copy') == _rows(whole)


def test_rows_that_a_checkpoint_misses_are_named(whole, tmp_path):
  shutil.copytree(whole, tmp_path / 'copy')
  (tmp_path / 'copy' / 'fedavg' / 'seed_0' / 'metrics.jsonl').write_text('')
  with pytest.raises(study.StudyError, match='0 rounds where a checkpoint'):
    _run(_config(), tmp_path / 'copy')


@pytest.fixture(scope='module')
def diverged(tmp_path_factory):
  """A study whose first run diverges in its third round."""
  workdir = tmp_path_factory.mktemp('diverged') / 'work'
  with _diverging_in_round(3):
    _run(_config(), workdir)
  return workdir


@contextlib.contextmanager
def _diverging_in_round(number):
  """Has the model of any FedAvg run be infinite after a round."""
  finish = retries.finish

  def finish_or_diverge(simulation, round_number, *rest):
    state, outcome = finish(simulation, round_number, *rest)
    if round_number + 1 == number and simulation.protocol.field is None:
      params = state.params.at[0].set(np.inf)
      state = dataclasses.replace(state, params=params)
    return state, outcome

  with mock.patch.object(retries, 'finish', finish_or_diverge):
    yield


def _num_rounds(workdir):
  return {
    name.split('/')[0]: len(rows) for name, rows in _rows(workdir).items()
  }


@pytest.mark.thorough
def test_run_that_diverged_is_finished_and_not_run_again(
  diverged, tmp_path, monkeypatch
):
  assert _num_rounds(diverged) == {'fedavg': 3, 'fedpruneshare': 4}
  shutil.copytree(diverged, tmp_path / 'copy')
  monkeypatch.delattr(study, 'train')
  again = _run(_config(), tmp_path / 'copy')
  assert 'diverged in round 3' in again
  assert _rows(tmp_path / 'copy') == _rows(diverged)
  for folder in (tmp_path / 'copy').rglob('checkpoints'):
    shutil.rmtree(folder)
  _run(_config(), tmp_path / 'copy')
  assert _rows(tmp_path / 'copy') == _rows(diverged)


@pytest.mark.parametrize('row', [2, 3])
def test_run_that_diverges_does_so_again_if_it_is_killed(
  diverged, tmp_path, monkeypatch, row
):
  write = metrics_file.MetricsWriter.write

  def write_or_die(self, content):
    write(self, content)
    if content['round'] == row:
      raise KeyboardInterrupt

  with _diverging_in_round(3):
    with monkeypatch.context() as patched:
      patched.setattr(metrics_file.MetricsWriter, 'write', write_or_die)
      with pytest.raises(KeyboardInterrupt):
        _run(_config(), tmp_path)
    _run(_config(), tmp_path)
  assert _rows(tmp_path) == _rows(diverged)
  assert _models(tmp_path) == _models(diverged)


def test_run_that_diverged_without_checkpoints_is_not_run_again(
  diverged, tmp_path, monkeypatch
):
  config = _config(every_rounds=0)
  with _diverging_in_round(3):
    _run(config, tmp_path)
  monkeypatch.delattr(study, 'train')
  _run(config, tmp_path)
  assert _rows(tmp_path) == _rows(diverged)


@pytest.mark.thorough
def test_rows_of_several_seconds_are_neither_lost_nor_doubled_by_sigkill(
  tmp_path,
):
  """Kills the launcher at random moments until it ends by itself."""
  kills = int(os.environ.get('FPS_JAX_KILLS', '1'))
  command = [
    sys.executable,
    'launch.py',
    '--config=experiments/mnist.py:tiny,methods=fedavg+fedpruneshare',
    '--config.num_rounds=15',
    '--config.checkpoint.every_rounds=1',
  ]

  def start(workdir):
    return subprocess.Popen(
      [*command, f'--workdir={workdir}'],
      cwd=_ROOT,
      stdout=subprocess.DEVNULL,
    )

  assert start(tmp_path / 'whole').wait() == 0
  killed = tmp_path / 'killed'
  draw = random.Random(0)
  for _ in range(kills):
    process = start(killed)
    path = killed / draw.choice(_RUNS) / 'seed_0' / 'metrics.jsonl'
    size = path.stat().st_size if path.exists() else 0
    while process.poll() is None and not (
      path.exists() and path.stat().st_size > size
    ):
      time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.2))
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert start(killed).wait() == 0
  assert _rows(killed) == _rows(tmp_path / 'whole')
  assert _models(killed) == _models(tmp_path / 'whole')
  assert {path.split('/')[0] for path in _models(killed)} == set(_RUNS)
