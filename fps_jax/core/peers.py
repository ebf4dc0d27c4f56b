"""Processes that know of each other: who has not come, and who is gone.

JAX waits for the processes of a run in silence, and ends with a core dump those
that outlive one. So every process has a connection of its own to process 0, and
leaves it open. Each says on it why it ends; a connection that ends without a
word is the end of a process that was killed.

Where process 0's address is given (`Peers.meet`), they meet over the
coordinator's port before JAX takes that. JAX's own connections to process 0 are
passed on by `_relay`, which keeps from it that process 0 is gone: there is a
line about it to print. Where JAX finds the processes (`over_jax`), they meet
after it has, at an address that it passes on.
"""

import contextlib
import json
import os
import queue
import select
import socket
import threading
import time
from typing import Any

from fps_jax.core.interruption import Ending, say

_HELLO_SECONDS = 2.0  # for who connects to say who it is
_QUIET_SECONDS = 1.0  # until it is said who is waited for
_FINISHED = ''


class Peers:
  """The other processes of a run, as this one knows of them.

  Attributes:
    address: HOST:PORT of process 0; or several, with commas, at some of which
      it is.
    num_processes: of the run.
    process: the number of this one.
    timeout: seconds to wait for all to come.
    advice: what to do after a process was killed; said in the line about it.
  """

  def __init__(
    self,
    address: str,
    num_processes: int,
    process: int,
    timeout: float,
    ending: Ending,
  ):
    """Connects to nobody yet; `ending` ends this process if another does."""
    self.address = address
    self.num_processes = num_processes
    self.process = process
    self.timeout = timeout
    self.advice = ''
    self._ending = ending
    self._targets = [_target(each) for each in address.split(',')]
    # By process: of process 0 all others, of any other process 0 alone.
    self._connections: dict[int, socket.socket] = {}
    self._numbers: dict[int, queue.SimpleQueue[int]] = {}
    self._is_first_done = threading.Event()
    self._news = ''

  def meet(self) -> str:
    """Waits for all processes, and watches over them from then on.

    Returns:
      HOST:PORT at which JAX has its coordinator, as this process sees it.

    Raises:
      ValueError: as `connect`.
    """
    self.connect()
    return _relay(self._targets[0]) if self.process else self.address

  def connect(self, listener: socket.socket | None = None) -> None:
    """Waits for all processes, and watches over them from then on.

    Args:
      listener: of process 0, to which the others connect; None to open it at
        its address, until they have.

    Raises:
      ValueError: if the port is taken, a process does not come in time, or
        several processes contradict each other.
    """
    self._ending.add(self._farewell)
    try:
      if self.process == 0:
        self._await_others(
          listener or listen(self._targets[0][1], self.address)
        )
      else:
        self._report_to_first()
    except ValueError:
      for connection in self._connections.values():
        connection.close()
      raise
    for process, connection in self._connections.items():
      self._numbers[process] = queue.SimpleQueue()
      # A host that is gone says nothing.
      connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
      connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
      connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
      connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
      _in_background(self._watch, process, connection)

  def largest(self, number: int) -> int:
    """Returns the largest number of all processes, once all have called this.

    No device waits for that.
    """
    # An end that is noticed here is that of a process which is watched.
    with contextlib.suppress(OSError):
      if self.process:
        _send(self._connections[0], {'number': number})
    numbers = [number, *(each.get() for each in self._numbers.values())]
    if not self.process:
      self._tell_all({'number': max(numbers)})
    return max(numbers)

  def finish(self) -> None:
    """Says that this process has done all its work, and may end.

    Process 0 has more to do than others, which wait for it here.
    """
    self._tell(_FINISHED)
    if self.process:
      self._is_first_done.wait()

  def _await_others(self, listener: socket.socket) -> None:
    with listener:
      deadline = time.monotonic() + self.timeout
      said: list[int] = []
      try:
        while missing := self._missing():
          left = deadline - time.monotonic()
          if left <= 0:
            raise ValueError(
              f'{_name(missing)} of {self.num_processes} did not come to '
              f'{self.address} within --timeout={self.timeout:g} s: start all '
              'with the same --coordinator, or wait longer'
            )
          listener.settimeout(min(left, _QUIET_SECONDS))
          try:
            self._welcome(listener.accept()[0])
          except TimeoutError:
            if said != missing:
              say(f'waiting for {_name(missing)} of {self.num_processes}')
            said = missing
      except ValueError as error:
        self._tell(str(error))
        raise
    # JAX may have the port from here on: they connect to it when told so.
    for connection in self._connections.values():
      _send(connection, {'go': True})

  def _missing(self) -> list[int]:
    """Returns who has not come, or has gone again."""
    for process, connection in list(self._connections.items()):
      if select.select([connection], [], [], 0)[0]:
        # All it can say before it is told to go is that it ends.
        del self._connections[process]
        connection.close()
    others = range(1, self.num_processes)
    return [process for process in others if process not in self._connections]

  def _welcome(self, connection: socket.socket) -> None:
    """Takes down who has connected, unless it is no process of a run."""
    try:
      connection.settimeout(_HELLO_SECONDS)
      hello = _receive(connection)
      process, num_processes = int(hello['process']), int(hello['of'])
    except (OSError, ValueError, KeyError, TypeError):
      connection.close()
      return
    known = {0, *self._connections}
    self._connections.setdefault(process, connection)
    refusal = ''
    if num_processes != self.num_processes:
      refusal = (
        f'process {process} has --num_processes={num_processes}, process 0 has '
        f'{self.num_processes}: start all with the same'
      )
    elif process in known:
      refusal = (
        f'--process_id={process} was given to two processes: number them from '
        f'0 to {num_processes - 1}'
      )
    if refusal:
      with contextlib.suppress(OSError), connection:
        _send(connection, {'end': refusal})
      raise ValueError(refusal)

  def _report_to_first(self) -> None:
    deadline = time.monotonic() + self.timeout
    connection = self._connect(deadline)
    self._connections[0] = connection
    try:
      _send(connection, {'process': self.process, 'of': self.num_processes})
      # Process 0 waits no longer, and says so.
      connection.settimeout(self.timeout + 2 * _HELLO_SECONDS)
      answer = _receive(connection)
      go, end = answer.get('go'), answer.get('end')
    except (OSError, ValueError, AttributeError) as error:
      raise ValueError(
        f'what answers at {self.address} is not process 0 of this run, or has '
        f'ended ({error or type(error).__name__}): look at what it says, or '
        'choose another port'
      ) from error
    if not go:
      raise ValueError(str(end))

  def _connect(self, deadline: float) -> socket.socket:
    said, start = False, time.monotonic()
    while True:
      for target in self._targets:
        try:
          return socket.create_connection(
            target, self.timeout / len(self._targets)
          )
        except socket.gaierror as error:
          raise ValueError(
            f'--coordinator={self.address}: the host is unknown '
            f'({error.strerror})'
          ) from error
        except OSError as error:
          problem = error
      if time.monotonic() > deadline:
        raise ValueError(
          f'process 0 did not come to {self.address} within '
          f'--timeout={self.timeout:g} s ({problem.strerror or problem}): '
          'start it with the same --coordinator, or wait longer'
        ) from problem
      if not said and time.monotonic() - start > _QUIET_SECONDS:
        say(f'waiting for process 0 at {self.address}')
        said = True
      time.sleep(0.1)

  def _watch(self, process: int, connection: socket.socket) -> None:
    """Waits for the end of a process; ends this one unless it is finished."""
    connection.settimeout(None)
    with connection:
      try:
        while 'number' in (message := _receive(connection)):
          self._numbers[process].put(int(message['number']))
        news = str(message['end'])
      except (OSError, ValueError, KeyError, TypeError):
        killed = f'process {process} has ended without a word, as if killed'
        news = '; '.join(filter(None, [killed, self.advice]))
      if news == _FINISHED:
        if not process:
          self._is_first_done.set()
        # This process may not be, and would then seem to have been killed.
        with contextlib.suppress(OSError):
          connection.recv(1)
        return
    self._news = news
    self._ending.now(f'error: {news}', 1)

  def _farewell(self, line: str) -> None:
    """Tells the others why this process ends, or whose end ends it."""
    reason = line.removeprefix('error: ')
    self._tell(self._news or f'process {self.process} has ended: {reason}')

  def _tell(self, news: str) -> None:
    self._tell_all({'end': news})

  def _tell_all(self, message: dict[str, Any]) -> None:
    for connection in self._connections.values():
      with contextlib.suppress(OSError):
        _send(connection, message)


def _target(address: str) -> tuple[str, int]:
  """Returns the host and the port of HOST:PORT."""
  host, port = address.rsplit(':', 1)
  return host.strip('[]'), int(port)


def listen(port: int, address: str) -> socket.socket:
  """Opens process 0's port on all of its interfaces, as JAX will.

  Raises:
    ValueError: if it is taken; the message names `address`.
  """
  both = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if both else socket.AF_INET
  try:
    return socket.create_server(('', port), family=family, dualstack_ipv6=both)
  except OSError as error:
    raise ValueError(
      f'--coordinator={address}: process 0 cannot have port {port} '
      f'({os.strerror(error.errno or 0)}): choose another one for all processes'
    ) from error


def _relay(target: tuple[str, int]) -> str:
  """Passes on connections to another host; returns where they are taken.

  A connection that ends over there stays open here.
  """
  listener = socket.create_server(('127.0.0.1', 0))

  def accept() -> None:
    while True:
      here, _ = listener.accept()
      while True:
        try:
          there = socket.create_connection(target)
          break
        except OSError:
          time.sleep(0.05)  # JAX is about to take the port.
      _in_background(_pass_on, here, there)

  _in_background(accept)
  return f'127.0.0.1:{listener.getsockname()[1]}'


def _pass_on(here: socket.socket, there: socket.socket) -> None:
  with contextlib.suppress(OSError), here, there:
    _in_background(_copy, there, here)
    _copy(here, there)
    there.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
  with contextlib.suppress(OSError):
    while some := source.recv(65536):
      sink.sendall(some)


def _in_background(function: Any, *arguments: Any) -> None:
  threading.Thread(target=function, args=arguments, daemon=True).start()


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
  connection.sendall(json.dumps(message).encode() + b'\n')


def _receive(connection: socket.socket) -> Any:
  """Returns the next message.

  Raises:
    ValueError: if what comes is not a message, or there is none any more.
    OSError: if the connection fails, or its time is up.
  """
  # Byte by byte: what follows stays in the socket, for `select` to tell of.
  line = b''
  while not line.endswith(b'\n'):
    byte = connection.recv(1)
    if not byte or len(line) > 2**16:
      raise ValueError('no message')
    line += byte
  return json.loads(line)


def _name(processes: list[int]) -> str:
  """Returns `process 1`, or `processes 1, 2`."""
  listed = ', '.join(map(str, processes))
  return f'process{"es" * (len(processes) > 1)} {listed}'
