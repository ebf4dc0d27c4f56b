"""A node between Flower, which may hold it up, and its parties."""

import threading
import time
import types
from unittest import mock

import pytest

pytest.importorskip('flwr', exc_type=ImportError)

import httpx
from flwr.app import Message
from flwr.common.constant import SubStatus
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient

from fps_jax.deploy import link, node
from fps_jax.deploy.messages import SERVER


class Clock:
  """Time that passes with every sleep."""

  def __init__(self):
    self.now = 0.0

  def monotonic(self):
    """Returns seconds."""
    return self.now

  def sleep(self, seconds):
    """Lets them pass."""
    self.now += seconds


def _refusal(status):
  response = types.SimpleNamespace(status_code=status)
  return httpx.HTTPStatusError('no', request=None, response=response)


@pytest.fixture
def activate(monkeypatch):
  """Activates a node; answers are those of a SuperLink, one after another."""
  clock = Clock()
  monkeypatch.setattr(node, 'time', clock)

  def run(answers):
    with mock.patch.object(
      FleetHttpClient, 'ActivateNode', side_effect=answers
    ):
      client = object.__new__(node.PatientClient)
      return client.ActivateNode('request'), clock.now

  return run


def test_node_that_was_killed_waits_until_flower_has_missed_it(activate):
  assert activate([_refusal(412), _refusal(412), 'here']) == ('here', 10)


@pytest.mark.parametrize(('status', 'number'), [(412, 100), (401, 1), (500, 1)])
def test_node_that_flower_does_not_know_ends(activate, status, number):
  refusals = [_refusal(status)] * number
  with pytest.raises(httpx.HTTPStatusError):
    activate([*refusals, 'here'])


class Runtime:
  """What Flower hands to a node: a message without content, and another one.

  Attributes:
    tasks: that are left.
    ended: of each task that has, its status.
    answered: set once the other message is.
  """

  def __init__(self, monkeypatch):
    self.tasks, self.ended, self._last = ['stuck', 'live'], {}, ''
    self.answered, self.gives_up = threading.Event(), threading.Event()
    self.stuck_ended = threading.Event()
    monkeypatch.setattr(node, '_connect', self._connect)
    monkeypatch.setattr(node, 'HeartbeatSender', mock.MagicMock())
    monkeypatch.setattr(node, 'pull_task_input', self._pull)
    monkeypatch.setattr(node, 'push_message', self._push)
    monkeypatch.setattr(node, 'push_task_output', self._end)
    monkeypatch.setattr(node, '_POLL_SECONDS', 0.01)

  def _connect(self, address, *more):
    return mock.MagicMock(AcquireTask=self._acquire, task=self._last)

  def _acquire(self, request):
    if not self.tasks and self.stuck_ended.is_set():
      threading.Event().wait()  # Its thread ends with the process.
    self._last = self.tasks.pop(0) if self.tasks else ''
    return types.SimpleNamespace(
      token=self._last, HasField=lambda _: bool(self._last)
    )

  def _pull(self, client):
    if client.task == 'stuck':
      self.gives_up.wait(60)
      raise RuntimeError('no content')
    return 'message', 'context', None, None

  def _push(self, client, reply, context):
    assert (reply, context) == ('reply', 'context')

  def _end(self, client, context, status, details):
    self.ended[client.task] = status
    (self.answered if client.task == 'live' else self.stuck_ended).set()


def test_message_without_content_holds_up_no_other_and_is_ended(monkeypatch):
  """Not ended, Flower takes what it says of it for the answer to another."""
  runtime = Runtime(monkeypatch)
  arguments = (lambda message, context: 'reply'), 'here'
  threading.Thread(target=node.serve, args=arguments, daemon=True).start()
  assert runtime.answered.wait(60)
  assert runtime.ended == {'live': SubStatus.COMPLETED}
  runtime.gives_up.set()
  assert runtime.stuck_ended.wait(60)
  assert runtime.ended['stuck'] == SubStatus.FAILED


def test_parties_answer_one_message_at_a_time(monkeypatch):
  """A ledger that two read before one writes would have two sums of a round."""
  for name in ('_run_id', '_node_id', '_task_id'):
    monkeypatch.setattr(TaskIdentity, name, 1)
  inside, most = [], []

  def answer(leg, request):
    inside.append(leg)
    time.sleep(0.05)
    most.append(len(inside))
    inside.pop()
    return {'held': 1}

  app = node.make_app({'server 1': types.SimpleNamespace(answer=answer)})
  context = types.SimpleNamespace(node_config={'role': SERVER, 'numbers': '1'})
  content = link.pack({'server 1': {'run': b'r'}})
  threads = [
    threading.Thread(
      target=app, args=(Message(content, 1, 'query.sum'), context)
    )
    for _ in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert most == [1] * 4


def test_node_is_one_process(tmp_path):
  with (
    node.reserve(tmp_path),
    pytest.raises(ValueError, match='is in use: ano'),
  ):
    node.reserve(tmp_path)
  node.reserve(tmp_path).close()
