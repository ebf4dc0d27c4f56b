"""What a receiver makes of the messages of one attempt at a round.

It takes or refuses them. A refusal is a ValueError and changes nothing, so that
the receiver can drop the message and go on: whoever sent it counts as silent.

An `Inbox` is that of a server, and takes a seed or a share from each client,
once. A `SumInbox` is that of the central server, and takes from each server its
sum, once, if that is one of the agreed clients. Messages of other kinds have no
inbox: their receiver calls `Header.check_route`, as these two do.
"""

from collections.abc import Collection

import numpy as np

from fps_jax.sharing.messages import shared
from fps_jax.sharing.messages.header import Header, Kind
from fps_jax.sharing.shamir import Shamir


class Inbox:
  """The seeds or shares that a server receives in an attempt at a round.

  Servers 1 .. t of a seeded scheme take a `SEED` a client, others a `SHARE`.

  Attributes:
    takes_seed: whether a client sends this server a seed.
    num_values: values of an update, the sample count left out.
    payloads: client number -> uint32 [8] seed or uint32 [W] share, of the
      clients whose message was taken.
  """

  def __init__(
    self,
    round_number: int,
    receiver: int,
    scheme: Shamir,
    num_values: int,
    senders: Collection[int],
    attempt: int = 0,
  ):
    """Opens an empty inbox.

    Args:
      round_number: the round, from 0.
      receiver: the server's number, in 1 .. N.
      scheme: the sharing scheme.
      num_values: values of an update, the sample count left out.
      senders: numbers of the clients that may send.
      attempt: attempts at the round before this one.

    Raises:
      ValueError: if there is no such server.
    """
    if not 1 <= receiver <= scheme.num_servers:
      raise ValueError(
        f'server {receiver} must be in [1, num_servers={scheme.num_servers}]'
      )
    self.takes_seed = scheme.seeded and receiver <= scheme.num_random
    self.num_values = num_values
    self._kind, self._decode = (
      (Kind.SEED, shared.decode_seed)
      if self.takes_seed
      else (Kind.SHARE, shared.decode_share)
    )
    self._scheme = scheme
    self._expected = {
      'round': round_number,
      'attempt': attempt,
      'receiver': receiver,
      'num_values': num_values,
    }
    self._senders = frozenset(senders)
    self.payloads: dict[int, np.ndarray] = {}

  def receive(self, message: bytes) -> int:
    """Takes a message and returns the number of the client that sent it.

    Raises:
      ValueError: if the message is not a valid one of this round, attempt,
        scheme and server, or its client is unknown or has already sent one.
    """
    kind = Header.decode(message).kind
    if kind is not self._kind:
      raise ValueError(
        f'server {self._expected["receiver"]} expected {self._kind.name}, got '
        f'{kind.name}: of a seeded scheme, servers 1 to threshold - '
        'secrets_per_polynomial take a SEED; all others take a SHARE'
      )
    header, payload = self._decode(message, self._scheme)
    _check_sender(header, self._expected, self._senders, self.payloads)
    self.payloads[header.sender] = payload
    return header.sender


class SumInbox:
  """The sums that the central server receives in an attempt at a round.

  Attributes:
    words_NxW: uint32 [N, W], a row a server; zeros where none was taken.
    present: ascending numbers of the servers whose sum is a row of `words_NxW`.
    disagreeing: ascending numbers of the servers that summed other clients than
      the agreed ones; they are left out as if they were silent.
  """

  def __init__(
    self,
    round_number: int,
    scheme: Shamir,
    num_values: int,
    clients: Collection[int],
    attempt: int = 0,
  ):
    """Opens an empty inbox.

    Args:
      round_number: the round, from 0.
      scheme: the sharing scheme.
      num_values: values of an update, the sample count left out.
      clients: numbers of the clients whose sum was agreed on.
      attempt: attempts at the round before this one.

    Raises:
      ValueError: if a client repeats.
    """
    self._scheme = scheme
    self._expected = {
      'round': round_number,
      'attempt': attempt,
      'receiver': 0,
      'num_values': num_values,
    }
    self._clients = (len(clients), shared.client_set_digest(clients))
    self.words_NxW = np.zeros(
      (scheme.num_servers, scheme.num_columns(num_values + 1)), np.uint32
    )
    self.present: tuple[int, ...] = ()
    self.disagreeing: tuple[int, ...] = ()

  def receive(self, message: bytes) -> int:
    """Takes a message and returns the number of the server that sent it.

    Raises:
      ValueError: if the message is not a valid sum of this round, attempt and
        scheme, or its server is unknown or has already sent one.
    """
    header, num_clients, digest, words = shared.decode_sum(
      message, self._scheme
    )
    _check_sender(
      header,
      self._expected,
      range(1, self._scheme.num_servers + 1),
      (*self.present, *self.disagreeing),
    )
    server = header.sender
    if (num_clients, digest) == self._clients:
      self.words_NxW[server - 1] = words
      self.present = tuple(sorted((*self.present, server)))
    else:
      self.disagreeing = tuple(sorted((*self.disagreeing, server)))
    return server


def _check_sender(
  header: Header,
  expected: dict[str, int],
  senders: Collection[int],
  received: Collection[int],
) -> None:
  """Refuses a valid message that this inbox should not take."""
  header.check_route(**expected)
  if header.sender not in senders:
    raise ValueError(
      f'sender {header.sender} is not one of the {len(senders)} expected: only '
      'participants of this round may send'
    )
  if header.sender in received:
    raise ValueError(
      f'sender {header.sender} has already sent a {header.kind.name}, expected '
      'one a round: the first one counts'
    )
