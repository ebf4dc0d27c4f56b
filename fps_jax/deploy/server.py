"""An aggregation server: opens what is sealed to it, and adds it up, once."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fps_jax.deploy import journal
from fps_jax.deploy.messages import (
  Occasion,
  Reply,
  Request,
  read_bytes,
  read_list,
  read_number,
)
from fps_jax.deploy.sealing import unseal
from fps_jax.sharing import on_host
from fps_jax.sharing.messages import shared
from fps_jax.sharing.messages.header import Header, Kind, scheme_numbers
from fps_jax.sharing.messages.inbox import Inbox
from fps_jax.sharing.shamir import Shamir


class Rules(NamedTuple):
  """What a server goes by in the runs of a study.

  Attributes:
    scheme: the sharing scheme.
    min_contributors: clients that a sum must be of.
    seeds: of its runs.
  """

  scheme: Shamir
  min_contributors: int
  seeds: tuple[int, ...]


class Ledger:
  """What a server has summed in each round of a study, kept on disk.

  A round has one sum at a server, of one set of clients and one model, whatever
  the central server asks for, however it calls the run and however often either
  is restarted: the difference of two may be a client's update. To run a study
  anew with the same keys, the file is removed at every server.
  """

  def __init__(self, path: pathlib.Path):
    """Reads what there is.

    Raises:
      ValueError: if the file is damaged.
    """
    self._path = path
    self._summed = dict(journal.read(path, _summed))

  def add(self, occasion: Occasion, digest: bytes) -> None:
    """Notes what a sum is of, before anybody is given it.

    Args:
      occasion: of the sum.
      digest: of its clients and of the model.

    Raises:
      ValueError: if the round was summed over others.
    """
    place = occasion.seed, occasion.round, occasion.study
    before = self._summed.get(place)
    if before == digest.hex():
      return
    if before is not None:
      raise ValueError(
        f'round {occasion.round + 1} was summed over other clients already, or '
        "of another model, and the difference of two sums is some client's: go "
        'on with the next round'
      )
    seed, number, study = place
    journal.add(self._path, seed, number, digest.hex(), study)
    self._summed[place] = digest.hex()


def _summed(line: str) -> tuple[tuple[int, int, str], str]:
  """Returns the seed, round and study of a sum, and what it was of."""
  seed, number, digest, study = line.split(' ', 3)
  return (int(seed), int(number), study), digest


class _Held(NamedTuple):
  """What a server holds of one occasion."""

  occasion: Occasion
  cohort: tuple[int, ...]
  model: bytes
  inbox: Inbox


@dataclasses.dataclass
class Server:
  """An aggregation server of a deployment.

  Guarantees:
    - it adds up what clients of the cohort sealed to it and signed, for this
      occasion, cohort and model, each once;
    - it gives away sums over at least `min_contributors` clients, and in each
      round of a study over one set of clients, of one model;
    - a message that it refuses changes nothing.

  Attributes:
    number: in 1 .. N.
    rules: by study.
    opening_key: its own.
    verifying_keys: of all clients, by number.
    ledger: what it has summed.
    held: what it holds now, by run.
  """

  number: int
  rules: Mapping[str, Rules]
  opening_key: bytes
  verifying_keys: Mapping[int, bytes]
  ledger: Ledger
  held: dict[bytes, _Held] = dataclasses.field(default_factory=dict)

  def answer(self, leg: str, request: Request) -> Reply:
    """Returns the answer to a request; a refusal if it is not to be met."""
    legs = {'hold': self._hold, 'sum': self._sum}
    try:
      if leg not in legs:
        raise ValueError(f'leg {leg!r} is none of a server')
      occasion = Occasion.read(request)
      if occasion.study not in self.rules:
        raise ValueError(
          f'study {occasion.study!r} is none of this deployment, which has '
          f'{sorted(self.rules)}'
        )
      seeds = self.rules[occasion.study].seeds
      if occasion.seed not in seeds:
        raise ValueError(
          f'seed {occasion.seed} is none of this study, which has {seeds}'
        )
      return legs[leg](occasion, request)
    except ValueError as error:
      return {'refusal': str(error)}

  def _hold(self, occasion: Occasion, request: Request) -> Reply:
    cohort = tuple(read_list(request, 'cohort', int))
    senders = read_list(request, 'senders', int)
    sealed = read_list(request, 'sealed', bytes)
    if len(senders) != len(sealed):
      raise ValueError(f'{len(senders)} senders of {len(sealed)} messages')
    digest = read_bytes(request, 'digest', shared.DIGEST_BYTES)
    num_values = read_number(request, 'num_values')
    held = self._open(occasion, cohort, digest, num_values)
    refused = []
    for sender, message in zip(senders, sealed, strict=True):
      try:
        self._take(held, sender, message)
      except ValueError as error:
        refused.append(f'client {sender}: {error}')
    return {'held': sorted(held.inbox.payloads), 'refused': refused}

  def _open(
    self,
    occasion: Occasion,
    cohort: tuple[int, ...],
    model: bytes,
    num_values: int,
  ) -> _Held:
    """Returns what is held of an occasion; of a new one, nothing yet."""
    held = self.held.get(occasion.run)
    if held is not None and occasion.place <= held.occasion.place:
      if model != held.model:
        raise ValueError('the model is another one than when shares came')
      return self._of(occasion, cohort)
    unknown = sorted(set(cohort) - set(self.verifying_keys))
    if unknown:
      raise ValueError(
        f'clients {unknown} of the cohort have no pinned key: give all servers '
        'the public keys of all clients'
      )
    inbox = Inbox(
      occasion.round,
      self.number,
      self.rules[occasion.study].scheme,
      num_values,
      cohort,
      occasion.attempt,
    )
    occasion.label(0, self.number, cohort, model)  # Checks the cohort.
    held = self.held[occasion.run] = _Held(occasion, cohort, model, inbox)
    return held

  def _of(self, occasion: Occasion, cohort: tuple[int, ...]) -> _Held:
    """Returns what is held of an occasion; refuses any other occasion."""
    held = self.held.get(occasion.run)
    now = None if held is None else held.occasion.place
    if held is None or occasion != held.occasion:
      raise ValueError(
        f'(start, round, attempt) {occasion.place} is not that which this '
        f'server holds shares of, {now}: shares count on their own occasion'
      )
    if cohort != held.cohort:
      raise ValueError('the cohort is another one than when shares came')
    return held

  def _take(self, held: _Held, sender: int, sealed: bytes) -> None:
    if sender not in held.cohort:
      raise ValueError('it is not of the cohort')
    label = held.occasion.label(sender, self.number, held.cohort, held.model)
    key = self.verifying_keys[sender]
    message = unseal(sealed, label, self.opening_key, key)
    named = Header.decode(message).sender
    if named != sender:
      raise ValueError(f'its message says that it is of client {named}')
    held.inbox.receive(message)

  def _sum(self, occasion: Occasion, request: Request) -> Reply:
    held = self._of(occasion, tuple(read_list(request, 'cohort', int)))
    clients = read_list(request, 'clients', int)
    scheme, least, _ = self.rules[occasion.study]
    digest = shared.client_set_digest(clients)
    missing = sorted(set(clients) - set(held.inbox.payloads))
    if missing:
      raise ValueError(f'no share of clients {missing} is held')
    if len(clients) < least:
      raise ValueError(
        f'a sum over {len(clients)} clients is of fewer than '
        f'sharing.min_contributors={least}'
      )
    self.ledger.add(occasion, digest + held.model)
    header = Header(
      kind=Kind.SUM,
      round=occasion.round,
      sender=self.number,
      receiver=0,
      num_values=held.inbox.num_values,
      attempt=occasion.attempt,
      **scheme_numbers(scheme),
    )
    words_W = self._add(held, clients, scheme)
    return {
      'sum': shared.encode_sum(header, len(clients), digest, words_W, scheme)
    }

  def _add(self, held: _Held, clients: list[int], scheme: Shamir) -> np.ndarray:
    """Returns the sum of clients' shares, uint32 [W]."""
    num_words = scheme.num_columns(held.inbox.num_values + 1)
    total_W = np.zeros(num_words, np.uint64)
    for client in clients:
      payload: Any = held.inbox.payloads[client]
      if held.inbox.takes_seed:
        payload = on_host.uniform(payload[None], 0, num_words, scheme.field)[0]
      total_W += payload
    return (total_W % scheme.field.modulus).astype(np.uint32)
