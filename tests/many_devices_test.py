"""Whole runs on one device, on eight, and on two processes: the same bits."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

_FOLDER = pathlib.Path(__file__).parent


def _start(*arguments: str) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [sys.executable, 'worker.py', *arguments],
    cwd=_FOLDER,
    env={
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': str(_FOLDER.parent),
    },
    stdout=subprocess.PIPE,
    text=True,
  )


def _model(process: subprocess.Popen[str]) -> str:
  printed, _ = process.communicate(timeout=300)
  assert process.returncode == 0
  (line,) = (s for s in printed.splitlines() if s.startswith('model'))
  return line


@pytest.fixture(scope='module')
def model_of_one_device() -> str:
  return _model(_start('1'))


def test_eight_devices_give_the_model_of_one(model_of_one_device: str):
  assert _model(_start('8')) == model_of_one_device


def test_two_processes_give_the_model_of_one(model_of_one_device: str):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    coordinator = f'localhost:{free.getsockname()[1]}'
  processes = [_start('1', coordinator, '2', number) for number in '01']
  assert [_model(p) for p in processes] == 2 * [model_of_one_device]
