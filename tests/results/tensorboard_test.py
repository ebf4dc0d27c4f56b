"""Events for TensorBoard, read back from their file."""

import io
import pathlib
import struct
import sys

import pytest
from rich.console import Console

from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.results import metrics_file, tensorboard
from tests.helpers import small
from tests.helpers.runs import names_not_taken, write_run

_RUN = pathlib.Path('sharing') / 'seed_3'


def _rows(tmp_path, accuracies=(None, 0.5, 0.75)):
  write_run(tmp_path, 'sharing', 3, accuracies, [1000] * len(accuracies))
  return metrics_file.read_metrics(tmp_path / _RUN / 'metrics.jsonl')


def _records(path):
  """Yields the records of an event file, without their check sums."""
  content = path.read_bytes()
  while content:
    (length,) = struct.unpack('<Q', content[:8])
    yield content[12 : 12 + length]
    content = content[16 + length :]


def _events(folder):
  event_pb2 = pytest.importorskip('tensorboardX.proto.event_pb2')
  for path in sorted(folder.glob('events.out.tfevents.*')):
    for record in _records(path):
      yield event_pb2.Event.FromString(record)


def _series(folder):
  series = {}
  for event in _events(folder):
    for value in event.summary.value:
      series.setdefault(value.tag, {})[event.step] = value.simple_value
  return series


def test_scalars_are_the_numbers_that_were_measured(tmp_path):
  row, *_ = _rows(tmp_path)
  row['clients_per_tier'] = [3, 1]
  row['wrong_servers'] = [2, 5]
  found = tensorboard.scalars(row)
  assert found['uplink_bytes_per_client'] == 1000
  assert found['clients_per_tier/0'] == 3 and found['clients_per_tier/1'] == 1
  assert found['wrong_servers'] == 2 and found['inconsistent_clients'] == 0
  assert 'test_accuracy' not in found and 'round' not in found


def test_events_hold_every_round(tmp_path):
  pytest.importorskip('tensorboardX')
  folder = tmp_path / 'tensorboard' / _RUN
  with tensorboard.writing(folder) as write:
    for row in _rows(tmp_path):
      write(row)
  series = _series(folder)
  assert series['test_accuracy'] == {2: 0.5, 3: 0.75}
  assert series['uplink_bytes_per_client'] == {1: 1000, 2: 1000, 3: 1000}


def test_rounds_that_are_done_again_replace_those_that_are_there(tmp_path):
  pytest.importorskip('tensorboardX')
  rows = _rows(tmp_path)
  for again in (rows, rows[1:]):
    with tensorboard.writing(tmp_path / 'events') as write:
      for row in again:
        write(row)
  restarts = [
    event.step
    for event in _events(tmp_path / 'events')
    if event.HasField('session_log')
  ]
  # TensorBoard drops what earlier files have from this step on.
  assert restarts == [1, 2]


def test_nothing_is_written_without_a_folder(tmp_path):
  with tensorboard.writing(None) as write:
    for row in _rows(tmp_path):
      write(row)
  assert [path.name for path in tmp_path.iterdir()] == ['sharing']


def _run(workdir):
  config = small.make_config(num_rounds=2, name='mine')
  study.run_study(
    config,
    workdir,
    ['launch.py'],
    Options(tensorboard=True, profile=True),
    Console(file=io.StringIO()),
  )


@pytest.mark.slow
@pytest.mark.usefixtures('no_figures')
def test_study_writes_events_of_each_run_in_a_folder_that_is_taken(tmp_path):
  pytest.importorskip('tensorboardX')
  workdir = tmp_path / 'work'
  _run(workdir)
  assert {'profile', 'tensorboard'} <= {path.name for path in workdir.iterdir()}
  assert names_not_taken(workdir, ['mine']) == []
  series = _series(workdir / 'tensorboard' / 'mine' / 'seed_0')
  rows = metrics_file.read_metrics(
    workdir / 'mine' / 'seed_0' / 'metrics.jsonl'
  )
  assert series['train_loss'] == {
    row['round']: pytest.approx(row['train_loss']) for row in rows
  }


def test_without_the_extra_a_study_says_so_before_any_work(
  tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(
    study.StudyError, match=r"pip install 'fps_jax\[tensorb"
  ) as e:
    _run(tmp_path / 'work')
  assert '\n' not in str(e.value)
  assert not (tmp_path / 'work').exists()
