"""What the central server has of a round before it opens anything.

What is published of sums is decided on the devices; what the audit finds wrong
with them, on the host.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import Array, PlanArray, RoundPlan
from fps_jax.federated import layout
from fps_jax.federated import mesh as meshes
from fps_jax.federated.broadcast import Received
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import Method, RoundInput
from fps_jax.federated.sums import ClientSums
from fps_jax.sharing.audit import Auditor


class Collected(NamedTuple):
  """What the central server has when all clients have reported.

  Attributes:
    received: the model that clients received.
    sums: what the servers report.
    checks_QxN: the audit's combinations of the sums; None without an audit.
    total_weight: float32 [], what the opened sum is divided by; None where that
      is the sample count.
    update_M: float32 [M], the mean update; None where it is yet to be opened.
    clip: float32 [], the longest that contributions to the next round may be;
      None where that does not change.
  """

  received: Received
  sums: ClientSums
  checks_QxN: Array | None
  total_weight: Array | None = None
  update_M: Array | None = None
  clip: Array | None = None


class AuditFindings(NamedTuple):
  """What the audit of a round found, on the host.

  Attributes:
    wrong_servers: numbers of the servers that were left out, ascending.
    inconsistent_clients: numbers of the clients that were left out, ascending.
    silent_clients: numbers of the clients that did not report although the plan
      has them, ascending; none of a simulation, whose plan says who does.
    silent_servers: likewise of the servers that did not answer.
  """

  wrong_servers: tuple[int, ...] = ()
  inconsistent_clients: tuple[int, ...] = ()
  silent_clients: tuple[int, ...] = ()
  silent_servers: tuple[int, ...] = ()


class Gathering(Protocol):
  """A round up to what is there to be opened."""

  def start(self, inputs: RoundInput) -> Any:
    """Returns what `finish` goes on from, being computed."""

  def finish(
    self, inputs: RoundInput, started: Any
  ) -> tuple[Collected, PlanArray, AuditFindings]:
    """Returns what is there to be opened, what opens it, and the findings."""

  def programs(self, inputs: RoundInput) -> tuple[tuple[Call, ...], Collected]:
    """Returns the programs that are called, and the shapes of what is there."""


class Collect(Protocol):
  """Sums over the clients that are accepted."""

  def __call__(self, accepted_C: np.ndarray) -> Collected:
    """Returns what servers report of these rows, bool [C]."""


def publish_sums(
  method: Method, plan: RoundPlan, sums: ClientSums
) -> tuple[ClientSums, Array | None]:
  """Adds up all devices; returns what servers report, and its audit.

  On each device, `sums` are those of its clients.
  """
  protocol, tiling = method.protocol, method.tiling
  counts_at = method.counts_at(plan.pruning)
  with jax.named_scope('sum'):
    sums = meshes.add_devices(protocol, sums)
  if protocol.distort is not None:
    sums = sums._replace(held=protocol.distort(sums.held, plan.keys))
  # Servers keep what is not opened to themselves: the audit opens some, too.
  num_columns = layout.num_open_columns(
    counts_at,
    protocol.values_per_column,
    sums.contributors_T >= method.terms.min_contributors,
  )
  is_open_W = jnp.arange(sums.held.shape[1]) < num_columns
  sums = sums._replace(held=jnp.where(is_open_W, sums.held, 0))
  if protocol.auditor is None:
    return sums, None
  with jax.named_scope('audit'):
    return sums, protocol.auditor.examine(
      sums.held, plan.keys.coins_Qx8, tiling.used(counts_at[-1]), tiling.columns
    )


def audit_sums(
  auditor: Auditor | None,
  plan: RoundPlan,
  opening: PlanArray,
  collected: Collected,
  collect: Collect,
) -> tuple[Collected, PlanArray, AuditFindings]:
  """Leaves out what the audit names; returns what is there to be opened.

  Args:
    auditor: None where nothing is audited.
    plan: of the round.
    opening: what opens the sums, if no more servers are wrong.
    collected: sums over all clients.
    collect: makes sums over some of them.

  Raises:
    SharingError: if more servers are wrong than can be told apart.
  """
  inconsistent = find_inconsistent(auditor, plan, collected.sums.checks_CxQxN)
  if inconsistent:
    # The sum over all was computed ahead, and nobody is shown it nor its
    # audit: coins are drawn for the one over the accepted clients.
    collected = collect(accepted_without(plan, inconsistent))
  wrong, opening = find_wrong(auditor, plan, opening, collected.checks_QxN)
  return collected, opening, AuditFindings(wrong, inconsistent)


def accepted_without(
  plan: RoundPlan, left_out: tuple[int, ...] = ()
) -> np.ndarray:
  """Returns which rows are accepted, bool [C]: not those of some clients."""
  return ~np.isin(plan.cohort.client_ids, left_out)


def find_inconsistent(
  auditor: Auditor | None, plan: RoundPlan, checks_CxQxN: Array | None
) -> tuple[int, ...]:
  """Returns the clients of the round whose shares do not fit together."""
  if auditor is None or checks_CxQxN is None:
    return ()
  clients = np.asarray(plan.cohort.client_ids).tolist()
  checks = dict(zip(clients, np.asarray(checks_CxQxN), strict=True))
  checks.pop(-1, None)
  # Servers that lie of clients are judged by their sums, which come later.
  return among_answering(auditor, plan).find_inconsistent_clients(checks)[0]


def find_wrong(
  auditor: Auditor | None,
  plan: RoundPlan,
  opening: PlanArray,
  checks_QxN: Array | None,
) -> tuple[tuple[int, ...], PlanArray]:
  """Returns the servers that are wrong, and an opening without them.

  Raises:
    SharingError: if more servers are wrong than can be told apart.
  """
  if auditor is None or checks_QxN is None:
    return (), opening
  auditor = among_answering(auditor, plan)
  wrong = auditor.find_wrong_servers(np.asarray(checks_QxN))
  return wrong, auditor.opening_without(wrong) if wrong else opening


def among_answering(auditor: Auditor, plan: RoundPlan) -> Auditor:
  """Returns the auditor of a round in which these servers answer."""
  if plan.answers_N is None:
    return auditor
  return dataclasses.replace(auditor, present=answering(plan.answers_N))


def answering(answers_N: PlanArray) -> tuple[int, ...]:
  """Returns the numbers of the servers that answer, ascending."""
  return tuple((np.flatnonzero(np.asarray(answers_N)) + 1).tolist())
