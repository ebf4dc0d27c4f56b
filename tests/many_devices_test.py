"""Whole runs on one device, on eight, and on two processes: the same bits.

And how several processes end that cannot run, or are stopped.
"""

import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.helpers import processes

pytestmark = pytest.mark.slow


def _start(*arguments: str) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.helpers.worker', *arguments],
    cwd=processes.ROOT,
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


@pytest.mark.thorough
def test_eight_devices_give_the_models_of_one(models_of_one_device: list[str]):
  assert len(models_of_one_device) == 4
  assert _models(_start('8')) == models_of_one_device


@pytest.mark.thorough
def test_two_processes_give_the_models_of_one(models_of_one_device: list[str]):
  coordinator = processes.free_address()
  started = [_start('1', coordinator, '2', number) for number in '01']
  first, second = map(_printed, started)
  assert [
    line for line in first if line.startswith('model')
  ] == models_of_one_device
  # Root keys, too, one of which the operating system drew.
  assert first == second


def _launch(
  coordinator: str, process: int, *arguments: str
) -> subprocess.Popen[str]:
  return processes.launch(
    f'--coordinator={coordinator}',
    '--num_processes=2',
    f'--process_id={process}',
    *arguments,
  )


def test_processes_of_other_configs_refuse_in_one_line(tmp_path):
  coordinator, work = processes.free_address(), tmp_path / 'work'
  started = [
    _launch(coordinator, 0, f'--workdir={work}'),
    _launch(coordinator, 1, '--sweep=client.learning_rate=0.1,0.2'),
  ]
  ends = [processes.end(each) for each in started]
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


def test_process_that_is_stopped_before_a_round_ends_the_other_in_one_line(
  tmp_path,
):
  work = tmp_path / 'work'
  started = processes.launch_all(2, f'--workdir={work}')
  # Then they have met, and nothing is compiled yet.
  while not work.exists():
    assert all(each.poll() is None for each in started)
    time.sleep(0.01)
  started[1].send_signal(signal.SIGTERM)
  assert processes.end(started[1])[0] == 143
  code, said = processes.end(started[0])
  assert code == 1
  assert said.startswith(
    'error: process 1 has ended: stopped by SIGTERM; to go on: start all '
    'processes again, process 0 with '
  )
  assert said.count('\n') == 1


@pytest.mark.parametrize('process', [0, 1])
def test_process_that_does_not_come_is_named(process):
  code, said = processes.end(
    _launch(processes.free_address(), process, '--timeout=1')
  )
  assert code == 1
  assert f'error: process {1 - process} ' in said
  assert 'within --timeout=1 s' in said
  assert 'Traceback' not in said


def test_port_that_is_taken_is_refused():
  with socket.create_server(('localhost', 0)) as server:
    port = server.getsockname()[1]
    code, said = processes.end(_launch(f'localhost:{port}', 0))
  assert code == 1
  assert said.startswith(
    f'error: --coordinator=localhost:{port}: process 0 can'
  )
  assert said.count('\n') == 1
