"""What the central server asks of parties, and what they answer.

A request is a flat mapping of names to numbers, texts, bytes and lists of them,
as Flower carries it. In it are messages of `fps_jax.sharing.messages`, as they
are or sealed. A party that refuses a request answers with a `refusal`, a text.

| leg | of | request has besides the occasion | answer |
|---|---|---|---|
| train | client | cohort, model | sealed: a message a server |
| hold | server | cohort, digest, num_values, senders, sealed | held; refused |
| sum | server | cohort, clients | sum |

Nobody is told that a round has ended: requests of the next one say so.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from fps_jax.core import arrays
from fps_jax.deploy.sealing import RUN_BYTES, Label
from fps_jax.sharing.messages.shared import DIGEST_BYTES, client_set_digest

Request = Mapping[str, Any]
Reply = Mapping[str, Any]
CLIENT, SERVER = ROLES = ('client', 'server')
_LARGEST = 2**32 - 1


class Party(NamedTuple):
  """A client, numbered from 0, or an aggregation server, from 1."""

  role: str
  number: int

  def __str__(self) -> str:
    return f'{self.role} {self.number}'


class Ask(Protocol):
  """Hands requests to parties, and waits for answers."""

  def __call__(
    self, leg: str, requests: Mapping[Party, Request]
  ) -> dict[Party, Reply]:
    """Returns what parties answered, without those that did not in time."""


@dataclasses.dataclass(frozen=True)
class Occasion:
  """An attempt at a round of a run.

  Attributes:
    study: name of the run's variant.
    seed: of the run.
    run: 16 bytes that no other run has.
    start: how often the central server has begun the run anew.
    round: from 0.
    attempt: attempts at the round before this one.
  """

  study: str
  seed: int
  run: bytes
  start: int = 0
  round: int = 0
  attempt: int = 0

  @classmethod
  def read(cls, request: Request) -> Self:
    """Returns the occasion of a request.

    Raises:
      ValueError: if the request lacks a part of it, or has another type.
    """
    run = read_bytes(request, 'run', RUN_BYTES)
    numbers = {
      name: read_number(request, name)
      for name in ('seed', 'start', 'round', 'attempt')
    }
    return cls(study=read(request, 'study', str), run=run, **numbers)

  @property
  def place(self) -> tuple[int, int, int]:
    """What tells it from earlier and later ones of the run."""
    return self.start, self.round, self.attempt

  def request(self, **parts: Any) -> Request:
    """Returns a request on this occasion."""
    return {**dataclasses.asdict(self), **parts}

  def label(
    self, client: int, server: int, cohort: Sequence[int], model: bytes
  ) -> Label:
    """Returns the label of a client's share for a server.

    Args:
      client: number of the sender.
      server: number of the receiver.
      cohort: the clients that were asked.
      model: `model_digest` of what the client was sent.

    Raises:
      ValueError: if a client of the cohort repeats.
    """
    parts = client_set_digest(cohort), model, self.seed.to_bytes(4, 'little')
    context = _digest(*parts, self.study.encode())
    return Label(self.run, *self.place, client, server, context)


def model_digest(params_D: np.ndarray, mask_D: np.ndarray) -> bytes:
  """Returns a digest of a model, 16 bytes.

  Clients seal shares under it, and servers open those of one model: if others
  were sent one whose update is known, a sum would show who was not.

  Args:
    params_D: float32 [D].
    mask_D: bool [D], what is kept; no other parameter counts.
  """
  kept = params_D[mask_D].astype('<f4')
  return _digest(np.packbits(mask_D).tobytes(), kept.tobytes())


def _digest(*parts: bytes) -> bytes:
  return hashlib.sha256(b''.join(parts)).digest()[:DIGEST_BYTES]


def read(request: Mapping[str, Any], name: str, kind: type) -> Any:
  """Returns a part of a request or an answer.

  Raises:
    ValueError: if it is not there, or of another type.
  """
  if name not in request:
    raise ValueError(f'{name} is missing: run one release on all machines')
  value = request[name]
  if type(value) is not kind:
    raise ValueError(f'{name} is {type(value).__name__}, not {kind.__name__}')
  return value


def read_bytes(request: Mapping[str, Any], name: str, size: int) -> bytes:
  """Returns so many bytes; errors as of `read`."""
  value: bytes = read(request, name, bytes)
  if len(value) != size:
    raise ValueError(f'{name} has {len(value)} bytes, must have {size}')
  return value


def read_number(request: Mapping[str, Any], name: str) -> int:
  """Returns a number in [0, 2^32); errors as of `read`."""
  number = read(request, name, int)
  arrays.check_integer(name, number, 0, _LARGEST)
  return int(number)


def read_list(request: Mapping[str, Any], name: str, kind: type) -> list[Any]:
  """Returns a list whose items are of one type; errors as of `read`."""
  items: list[Any] = read(request, name, list)
  if any(type(item) is not kind for item in items):
    raise ValueError(f'{name} holds what is not {kind.__name__}')
  return items
