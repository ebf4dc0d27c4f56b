"""Nodes of a Flower grid: who is asked, waited for and believed."""

import types

import pytest

pytest.importorskip('flwr', exc_type=ImportError)

from cryptography.hazmat.primitives.serialization import (
  Encoding,
  PublicFormat,
  load_ssh_public_key,
)
from flwr.app import Error, Message
from flwr.supercore.task_identity import TaskIdentity

from fps_jax.deploy import keys, link
from fps_jax.deploy.messages import CLIENT, SERVER, Party

NODES = {
  'one': (SERVER, [1]),
  'two': (SERVER, [2]),
  'clients': (CLIENT, [0, 1]),
}
CLAIMS = {
  name: {'role': role, 'numbers': numbers}
  for name, (role, numbers) in NODES.items()
}
REQUESTS = {Party(SERVER, 1): {'run': b'r'}, Party(SERVER, 2): {'run': b's'}}


@pytest.fixture(scope='module')
def roster(tmp_path_factory):
  """Three nodes, and their keys."""
  folder = tmp_path_factory.mktemp('roster')
  return keys.Roster(
    {name: keys.make_node(folder, name, *NODES[name]) for name in NODES}
  )


class Grid:
  """A grid whose nodes answer at once, unless they are not to.

  Attributes:
    claims: what each node says that it is; a node without one does not answer.
    sent: (node, parts) of all messages.
    now: seconds, which pass with every look.
  """

  def __init__(self, roster):
    keys_of_nodes = [
      load_ssh_public_key(node.node_key.encode()).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
      )
      for node in roster.nodes.values()
    ]
    self.nodes = [
      types.SimpleNamespace(node_id=number, public_key=key)
      for number, key in enumerate(keys_of_nodes, start=1)
    ]
    self.names = dict(enumerate(roster.nodes, start=1))
    self.claims, self.sent, self.now = dict(CLAIMS), [], 0.0
    self.waiting, self.errors = {}, set()

  def get_nodes(self):
    """Returns who is there."""
    return self.nodes

  def push_messages(self, messages):
    """Takes messages."""
    numbers = []
    for message in messages:
      number = str(len(self.sent))
      message.metadata.__dict__['_message_id'] = number
      name = self.names[message.metadata.dst_node_id]
      self.sent.append((name, link.unpack(message.content)))
      self.waiting[number] = name, message
      numbers.append(number)
    return numbers

  def pull_messages(self, numbers):
    """Returns the answers that have come."""
    self.now += 1.0
    answers = []
    for number in numbers:
      name, message = self.waiting.get(number, ('', None))
      if name in self.errors:
        answers.append(Message(Error(1, 'broken'), reply_to=message))
        del self.waiting[number]
      elif name in self.claims:
        parts = link.unpack(message.content)
        content = link.pack({link.CLAIM: self.claims[name], **parts})
        answers.append(Message(content, reply_to=message))
        del self.waiting[number]
    return answers


def _be_a_server(monkeypatch):
  """Makes this process one that Flower started."""
  for name in ('_run_id', '_node_id', '_task_id'):
    monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def grid(roster, monkeypatch):
  """A grid of the roster, on which no time is spent."""
  monkeypatch.setattr(link.time, 'sleep', lambda _: None)
  _be_a_server(monkeypatch)
  return Grid(roster)


@pytest.fixture
def reach(grid, roster):
  """Reaches the parties of the grid; a leg may take ten seconds."""
  return link.Link(grid, roster, 10.0, lambda: grid.now)


def test_each_node_is_sent_what_its_parties_are_asked(reach, grid):
  requests = {**REQUESTS, Party(CLIENT, 1): {'run': b't'}}
  assert reach('hold', requests) == requests
  assert grid.sent == [
    ('one', {'server 1': {'run': b'r'}}),
    ('two', {'server 2': {'run': b's'}}),
    ('clients', {'client 1': {'run': b't'}}),
  ]


def test_node_that_claims_another_role_or_number_is_refused_by_name(
  reach, grid, caplog
):
  for claim in ({'role': CLIENT, 'numbers': [2]}, CLAIMS['one'], {}):
    grid.claims['two'] = claim
    caplog.clear()
    assert list(reach('hold', REQUESTS)) == [Party(SERVER, 1)]
    assert 'node two says that it is' in caplog.text


def test_unknown_node_is_sent_nothing_and_named(reach, grid, caplog):
  stranger = types.SimpleNamespace(node_id=9, public_key=b'none of the roster')
  grid.nodes = [*grid.nodes, stranger]
  assert reach('hold', REQUESTS) == REQUESTS
  assert 'node 9 is not of the roster' in caplog.text
  assert {name for name, _ in grid.sent} == {'one', 'two'}


def test_node_that_is_not_there_is_waited_for_once(reach, grid):
  grid.nodes = grid.nodes[1:]
  assert list(reach('hold', REQUESTS)) == [Party(SERVER, 2)]
  assert reach.silent == {'one'}
  begin = grid.now
  assert list(reach('sum', REQUESTS)) == [Party(SERVER, 2)]
  assert grid.now == begin + 1
  assert {name for name, _ in grid.sent} == {'two'}


def test_node_that_comes_or_is_lost_within_a_leg_answers_it(reach, grid):
  """Flower itself answers for a node that is lost, if it is asked then."""
  everybody, looks = grid.nodes, []

  def come_and_go():
    """The first one comes third; when asked, it is lost for a while."""
    looks.append(None)
    return everybody if len(looks) in (3, 7) else everybody[1:]

  grid.get_nodes = come_and_go
  del grid.claims['one']
  pull = grid.pull_messages

  def answer(numbers):
    """The first one's answer is there once it is back."""
    if len(looks) > 3:
      grid.claims['one'] = CLAIMS['one']
    return pull(numbers)

  grid.pull_messages = answer
  assert reach('hold', REQUESTS) == REQUESTS
  assert len(looks) == 7
  assert [name for name, _ in grid.sent] == ['two', 'one']
  assert not reach.silent


def test_begin_waits_for_nodes_but_not_for_ever(reach, grid, caplog):
  everybody, looks = grid.nodes, []

  def come():
    """Nobody at first, then one after another; the last one never."""
    looks.append(None)
    grid.now += 1.0
    return everybody[: min(len(looks) // 10, 2)]

  grid.get_nodes = come
  reach.wait(15.0)
  assert 35 < len(looks) < 40
  assert "nodes ['clients'] are not here" in caplog.text
  assert reach.silent == {'clients'}


def test_node_that_fails_is_named(reach, grid, caplog):
  grid.errors = {'one'}
  assert list(reach('hold', REQUESTS)) == [Party(SERVER, 2)]
  assert 'node one failed: broken' in caplog.text
  assert reach.silent == {'one'}


def test_silent_node_is_waited_for_once_until_it_answers(reach, grid):
  del grid.claims['two']
  reach('hold', REQUESTS)
  assert reach.silent == {'two'}
  assert grid.now == pytest.approx(10, abs=1)
  begin = grid.now
  reach('sum', REQUESTS)
  assert grid.now == begin + 1
  # What it answers late is of no leg, but tells that it is back.
  grid.claims['two'] = CLAIMS['two']
  request = {Party(SERVER, 1): {'run': b'r'}}
  assert reach('hold', request) == request
  assert not reach.silent
  assert reach('sum', REQUESTS) == REQUESTS


def test_late_error_says_nothing_of_a_node_that_has_answered_since(reach, grid):
  del grid.claims['two']
  reach('hold', REQUESTS)
  # Flower answers for what was never answered once its time is over.
  (number,) = reach._late
  _, message = grid.waiting.pop(number)
  grid.claims['two'] = CLAIMS['two']
  assert list(reach('sum', REQUESTS)) == [Party(SERVER, 1), Party(SERVER, 2)]
  pull = grid.pull_messages

  def answer(numbers):
    """The error comes first of all."""
    grid.pull_messages = pull
    return [Message(Error(1, 'expired'), reply_to=message), *pull(numbers)]

  reach._late[number] = 'two'
  grid.pull_messages = answer
  assert reach('sum', REQUESTS) == REQUESTS
  assert not reach.silent


def test_answer_for_the_party_of_another_node_is_not_read(reach, roster):
  forged = {link.CLAIM: CLAIMS['one'], 'server 2': {'run': b'x'}}
  message = Message(link.pack(forged), 1, 'query.hold')
  assert reach._read('one', message, REQUESTS) == {}


def test_nodes_that_were_all_silent_are_waited_for_again(reach, grid):
  grid.claims.clear()
  assert reach('hold', REQUESTS) == {}
  assert reach.silent == {'one', 'two'}
  grid.claims.update(CLAIMS)
  assert reach('hold', REQUESTS) == REQUESTS
  assert not reach.silent
