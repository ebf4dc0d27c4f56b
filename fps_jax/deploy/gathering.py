"""The central server's part of a round: it asks parties, and opens their sum.

A `Gathering` in the place of a simulation's; all else of a run is what it is
there: the next model, its tests, metrics, checkpoints.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from fps_jax.core.types import PlanArray, RoundMetrics, RoundPlan
from fps_jax.deploy.messages import (
  CLIENT,
  SERVER,
  Ask,
  Occasion,
  Party,
  Reply,
  Request,
  model_digest,
  read,
  read_list,
)
from fps_jax.federated.broadcast import Received, prune_model
from fps_jax.federated.collection import AuditFindings, Collected, find_wrong
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import Method, RoundInput
from fps_jax.federated.sums import ClientSums
from fps_jax.runs.simulation import Simulation
from fps_jax.sharing import randomness
from fps_jax.sharing.audit import SharingError
from fps_jax.sharing.messages import clear
from fps_jax.sharing.messages.header import Header
from fps_jax.sharing.messages.inbox import SumInbox
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir


@dataclasses.dataclass(frozen=True)
class DeployedGathering:
  """A round between parties that hand each other messages.

  Attributes:
    method: the parts of the round.
    min_answers: servers that must answer.
    begin: returns the occasion of a run that begins, or begins again. Its round
      and attempt are not read: those of plans are.
    ask: reaches the parties.
  """

  method: Method
  min_answers: int
  begin: Callable[[], Occasion]
  ask: Ask

  def start(self, inputs: RoundInput) -> Received:
    """Returns what clients are to receive, being computed."""
    return self._prune(_without_clients(inputs))

  def programs(self, inputs: RoundInput) -> tuple[tuple[Call, ...], Collected]:
    """Returns what prunes the model, and the shapes of what is collected."""
    arguments = (_without_clients(inputs),)
    received = jax.eval_shape(self._prune, *arguments)
    num_rows = len(inputs.plan.cohort.client_ids)
    sums = self._sums(self._nothing(), 0, np.zeros(num_rows, bool))
    return ((self._prune, arguments),), Collected(received, sums, None)

  def finish(
    self, inputs: RoundInput, started: Received
  ) -> tuple[Collected, PlanArray, AuditFindings]:
    """Asks the parties, a leg after another.

    Raises:
      SharingError: if too few clients or servers answer, or more servers are
        wrong than can be told apart.
    """
    plan, held_NxW = inputs.plan, self._nothing()
    ids_C = np.asarray(plan.cohort.client_ids)
    cohort = ids_C[ids_C >= 0].tolist()
    if not cohort:  # The round is skipped.
      sums = self._sums(held_NxW, 0, ids_C >= 0)
      opening = self._scheme.opening(self._scheme.server_points)
      return Collected(started, sums, None), opening, AuditFindings()
    occasion = dataclasses.replace(
      self.begin(),
      round=int(inputs.state.round),
      attempt=int(plan.attempt),
    )
    num_values = int(self.method.counts_at(plan.pruning)[-1])
    params_D, mask_D = _model_of(started)
    digest = model_digest(params_D, mask_D)
    sealed = self._train(occasion, cohort, params_D, mask_D)
    clients = self._hold(occasion, cohort, digest, num_values, sealed)
    inbox = SumInbox(
      occasion.round, self._scheme, num_values, clients, occasion.attempt
    )
    self._sum(occasion, cohort, clients, inbox)
    held_NxW[:, : inbox.words_NxW.shape[1]] = inbox.words_NxW
    wrong, opening = self._audit(plan, held_NxW, num_values, inbox.present)
    findings = AuditFindings(
      wrong,
      silent_clients=tuple(sorted({*cohort} - {*clients})),
      silent_servers=tuple(
        sorted({*self._scheme.server_points} - {*inbox.present})
      ),
    )
    sums = self._sums(held_NxW, len(clients), np.isin(ids_C, clients))
    return Collected(started, sums, None), opening, findings

  @functools.cached_property
  def _prune(self) -> Callable[[RoundInput], Received]:
    return jax.jit(lambda inputs: prune_model(self.method, inputs))

  @property
  def _scheme(self) -> Shamir:
    assert isinstance(self.method.protocol, ShamirSum)
    return self.method.protocol.shamir

  def _train(
    self,
    occasion: Occasion,
    cohort: list[int],
    params_D: np.ndarray,
    mask_D: np.ndarray,
  ) -> dict[int, list[bytes]]:
    """Returns the sealed messages of each client that shares."""

    def request(client: int) -> Request:
      model = clear.encode_model(
        occasion.round, client, params_D, mask_D, occasion.attempt
      )
      return occasion.request(cohort=cohort, model=model)

    def take(client: Party, reply: Reply) -> None:
      messages = read_list(reply, 'sealed', bytes)
      if len(messages) != self._scheme.num_servers:
        raise ValueError(f'{len(messages)} messages, expected one a server')
      sealed[client.number] = messages

    sealed: dict[int, list[bytes]] = {}
    requests = {Party(CLIENT, client): request(client) for client in cohort}
    self._leg('train', occasion, requests, take)
    self._check_clients(len(sealed), f'of {len(cohort)} clients shared')
    return sealed

  def _hold(
    self,
    occasion: Occasion,
    cohort: list[int],
    digest: bytes,
    num_values: int,
    sealed: Mapping[int, list[bytes]],
  ) -> list[int]:
    """Hands servers what is theirs; returns the clients that they all hold."""
    senders = sorted(sealed)
    requests = {
      Party(SERVER, server): occasion.request(
        cohort=cohort,
        digest=digest,
        num_values=num_values,
        senders=senders,
        sealed=[sealed[client][server - 1] for client in senders],
      )
      for server in self._scheme.server_points
    }
    holding: dict[int, frozenset[int]] = {}

    def take(server: Party, reply: Reply) -> None:
      for line in read_list(reply, 'refused', str):
        logging.warning('%s refused a share: %s', server, line)
      holds = frozenset(read_list(reply, 'held', int))
      holding[server.number] = holds & frozenset(senders)

    self._leg('hold', occasion, requests, take)
    self._check_servers(sorted(holding))
    (agreed, votes), *_ = collections.Counter(holding.values()).most_common()
    # One server that claims to hold nothing must not stop the others.
    if votes < self.min_answers:
      agreed = frozenset.intersection(*holding.values())
    self._check_clients(len(agreed), 'clients have a share at all servers')
    return sorted(agreed)

  def _sum(
    self,
    occasion: Occasion,
    cohort: list[int],
    clients: list[int],
    inbox: SumInbox,
  ) -> None:
    """Takes the sums of the servers."""
    request = occasion.request(cohort=cohort, clients=clients)

    def take(server: Party, reply: Reply) -> None:
      message = read(reply, 'sum', bytes)
      if Header.decode(message).sender != server.number:
        raise ValueError('its sum says that it is of another server')
      inbox.receive(message)

    servers = [Party(SERVER, n) for n in self._scheme.server_points]
    self._leg('sum', occasion, dict.fromkeys(servers, request), take)
    self._check_servers(list(inbox.present))

  def _leg(
    self,
    leg: str,
    occasion: Occasion,
    requests: Mapping[Party, Request],
    take: Callable[[Party, Reply], None],
  ) -> None:
    """Asks parties; an answer that is wrong counts as none, by name."""
    for party, reply in sorted(self.ask(leg, requests).items()):
      try:
        if 'refusal' in reply:
          raise ValueError(read(reply, 'refusal', str))
        take(party, reply)
      except ValueError as error:
        about = occasion.round + 1, leg, party, error
        logging.warning('round %d, %s, %s: %s', *about)

  def _check_clients(self, number: int, what: str) -> None:
    least = self.method.terms.min_contributors
    if number < least:
      raise SharingError(
        f'{number} {what}, where {least} must (sharing.min_contributors): wait '
        'longer for them, or draw larger cohorts'
      )

  def _check_servers(self, answering: list[int]) -> None:
    if len(answering) < self.min_answers:
      raise SharingError(
        f'servers {answering} answer, {len(answering)} where '
        f'{self.min_answers} must (sharing.threshold, or sharing.min_answers '
        'if set): start the others'
      )

  def _audit(
    self,
    plan: RoundPlan,
    held_NxW: np.ndarray,
    num_values: int,
    present: tuple[int, ...],
  ) -> tuple[tuple[int, ...], PlanArray]:
    """Returns the servers whose sum is wrong, and what opens without them.

    Raises:
      SharingError: if more are wrong than can be told apart.
    """
    auditor, tiling = self.method.protocol.auditor, self.method.tiling
    opening = self._scheme.opening(present)
    if auditor is None or len(present) == self._scheme.threshold:
      return (), opening
    auditor = dataclasses.replace(auditor, present=present)
    # Drawn once the sums are here.
    coins_Qx8 = randomness.keys(
      randomness.fresh_root_key(), Purpose.CHECK, auditor.num_checks
    )
    checks_QxN = jax.jit(auditor.examine, static_argnums=(2, 3))(
      held_NxW, coins_Qx8, tiling.used(num_values), tiling.columns
    )
    plan = dataclasses.replace(plan, answers_N=None)
    return find_wrong(auditor, plan, opening, checks_QxN)

  def _nothing(self) -> np.ndarray:
    """Returns what servers send of nobody, uint32 [N, W]."""
    size = self._scheme.num_servers, self.method.tiling.padded_columns
    return np.zeros(size, np.uint32)

  def _sums(
    self, held_NxW: np.ndarray, number: int, summed_C: np.ndarray
  ) -> ClientSums:
    """Returns sums of so many clients, of whom nothing else is known."""
    nothing_C = jnp.zeros(len(summed_C), jnp.float32)
    metrics = RoundMetrics(
      loss_sum=nothing_C,
      num_trained=nothing_C,
      clipped_values=None,
      is_finite=jnp.asarray(summed_C),
    )
    return ClientSums(
      jnp.asarray(held_NxW), jnp.full(1, number, jnp.int32), metrics
    )


def deployed(
  simulation: Simulation, begin: Callable[[], Occasion], ask: Ask
) -> Simulation:
  """Returns a run whose rounds are those of real parties.

  Args:
    simulation: as it is built.
    begin: as of `DeployedGathering`.
    ask: reaches the parties.
  """
  method, least = simulation.round.method, simulation.completion.min_answers
  # A run begins with the first round that it asks for.
  gathering = DeployedGathering(method, least, functools.cache(begin), ask)
  return dataclasses.replace(
    simulation, round=dataclasses.replace(simulation.round, gathering=gathering)
  )


def _model_of(received: Received) -> tuple[np.ndarray, np.ndarray]:
  """Returns float32 [D] that clients receive, and bool [D], what is kept."""
  params_D = np.asarray(received.params_D)
  if received.received_mask is None:
    return params_D, np.ones(len(params_D), bool)
  return params_D, np.asarray(received.received_mask)


def _without_clients(inputs: RoundInput) -> RoundInput:
  """Returns what pruning reads: neither examples nor keys."""
  nothing: Any = None
  plan = dataclasses.replace(inputs.plan, cohort=nothing, keys=None)
  return inputs._replace(plan=plan, examples=nothing)
