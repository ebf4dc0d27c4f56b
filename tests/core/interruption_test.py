"""Signals, in processes of their own: what ends when, how, with which code."""

import os
import pty
import signal
import subprocess
import sys

import pytest

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_INSTALL = """
import ctypes, os, signal, sys, time
from fps_jax.core.interruption import Ending, Interruption, StoppedError
stopping = Interruption()
stopping.advice = 'to go on: so'
stopping.install(Ending())
def send(): os.kill(os.getpid(), signal.SIGNAL)
def wait():
  while not stopping.signal: time.sleep(0.001)
"""
# A lock of C's that is never released, which no signal interrupts.
_BE_BUSY = """
lock = ctypes.create_string_buffer(64)
mutex_lock = ctypes.CDLL(None).pthread_mutex_lock
mutex_lock(lock)
import threading; threading.Timer(0.2, send).start()
mutex_lock(lock)
"""


def _run(code: str, number: int = signal.SIGINT, before: tuple[str, ...] = ()):
  code = (_INSTALL + code).replace('SIGNAL', signal.Signals(number).name)
  return subprocess.run(
    [*before, sys.executable, '-c', code],
    capture_output=True,
    text=True,
    timeout=60,
  )


@pytest.mark.parametrize('number', _CODES)
def test_signal_that_nobody_waits_for_ends_in_one_line(number: int):
  done = _run('send(); time.sleep(60)', number)
  assert done.returncode == _CODES[number]
  name = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}[number]
  assert done.stderr == f'stopped by {name}; to go on: so\n'


@pytest.mark.parametrize('number', _CODES)
def test_signal_ends_at_once_though_the_main_thread_is_busy(number: int):
  assert _run(_BE_BUSY, number).returncode == _CODES[number]


@pytest.mark.slow
def test_process_stops_when_all_agree_and_its_own_first_signal_still_waits():
  done = _run(
    'told = iter([0, 0, signal.SIGTERM])\n'
    'stopping.agree = lambda own: next(told)\n'
    'print(stopping.is_asked()); send(); wait()\n'
    # The others have not heard of it, and run another round.
    'print(stopping.is_asked(), stopping.signal)\n'
    'print(stopping.is_asked(), stopping.exit_code)'
  )
  assert done.stdout.splitlines() == ['False', 'False 2', 'True 143']
  done = _run(
    'stopping.agree = lambda own: signal.SIGTERM\n'
    'print(stopping.is_asked()); send(); time.sleep(0.5)\n'
    'print(stopping.exit_code)'
  )
  assert done.stdout.splitlines()[0] == 'True'
  assert done.returncode == 0


@pytest.mark.slow
def test_first_signal_waits_until_asked_for():
  done = _run(
    'print(stopping.is_asked()); send(); wait()\n'
    'print(stopping.is_asked(), stopping.exit_code)\n'
    'print(stopping.describe("after round 2"))'
  )
  assert done.returncode == 0
  assert done.stdout.splitlines() == [
    'False',
    'True 130',
    'stopped by Ctrl-C after round 2; to go on: so',
  ]
  assert done.stderr == 'stopping after this round; a second time: at once\n'


@pytest.mark.slow
@pytest.mark.parametrize('number', _CODES)
def test_second_signal_ends_at_once_with_the_same_code(number: int):
  done = _run('stopping.is_asked(); send(); wait(); send(); time.sleep(60)')
  assert done.returncode == 130
  done = _run(f'stopping.is_asked(); send(); wait(); {_BE_BUSY}', number)
  assert done.returncode == _CODES[number]


@pytest.mark.slow
def test_signal_that_comes_last_is_not_lost():
  done = _run(
    'stopping.settle(); stopping.is_asked(); send(); wait()\n'
    'try: stopping.settle()\n'
    'except StoppedError as error: print("stopped", error)'
  )
  assert (done.returncode, done.stdout) == (0, 'stopped between two runs\n')


def test_signal_that_is_ignored_stays_ignored():
  done = _run(
    'send(); time.sleep(0.2); print("on")',
    before=('sh', '-c', 'trap "" INT; exec "$0" "$@"'),
  )
  assert (done.returncode, done.stdout) == (0, 'on\n')


@pytest.mark.slow
def test_importing_takes_no_signal():
  code = (
    'import signal, fps_jax.core.interruption, fps_jax.jobs.study\n'
    'print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout == 'True\n'


def test_terminal_has_its_cursor_back():
  ours, theirs = pty.openpty()
  code = (
    'from rich.console import Console\n'
    'from fps_jax.runs.progress import Progress\n'
    'Progress(Console(force_terminal=True)).__enter__(); send(); time.sleep(60)'
  )
  done = subprocess.run(
    [sys.executable, '-c', (_INSTALL + code).replace('SIGNAL', 'SIGTERM')],
    stdout=theirs,
    stderr=subprocess.PIPE,
    timeout=60,
  )
  os.close(theirs)
  shown = os.read(ours, 65536)
  os.close(ours)
  assert done.returncode == 143
  hide, show = b'\x1b[?25l', b'\x1b[?25h'
  assert hide in shown
  assert shown.rindex(show) > shown.rindex(hide)
