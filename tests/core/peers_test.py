"""Processes that meet over sockets, here threads on this machine."""

import concurrent.futures
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fps_jax.core import peers as peers_module
from fps_jax.core.interruption import Ending
from fps_jax.core.peers import Peers


class _Recorded(Ending):
  """Notes its end instead of ending this process."""

  def __init__(self):
    super().__init__()
    self.line = ''
    self.over = threading.Event()

  def now(self, line: str, code: int):
    assert code == 1
    if not self.line:
      self.line = line
      for action in self._last:
        action(line)
    self.over.set()


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
  with concurrent.futures.ThreadPoolExecutor() as pool:
    yield pool


@pytest.fixture
def port() -> int:
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return free.getsockname()[1]


@pytest.fixture
def make(port: int) -> Iterator[Callable[..., Peers]]:
  """Makes processes of one run: (number of processes, process, timeout)."""
  made = []

  def make_one(num_processes: int, process: int, timeout: float = 20) -> Peers:
    address = f'localhost:{port}'
    made.append(Peers(address, num_processes, process, timeout, _Recorded()))
    return made[-1]

  yield make_one
  for peers in made:
    _hang_up(peers)
  # Each thread that watches closes what it watches.
  deadline = time.monotonic() + 20
  while any('_watch' in thread.name for thread in threading.enumerate()):
    assert time.monotonic() < deadline
    time.sleep(0.01)


def _hang_up(peers: Peers) -> None:
  for connection in peers._connections.values():
    with contextlib.suppress(OSError):
      connection.shutdown(socket.SHUT_RDWR)


def _meet(make, pool, num_processes):
  all_peers = [make(num_processes, i) for i in range(num_processes)]
  addresses = list(pool.map(Peers.meet, all_peers))
  return all_peers, addresses


def _line_of(peers: Peers) -> str:
  assert peers._ending.over.wait(20)
  return peers._ending.line


def test_all_meet_and_leave_the_port_to_jax(make, port, pool):
  all_peers, addresses = _meet(make, pool, 3)
  assert addresses[0] == f'localhost:{port}'
  # As JAX does, which the others then reach through their relay.
  with socket.create_server(('', port)) as server:
    for address in addresses[1:]:
      host, relay_port = address.split(':')
      with socket.create_connection((host, int(relay_port))) as here:
        there, _ = server.accept()
        here.sendall(b'there')
        assert there.recv(5) == b'there'
        there.sendall(b'back')
        assert here.recv(4) == b'back'
        there.close()
        # JAX is not told that process 0 is gone.
        here.settimeout(0.1)
        with pytest.raises(TimeoutError):
          here.recv(1)
  # Process 0 comes last, as it has most to do.
  waiting = [pool.submit(peers.finish) for peers in all_peers[1:]]
  time.sleep(0.05)
  assert not any(each.done() for each in waiting)
  all_peers[0].finish()
  for each in waiting:
    each.result()
  assert [peers._ending.line for peers in all_peers] == ['', '', '']


@pytest.mark.slow
def test_processes_that_do_not_come_are_named_to_all(
  make, pool, capfd, monkeypatch
):
  monkeypatch.setattr(peers_module, '_QUIET_SECONDS', 0.05)
  first = pool.submit(make(4, 0, timeout=1).meet)
  second = pool.submit(make(4, 2).meet)
  for waiting in first, second:
    with pytest.raises(ValueError, match=r'^processes 1, 3 of 4 did not come'):
      waiting.result()
  said = capfd.readouterr().err.splitlines()
  assert said[-1] == 'waiting for processes 1, 3 of 4'


def test_process_0_that_does_not_come_is_named(make, port, capfd, monkeypatch):
  monkeypatch.setattr(peers_module, '_QUIET_SECONDS', 0.05)
  with pytest.raises(ValueError, match=r'process 0 did not come .* --timeout='):
    make(2, 1, timeout=0.3).meet()
  said = capfd.readouterr().err
  assert said == f'waiting for process 0 at localhost:{port}\n'


def test_port_that_is_taken_is_named(make, port):
  message = f'process 0 cannot have port {port} .*: choose another'
  with (
    socket.create_server(('localhost', port)),
    pytest.raises(ValueError, match=message),
  ):
    make(2, 0).meet()


def test_host_that_is_unknown_is_named():
  peers = Peers('no.such.host.invalid:1', 2, 1, 20, _Recorded())
  with pytest.raises(ValueError, match='the host is unknown'):
    peers.meet()


@pytest.mark.parametrize('answer', [b'220 mail\r\n', b'[1]\n', b'\xff\n', b''])
def test_another_program_at_the_port_is_not_process_0(make, port, pool, answer):
  with socket.create_server(('localhost', port)) as server:
    waiting = pool.submit(make(2, 1).meet)
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(answer)
    connection.close()
    with pytest.raises(ValueError, match='is not process 0 of this run'):
      waiting.result()


def test_connection_of_another_program_is_passed_over(make, port, pool):
  first = pool.submit(make(2, 0).meet)
  for words in (b'GET / HTTP/1.1\r\n', b'{}\n', b'7\n'):
    while True:
      try:
        other = socket.create_connection(('localhost', port))
        break
      except OSError:
        time.sleep(0.01)
    with other:
      other.sendall(words)
  pool.submit(make(2, 1).meet).result()
  assert first.result()


@pytest.mark.parametrize(
  ('one', 'other', 'message'),
  [
    ((3, 1), (3, 1), r'--process_id=1 was given to two'),
    ((3, 1), (4, 2), r'process 2 has --num_processes=4, process 0 has 3'),
  ],
)
def test_processes_that_contradict_each_other_all_say_so(
  make, pool, one, other, message
):
  first = make(3, 0)
  waiting = [pool.submit(peers.meet) for peers in (first, make(*one))]
  while not first._connections:
    time.sleep(0.01)
  waiting.append(pool.submit(make(*other).meet))
  for each in waiting:
    with pytest.raises(ValueError, match=message):
      each.result()


@pytest.mark.slow
def test_process_that_left_may_come_again(make, pool):
  first = make(3, 0)
  waiting = [pool.submit(first.meet)]
  leaving = make(3, 1)
  left = pool.submit(leaving.meet)
  while 1 not in first._connections:
    time.sleep(0.01)
  leaving._farewell('stopped')
  with pytest.raises(ValueError, match='has ended'):
    left.result()
  waiting += [pool.submit(make(3, i).meet) for i in (1, 2)]
  for each in waiting:
    assert each.result()


def test_why_one_ends_is_said_by_all(make, pool):
  all_peers, _ = _meet(make, pool, 3)
  all_peers[1]._farewell('error: no room')
  for i in (0, 2):
    expected = 'error: process 1 has ended: no room'
    assert _line_of(all_peers[i]) == expected


def test_all_learn_the_largest_number_of_all_each_time(make, pool):
  all_peers, _ = _meet(make, pool, 3)
  for numbers in ([0, 0, 0], [0, 0, 15], [2, 0, 0], [2, 15, 0]):
    said = pool.map(Peers.largest, all_peers, numbers)
    assert list(said) == [max(numbers)] * 3


def test_processes_meet_at_whichever_address_answers(make, port, pool):
  first, second = make(2, 0), make(2, 1)
  with socket.socket() as silent:
    silent.bind(('localhost', 0))  # It does not listen.
    nobody = f'127.0.0.1:{silent.getsockname()[1]}'
    addresses = f'{nobody},localhost:{port}'
    second = Peers(addresses, 2, 1, 20, second._ending)
    waiting = pool.submit(first.meet)
    second.connect()
  waiting.result()
  assert list(pool.map(Peers.largest, [first, second], [1, 2])) == [2, 2]
  _hang_up(second)


@pytest.mark.parametrize('process', [0, 1])
def test_process_that_is_killed_is_named_by_all(make, pool, process):
  all_peers, _ = _meet(make, pool, 3)
  for peers in all_peers:
    peers.advice = 'to go on: so'
  all_peers[process]._ending.line = 'killed'  # It says and does nothing.
  _hang_up(all_peers[process])
  for i, peers in enumerate(all_peers):
    if i != process:
      assert _line_of(peers) == (
        f'error: process {process} has ended without a word, as if killed; to '
        'go on: so'
      )
