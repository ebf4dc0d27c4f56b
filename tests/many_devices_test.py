"""Whole runs on one device, on eight, and on two processes: the same bits.

And how several processes end that cannot run, or are stopped.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).parents[1]


def _start(*arguments: str) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.helpers.worker', *arguments],
    cwd=_ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )


def _printed(process: subprocess.Popen[str]) -> list[str]:
  printed, _ = process.communicate(timeout=300)
  assert process.returncode == 0
  about = ('root', 'model')
  return [line for line in printed.splitlines() if line.startswith(about)]


def _models(process: subprocess.Popen[str]) -> list[str]:
  return [line for line in _printed(process) if line.startswith('model')]


@pytest.fixture(scope='module')
def models_of_one_device() -> list[str]:
  return _models(_start('1'))


def test_eight_devices_give_the_models_of_one(models_of_one_device: list[str]):
  assert len(models_of_one_device) == 4
  assert _models(_start('8')) == models_of_one_device


def _free_address() -> str:
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return f'localhost:{free.getsockname()[1]}'


def test_two_processes_give_the_models_of_one(models_of_one_device: list[str]):
  coordinator = _free_address()
  processes = [_start('1', coordinator, '2', number) for number in '01']
  first, second = map(_printed, processes)
  assert [
    line for line in first if line.startswith('model')
  ] == models_of_one_device
  # Root keys, too, one of which the operating system drew.
  assert first == second


def _launch(
  coordinator: str, process: int, *arguments: str
) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [
      sys.executable,
      'launch.py',
      '--config=experiments/mnist.py:tiny,methods=fedpruneshare',
      '--config.checkpoint.every_rounds=0',
      f'--coordinator={coordinator}',
      '--num_processes=2',
      f'--process_id={process}',
      *arguments,
    ],
    cwd=_ROOT,
    env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def _end(process: subprocess.Popen[str]) -> tuple[int, str]:
  """Returns how a process ended; all that it says of that is one line."""
  _, said = process.communicate(timeout=200)
  # A busy machine may have one wait for the other, which it says.
  waiting = 'waiting for process 1 of 2\n'
  return process.returncode, said.removeprefix(waiting)


def test_processes_of_other_configs_refuse_in_one_line(tmp_path):
  coordinator, work = _free_address(), tmp_path / 'work'
  started = [
    _launch(coordinator, 0, f'--workdir={work}'),
    _launch(coordinator, 1, '--sweep=client.learning_rate=0.1,0.2'),
  ]
  ends = [_end(process) for process in started]
  assert ends[0] == ends[1]
  code, said = ends[0]
  assert code == 1
  assert said.startswith('error: processes differ: config.')
  assert (
    'learning_rate=0.1.client.learning_rate is not set in process 0, 0.1'
    in said
  )
  assert said.count('\n') == 1
  assert not work.exists()


@pytest.mark.parametrize(
  ('process', 'number', 'code', 'said'),
  [
    # JAX would abort the other one: it has lost its coordinator.
    (0, signal.SIGKILL, -9, 'process 0 has ended without a word, as if killed'),
    (
      1,
      signal.SIGTERM,
      143,
      'process 1 has ended: stopped by SIGTERM; nothing',
    ),
  ],
)
def test_end_of_a_process_ends_the_other_in_one_line(
  tmp_path, process, number, code, said
):
  coordinator, work = _free_address(), tmp_path / 'work'
  arguments = ('--config.num_rounds=100000', f'--workdir={work}')
  started = [_launch(coordinator, i, *arguments) for i in range(2)]
  rows = work / 'fedpruneshare' / 'seed_0' / 'metrics.jsonl'
  while not (rows.exists() and rows.stat().st_size):
    assert all(each.poll() is None for each in started)
    time.sleep(0.01)
  started[process].send_signal(number)
  assert _end(started[process])[0] == code
  other = _end(started[1 - process])
  assert other[0] == 1
  assert other[1].startswith(f'error: {said}')
  assert other[1].count('\n') == 1


@pytest.mark.parametrize('process', [0, 1])
def test_process_that_does_not_come_is_named(process):
  code, said = _end(_launch(_free_address(), process, '--timeout=1'))
  assert code == 1
  assert f'error: process {1 - process} ' in said
  assert 'within --timeout=1 s' in said
  assert 'Traceback' not in said


def test_port_that_is_taken_is_refused():
  with socket.create_server(('localhost', 0)) as server:
    port = server.getsockname()[1]
    code, said = _end(_launch(f'localhost:{port}', 0))
  assert code == 1
  assert said.startswith(
    f'error: --coordinator=localhost:{port}: process 0 can'
  )
  assert said.count('\n') == 1
