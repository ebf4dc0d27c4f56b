"""Studies of several processes: stopped, killed, and gone on with by others."""

import pathlib
import random
import shlex
import signal
import subprocess
import time

import pytest

from fps_jax.data import make_fake, write_npz
from fps_jax.results import metrics_file
from fps_jax.runs import checkpoints
from tests.helpers import processes

pytestmark = pytest.mark.thorough

_ROUNDS = 64
_ARGUMENTS = (
  f'--config.num_rounds={_ROUNDS}',
  '--config.checkpoint.every_rounds=2',
  '--config.checkpoint.keep_best',
  '--config.model.args.mlp.widths=(8,)',
  '--config.data.validation_fraction=0.1',
  '--config.pruning.sparsity=0.5',
  '--config.pruning.scope=global',
  '--config.pruning.server=sparse',
  '--config.sharing.secrets_per_polynomial=1',
  '--config.sharing.scheme=ideal',
)
# What clients remember is part of the state, too, in a run of its own.
_BOTH = '--sweep=pruning.mask=shared,top_k'
_TOP_K = '--config.pruning.mask=top_k'


def _came_to(run: pathlib.Path) -> object:
  """Returns a run's rows, without times, its last state and its best model."""
  folder = run / 'checkpoints'
  named = checkpoints.read(folder, _ROUNDS)
  named['best'] = checkpoints.read_best(folder, _ROUNDS).params
  rows = metrics_file.read_metrics(run / 'metrics.jsonl')
  return (
    [{**row, 'round_seconds': 0.0} for row in rows],
    {name: array.tobytes() for name, array in named.items()},
  )


def _assert_same(
  workdir: pathlib.Path, whole: pathlib.Path, num_runs: int
) -> None:
  """Holds the runs of a study to the last ones of the undisturbed study."""
  runs = [sorted(each.glob('*/seed_0')) for each in (workdir, whole)]
  assert len(runs[0]) == num_runs
  for run, undisturbed in zip(runs[0], runs[1][-num_runs:], strict=True):
    assert _came_to(run) == _came_to(undisturbed)


def _num_rows(workdir: pathlib.Path) -> int:
  paths = workdir.glob('*/seed_0/metrics.jsonl')
  return sum(path.read_bytes().count(b'\n') for path in paths)


def _time_held(workdir: pathlib.Path) -> int:
  """Returns when a process last made a work directory its own."""
  path = workdir / 'lock'
  return path.stat().st_mtime_ns if path.exists() else 0


def _await_rows(
  workdir: pathlib.Path, count: int, started: list[subprocess.Popen[str]]
) -> None:
  while _num_rows(workdir) < count:
    assert all(each.poll() is None for each in started)
    time.sleep(0.005)


def _await_ends(
  started: list[subprocess.Popen[str]],
) -> list[tuple[int, str]]:
  return [processes.end(each) for each in started]


@pytest.fixture(scope='module')
def study(tmp_path_factory) -> tuple[str, ...]:
  """Arguments of a study, of whose data a process reads its own alone."""
  path = tmp_path_factory.mktemp('data') / 'mine.npz'
  write_npz(path, make_fake(), compress=True)
  return (*_ARGUMENTS, f'--config.data.source={path}')


@pytest.fixture(scope='module')
def whole(tmp_path_factory, study) -> pathlib.Path:
  """The study as one process does it, undisturbed."""
  workdir = tmp_path_factory.mktemp('whole') / 'work'
  process = processes.launch(*study, _BOTH, f'--workdir={workdir}')
  assert processes.end(process) == (0, '')
  return workdir


def test_processes_stop_after_one_round_and_others_go_on_to_the_same_models(
  study, whole, tmp_path
):
  workdir = tmp_path / 'work'
  arguments = (*study, _BOTH, f'--workdir={workdir}')
  done = 0
  for num_processes, asked, number, code in (
    (2, 1, signal.SIGTERM, 143),
    (4, 0, signal.SIGINT, 130),
  ):
    started = processes.launch_all(num_processes, *arguments)
    _await_rows(workdir, done + 3, started)
    started[asked].send_signal(number)
    ends = _await_ends(started)
    assert [each[0] for each in ends] == [code] * num_processes
    announced = 'stopping after this round; a second time: at once\n'
    line = ends[0][1].removeprefix(announced)
    stopped, _, go_on = line.partition('; to go on: start all processes again,')
    name = {143: 'SIGTERM', 130: 'Ctrl-C'}[code]
    assert stopped.startswith(f'stopped by {name} after round ')
    # Whichever was asked, its rounds are kept, by all.
    done = _num_rows(workdir)
    at = int(stopped.split()[-3])
    assert done % _ROUNDS == at % _ROUNDS
    assert list(workdir.rglob(f'checkpoints/{at}'))
    assert shlex.split(go_on.removeprefix(' process 0 with ')) == [
      str(each) for each in started[0].args
    ]
    # The others leave it to process 0 to say how to go on.
    said = [each[1] for each in ends[1:]]
    assert set(said) <= {'', announced}
  assert processes.end(processes.launch(*arguments)) == (0, '')
  _assert_same(workdir, whole, 2)


def test_killed_processes_go_on_to_the_models_of_an_undisturbed_study(
  study, whole, tmp_path
):
  """Kills one of two processes at ten random moments, and starts them again."""
  workdir, draw = tmp_path / 'work', random.Random(22)
  arguments = (*study, _TOP_K, f'--workdir={workdir}')
  for _ in range(10):
    last, before = _time_held(workdir), _num_rows(workdir)
    started = processes.launch_all(2, *arguments)
    victim = draw.randrange(2)
    # Before that they have not met; then from before the first program is
    # compiled to some rounds later, or while a checkpoint is being written.
    while _time_held(workdir) == last:
      assert all(each.poll() is None for each in started)
      time.sleep(0.005)
    ahead = draw.randrange(4)
    _await_rows(workdir, before + ahead, started)
    # Rounds take some milliseconds: they must not all be done too soon.
    time.sleep(draw.uniform(0, 0.02 if ahead else 0.3))
    started[victim].kill()
    ends = _await_ends(started)
    assert ends[victim][0] == -signal.SIGKILL
    code, said = ends[1 - victim]
    assert code == 1
    assert said.startswith(
      f'error: process {victim} has ended without a word, as if killed; to go '
      'on: start all processes again, process 0 with '
    )
    assert shlex.split(said)[-len(arguments) :] == list(arguments)
    assert said.count('\n') == 1
  assert _await_ends(processes.launch_all(2, *arguments)) == [(0, '')] * 2
  _assert_same(workdir, whole, 1)


@pytest.mark.parametrize('victim', [0, 1])
def test_processes_that_jax_finds_watch_over_each_other(
  study, whole, tmp_path, victim
):
  workdir = tmp_path / 'work'
  arguments = (*study, _TOP_K, f'--workdir={workdir}')
  started = processes.launch_slurm(2, *arguments)
  _await_rows(workdir, 3, started)
  started[victim].kill()
  ends = _await_ends(started)
  assert ends[victim][0] == -signal.SIGKILL
  code, said = ends[1 - victim]
  killed = f'error: process {victim} has ended without a word, as if killed; '
  if victim:
    assert (code, said.count('\n')) == (1, 1)
    assert said.startswith(killed)
    return
  # JAX says something of that as well, and on a busy machine ends it first.
  assert code in (1, -signal.SIGABRT)
  if code == 1:
    assert any(line.startswith(killed) for line in said.splitlines())
  again = processes.launch_slurm(2, *arguments)
  assert _await_ends(again) == [(0, '')] * 2
  _assert_same(workdir, whole, 1)
