"""Whole runs on one device, on eight, and on two processes: the same bits."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest
import small

_FOLDER = pathlib.Path(__file__).parent


def _start(*arguments: str, is_quick: bool = False) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [sys.executable, 'worker.py', *arguments],
    cwd=_FOLDER,
    env={
      **(small.quick_environment() if is_quick else os.environ),
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': str(_FOLDER.parent),
    },
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


def test_two_processes_give_the_models_of_one():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    coordinator = f'localhost:{free.getsockname()[1]}'
  # Each compiles by itself, and a process more or less is no matter of how.
  models = _models(_start('1', is_quick=True))
  processes = [
    _start('1', coordinator, '2', number, is_quick=True) for number in '01'
  ]
  first, second = map(_printed, processes)
  assert len(models) == 4
  assert [line for line in first if line.startswith('model')] == models
  # Root keys, too, one of which the operating system drew.
  assert first == second
