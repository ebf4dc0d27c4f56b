"""How the central server reaches parties: by messages of Flower."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from absl import logging
from cryptography.hazmat.primitives.serialization import (
  Encoding,
  PublicFormat,
  load_ssh_public_key,
)
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fps_jax.deploy.keys import Roster
from fps_jax.deploy.messages import Party, Reply, Request

# A leg as a type of Flower's messages.
MESSAGE_TYPE = {
  'train': 'train.share',
  'hold': 'query.hold',
  'sum': 'query.sum',
}
# What a node says of itself, in a record of Flower with what its parties say.
CLAIM, _RECORD = 'node', 'parties'
_POLL_SECONDS = 0.4


def pack(parts: Mapping[str, Mapping[str, Any]]) -> RecordDict:
  """Returns what is said to or by parties, as one record of Flower.

  Each record is a request of its own to Flower.

  Args:
    parts: by what the party is called, which has no `/`.
  """
  flat = {
    f'{party}/{name}': value
    for party, part in parts.items()
    for name, value in part.items()
  }
  return RecordDict({_RECORD: ConfigRecord(flat)})


def unpack(content: RecordDict) -> dict[str, dict[str, Any]]:
  """Returns what `pack` was given; of another record, nothing of use."""
  parts: dict[str, dict[str, Any]] = {}
  for key, value in content.config_records.get(_RECORD, {}).items():
    party, _, name = key.partition('/')
    parts.setdefault(party, {})[name] = value
  return parts


class Link:
  """Parties behind the nodes of a Flower grid.

  A node that is not there is asked as soon as it is. One that does not answer a
  leg in time is silent: it is asked on, but not waited for, until an answer of
  it comes.

  Attributes:
    silent: names of the nodes that are.
    seconds: of each leg so far, by its name.
  """

  def __init__(
    self,
    grid: Grid,
    roster: Roster,
    leg_seconds: float,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Looks for nobody yet.

    Args:
      grid: of the run.
      roster: of the deployment.
      leg_seconds: in which a leg is to be answered.
      clock: tells seconds.
    """
    self._grid, self._roster = grid, roster
    self._leg_seconds, self._clock = leg_seconds, clock
    self._names = {
      _pem(node.node_key): name for name, node in roster.nodes.items()
    }
    self._unknown: set[int] = set()
    self._late: dict[str, str] = {}
    self.silent: set[str] = set()
    self.seconds: dict[str, list[float]] = {leg: [] for leg in MESSAGE_TYPE}

  def wait(self, seconds: float) -> None:
    """Waits for all nodes, until no other one has come for so long."""
    here: set[str] = set()
    last = self._clock()
    while here != set(self._roster.nodes):
      now = set(self._nodes())
      if now != here:
        here, last = now, self._clock()
      elif here and self._clock() - last > seconds:
        missing = sorted(set(self._roster.nodes) - here)
        logging.warning('nodes %s are not here: beginning without', missing)
        self.silent |= {*missing}
        return
      time.sleep(_POLL_SECONDS)

  def __call__(
    self, leg: str, requests: Mapping[Party, Request]
  ) -> dict[Party, Reply]:
    """Hands requests to parties, and waits for answers; as of `Ask`."""
    begin = self._clock()
    unsent: dict[str, dict[str, Request]] = {}
    for party, request in requests.items():
      if party in self._roster.names:
        name = self._roster.names[party]
        unsent.setdefault(name, {})[str(party)] = request
    waiting: dict[str, str] = {}
    replies: dict[Party, Reply] = {}
    while True:
      nodes = self._nodes()
      waiting |= self._push(leg, unsent, nodes)
      for name, message in self._pull(waiting, nodes):
        replies |= self._read(name, message, requests)
      missing = {*waiting.values(), *unsent}
      # Silent ones are so for as long as nobody looks for their answers.
      awaited = missing - self.silent or (set() if replies else missing)
      if not awaited or self._clock() >= begin + self._leg_seconds:
        break
      time.sleep(_POLL_SECONDS)
    for name in sorted(missing - self.silent):
      logging.warning(
        '%s: no answer of node %s within %.0f s', leg, name, self._leg_seconds
      )
    self.silent |= missing
    self._late |= waiting
    self.seconds[leg].append(self._clock() - begin)
    return replies

  def _nodes(self) -> dict[str, int]:
    """Returns the numbers that Flower has for the nodes that are there."""
    nodes = {}
    for info in self._grid.get_nodes():
      name = self._names.get(info.public_key)
      if name is not None:
        nodes[name] = info.node_id
      elif info.node_id not in self._unknown:
        self._unknown.add(info.node_id)
        logging.warning(
          'node %d is not of the roster, and is sent nothing', info.node_id
        )
    return nodes

  def _push(
    self, leg: str, unsent: dict[str, Any], nodes: dict[str, int]
  ) -> dict[str, str]:
    """Sends to nodes that are there; returns whom each message is for."""
    names = [name for name in unsent if name in nodes]
    messages = [
      Message(
        pack(unsent.pop(name)),
        nodes[name],
        MESSAGE_TYPE[leg],
        # What comes later than that is of no use to anybody.
        ttl=2 * self._leg_seconds,
      )
      for name in names
    ]
    numbers = self._grid.push_messages(messages)
    return {
      number: name
      for number, name in zip(numbers, names, strict=True)
      if number
    }

  def _pull(
    self, waiting: dict[str, str], nodes: dict[str, int]
  ) -> list[tuple[str, Message]]:
    """Returns answers that have come, and which nodes they are of."""
    # For a node that it has lost Flower answers, and forgets the message.
    numbers = [
      number for number, name in (waiting | self._late).items() if name in nodes
    ]
    found = []
    for message in self._grid.pull_messages(numbers):
      number = message.metadata.reply_to_message_id
      # What comes too late for its leg tells all the same that a node is back.
      is_late = number in self._late
      name = (self._late if is_late else waiting).pop(number)
      if not is_late:
        found.append((name, message))
      if not message.has_error():
        self.silent.discard(name)
      elif not is_late:
        self.silent.add(name)
    return found

  def _read(
    self, name: str, message: Message, asked: Iterable[Party]
  ) -> dict[Party, Reply]:
    """Returns the answers of a node's parties, without those of others."""
    if message.has_error():
      logging.warning('node %s failed: %s', name, message.error.reason)
      return {}
    node, parts = self._roster.nodes[name], unpack(message.content)
    claim = parts.get(CLAIM)
    if claim != {'role': node.role, 'numbers': list(node.numbers)}:
      logging.warning(
        'node %s says that it is %s, and is %s %s in the roster: refused',
        name,
        claim,
        node.role,
        node.numbers,
      )
      return {}
    own = {party for party in node.parties if party in asked}
    return {party: parts[str(party)] for party in own if str(party) in parts}


def _pem(line: str) -> bytes:
  """Returns a public key of OpenSSH as Flower tells it."""
  key = load_ssh_public_key(line.encode())
  return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
