"""One round of FedPruneShare and, with parts switched off, of its baselines.

Prune the global model, train every client of the cohort on it, sum the updates
through the sum protocol, average, take the server's step. Compiled once
whatever the sparsity and whoever takes part.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES, PROCESS_AXIS
from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import (
  Array,
  Key,
  PlanArray,
  RoundMetrics,
  RoundPlan,
  RoundState,
)
from fps_jax.federated import mesh as meshes
from fps_jax.federated import parallel
from fps_jax.federated import select as selecting
from fps_jax.federated.broadcast import make_train, prune
from fps_jax.federated.collection import Collected, report
from fps_jax.federated.gathering import (
  Gathering,
  Report,
  accepted_without,
  everyone,
  find_inconsistent,
  find_wrong,
)
from fps_jax.federated.method import Method
from fps_jax.federated.performance import Performance
from fps_jax.federated.robust import gather as guarded
from fps_jax.federated.robust.train import Trained
from fps_jax.federated.step import make_step

# What `Round.start` computes: everything, or what clients are about to share.
Started = Collected | Trained


class Round(NamedTuple):
  """A round in two steps, so that the host can work while devices do.

  Attributes:
    start: (state, plan, key, images, labels) -> what `finish` goes on from,
      being computed: the plan of the round, the run's root key, into which each
      round folds its number, and the training set, which stays on the devices.
    finish: (state, plan, key, images, labels, started) -> (state, metrics,
      report), after `start` of the same arguments. The state is donated: it
      must not be used again. Waits for what is collected if it is audited.
    programs: arguments of `start` -> the jitted functions that a round calls,
      each with its arguments or their shapes, to be lowered or exported.
  """

  start: Callable[[RoundState, RoundPlan, Key, Array, Array], Started]
  finish: Callable[
    [RoundState, RoundPlan, Key, Array, Array, Any],
    tuple[RoundState, RoundMetrics, Report],
  ]
  programs: Callable[
    [RoundState, RoundPlan, Key, Array, Array],
    tuple[tuple[Any, tuple[Any, ...]], ...],
  ]


def make_round(method: Method, performance: Performance, mesh: Mesh) -> Round:
  """Returns the round: compiled programs, and the audit between them.

  Guarantees:
    - a band that fewer than `min_contributors` clients share is not opened, nor
      audited: its parameters and the optimiser's state of them stay as they are
      (steps that Adam and Yogi count are counted for all);
    - each coordinate is divided by the weight of those that trained it;
    - if no client reports a finite update, the model and the optimiser's state
      stay as they are, but for pruning;
    - what the audit names does not influence the model: servers are left out
      of the reconstruction, and for clients the sum is formed again without
      them;
    - given the clients' updates, the model is the same, bit for bit, on any
      number of devices and processes, but for sharing in the clear.

  Args:
    method: the parts of a round.
    performance: chunk size and execution.
    mesh: the devices that clients are split over; see `fps_jax.core.devices`.

  Raises:
    SharingError: in `finish`, if more servers are wrong than can be told apart.
  """
  gathering = (
    _gather_at_once(method, performance, mesh)
    if method.guard is None
    else guarded.make(method, performance, mesh)
  )
  step = make_step(method)

  def finish(
    state: RoundState,
    plan: RoundPlan,
    key: Key,
    images: Array,
    labels: Array,
    started: Any,
  ) -> tuple[RoundState, RoundMetrics, Report]:
    collected, opening, found = gathering.finish(
      state, plan, key, images, labels, started
    )
    state, metrics = step(state, collected, plan.pruning, opening)
    return state, metrics, found

  def programs(
    state: RoundState, plan: RoundPlan, key: Key, images: Array, labels: Array
  ) -> tuple[tuple[Any, tuple[Any, ...]], ...]:
    called, collected = gathering.programs(state, plan, key, images, labels)
    last = (step, (state, collected, plan.pruning, plan.opening))
    return (*called, last)

  return Round(gathering.start, finish, programs)


def _gather_at_once(
  method: Method, performance: Performance, mesh: Mesh
) -> Gathering:
  """Trains clients and sums what they share in one program."""

  def collect_here(
    state: RoundState,
    plan: RoundPlan,
    accepted_C: Array,
    key: Key,
    images: Array,
    labels: Array,
  ) -> Collected:
    select = selecting.make_select(
      method.mask, state, plan.pruning.keep_count, method.exempt_D
    )
    if method.pruner is None:
      plan = _set_keep_count(plan, state)
    received = prune(method, state, plan, key)
    sums = parallel.sum_clients(
      train=make_train(method, received, images, labels),
      summation=method.summation(
        plan,
        received.kept,
        device_key(key, Stream.UPDATE, state.round),
        performance,
      ),
      accepted_C=accepted_C,
      select=select,
    )
    return Collected(received, *report(method, plan, sums))

  plan_spec = meshes.plan_spec(method.protocol)
  clients, examples = PartitionSpec(CLIENT_AXES), PartitionSpec(PROCESS_AXIS)
  collect = meshes.on_mesh(
    mesh,
    collect_here,
    (PartitionSpec(), plan_spec, clients, PartitionSpec(), examples, examples),
    PartitionSpec(),
  )

  def start(
    state: RoundState, plan: RoundPlan, key: Key, images: Array, labels: Array
  ) -> Collected:
    return collect(state, plan, everyone(plan), key, images, labels)

  def finish(
    state: RoundState,
    plan: RoundPlan,
    key: Key,
    images: Array,
    labels: Array,
    collected: Collected,
  ) -> tuple[Collected, PlanArray, Report]:
    auditor = method.protocol.auditor
    inconsistent = find_inconsistent(
      auditor, plan, collected.sums.measures.checks
    )
    if inconsistent:
      # The sum over all was computed ahead, and nobody is shown it nor its
      # audit: coins are drawn for the one over the accepted clients.
      accepted_C = accepted_without(plan, inconsistent)
      collected = collect(state, plan, accepted_C, key, images, labels)
    wrong, opening = find_wrong(
      auditor, plan, plan.opening, collected.checks_QxN
    )
    return collected, opening, Report(wrong, inconsistent)

  def programs(
    state: RoundState, plan: RoundPlan, key: Key, images: Array, labels: Array
  ) -> tuple[tuple[tuple[Any, tuple[Any, ...]], ...], Any]:
    arguments = (state, plan, everyone(plan), key, images, labels)
    collected = meshes.shapes(mesh, collect, arguments, PartitionSpec())
    return ((collect, arguments),), collected

  return Gathering(start, finish, programs)


def _set_keep_count(plan: RoundPlan, state: RoundState) -> RoundPlan:
  """Returns the plan of a method that keeps all D: the count is not traced."""
  pruning = dataclasses.replace(
    plan.pruning, keep_counts_T=np.array(state.params.shape, np.int32)
  )
  return dataclasses.replace(plan, pruning=pruning)
