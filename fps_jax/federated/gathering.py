"""How what clients share is gathered and audited, seen from the host."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fps_jax.core.types import Array, PlanArray, RoundPlan
from fps_jax.federated.collection import Collected
from fps_jax.sharing.audit import Auditor


class Report(NamedTuple):
  """What the audit of a round found, on the host.

  Attributes:
    wrong_servers: numbers of the servers that were left out, ascending.
    inconsistent_clients: numbers of the clients that were left out, ascending.
  """

  wrong_servers: tuple[int, ...] = ()
  inconsistent_clients: tuple[int, ...] = ()


class Gathering(NamedTuple):
  """A round up to what is there to be opened; arguments as of `Round`.

  Attributes:
    start: (state, plan, key, images, labels) -> what `finish` goes on from.
    finish: (the same, what `start` returned) -> what is there to be opened,
      what opens it, and what the audit found.
    programs: (state, plan, key, images, labels) -> as of `Round`, and the
      shapes of what is there to be opened.
  """

  start: Callable[..., Any]
  finish: Callable[..., tuple[Collected, PlanArray, Report]]
  programs: Callable[..., tuple[tuple[tuple[Any, tuple[Any, ...]], ...], Any]]


def everyone(plan: RoundPlan) -> np.ndarray:
  """Returns that every row of the plan is accepted, bool [C]."""
  return np.ones(plan.cohort.client_ids.shape, bool)


def accepted_without(plan: RoundPlan, left_out: tuple[int, ...]) -> np.ndarray:
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
