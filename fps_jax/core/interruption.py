"""How a process ends before its time: in one line, at once or between rounds.

Nothing is changed by importing this: `Interruption.install` is for programs.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import NoReturn

_NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}
_SHOW_CURSOR = b'\r\x1b[K\x1b[?25h'


class StoppedError(Exception):
  """A run was stopped between rounds; the message says what is kept of it."""


class Ending:
  """Ends the process from any thread; the first that does so says why.

  What is being written then is as if the process had been killed.
  """

  def __init__(self):
    self._lock = threading.Lock()
    self._last: list[Callable[[str], object]] = []

  def add(self, action: Callable[[str], object]) -> None:
    """Has something done before the end, given the last line; keep it short."""
    self._last.append(action)

  def now(self, line: str, code: int) -> NoReturn:
    """Prints a line, gives the terminal back and ends the process."""
    # Never released: a second thread waits here for the end.
    self._lock.acquire()
    with contextlib.suppress(OSError):
      if os.isatty(1):
        os.write(1, _SHOW_CURSOR)
      say(line)
    for action in self._last:
      with contextlib.suppress(Exception):
        action(line)
    os._exit(code)


class Interruption:
  """What Ctrl-C and SIGTERM do.

  A run that looks between its rounds whether it `is_asked` to stop is stopped
  there by the first signal. Everything else, and a second signal, ends the
  process at once, whatever its main thread is at.

  Attributes:
    advice: what else the last line says, such as how to go on.
    signal: the number of the signal that a run is asked to stop by; 0 if none.
    agree: the largest number of all processes, once all have given theirs: by
      it they stop after the same round, whichever of them is asked.
  """

  def __init__(self):
    self.advice = ''
    self.signal = 0
    self.agree: Callable[[int], int] = lambda number: number
    self._is_first = True
    self._is_awaited = False
    self._lock = threading.Lock()

  @property
  def exit_code(self) -> int:
    """What a shell reports of a process that such a signal ended."""
    return 128 + self.signal

  def install(self, ending: Ending) -> None:
    """Takes over both signals, unless they are ignored, in the main thread."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    # Python calls handlers when the main thread is next at Python code, which
    # may take it minutes: a thread is told at once.
    signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
    for number in _NAMES:
      if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
    threading.Thread(
      target=self._listen, args=(ours, pythons, ending), daemon=True
    ).start()

  def is_asked(self) -> bool:
    """Returns whether to stop; until asked again, a first signal waits."""
    with self._lock:
      self._is_awaited = True
    return self._is_agreed()

  def settle(self) -> None:
    """Ends the waiting of signals.

    Raises:
      StoppedError: if one has come.
    """
    with self._lock:
      self._is_awaited = False
    if self._is_agreed():
      raise StoppedError('between two runs')

  def _is_agreed(self) -> bool:
    agreed = self.agree(self.signal)
    # What has come since is for the next time.
    self.signal = agreed or self.signal
    return agreed != 0

  def describe(self, about: str = '') -> str:
    """Returns the last line; `about` says what was stopped, and where."""
    stopped = f'stopped by {_NAMES[signal.Signals(self.signal)]} {about}'
    return '; '.join(filter(None, [stopped.strip(), self.advice]))

  def _listen(
    self, ours: socket.socket, pythons: socket.socket, ending: Ending
  ) -> None:
    """Waits for signals for ever; holds on to both ends of the connection."""
    while pythons.fileno() >= 0:
      number = ours.recv(1)[0]
      if number not in list(_NAMES):
        continue
      with self._lock:
        is_first, self._is_first = self._is_first, False
        self.signal = number
        if is_first and self._is_awaited:
          say('stopping after this round; a second time: at once')
          continue
      ending.now(self.describe(), self.exit_code)


def say(line: str) -> None:
  """Prints a line to stderr, whatever other threads are writing."""
  os.write(2, f'{line}\n'.encode())
