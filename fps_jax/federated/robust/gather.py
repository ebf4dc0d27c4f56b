"""A round in which updates are attacked, or weighed by a defence, on a mesh."""

import functools
from typing import Any

from jax.sharding import Mesh, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES, PROCESS_AXIS
from fps_jax.core.types import Array, Key, PlanArray, RoundPlan, RoundState
from fps_jax.federated import mesh as meshes
from fps_jax.federated.collection import Collected
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
from fps_jax.federated.robust import (
  examine as examining,
)
from fps_jax.federated.robust import (
  train as training,
)
from fps_jax.federated.robust import (
  weigh as weighing,
)
from fps_jax.federated.robust.train import Trained


def make(method: Method, performance: Performance, mesh: Mesh) -> Gathering:
  """Returns a round up to what is opened: its programs and its audits.

  The first trains and attacks; the second, where there is a defence, makes what
  it is to see; the third, where servers hold that, audits it; the last weighs
  and sums. Clients and servers that the audits name have no say in the weights,
  nor in the sum.

  Guarantee: servers are audited over the clients that are accepted, so that one
  whose shares do not fit together has no server blamed.

  Args:
    method: the parts of a round, with a guard.
    performance: chunk size and execution.
    mesh: the devices that clients are split over.
  """
  assert method.guard is not None
  has_defence = method.guard.defence is not None
  has_root = method.guard.train_root is not None
  auditor = method.protocol.auditor
  opens_sketches = has_defence and method.guard.opened is not None
  audits_sketches = opens_sketches and auditor is not None
  replicated, clients = PartitionSpec(), PartitionSpec(CLIENT_AXES)
  examples = PartitionSpec(PROCESS_AXIS)
  plan_spec: Any = meshes.plan_spec(method.protocol)
  of_clients: Any = clients
  of_all: Any = replicated
  trained_spec = Trained(
    received=of_all,
    updates_CxM=of_clients,
    loss_sum=of_clients,
    num_trained=of_clients,
    is_finite=of_clients,
    root_M=of_all if has_root else None,
  )

  train = meshes.on_mesh(
    mesh,
    functools.partial(training.train_clients, method, performance),
    (replicated, plan_spec, replicated, examples, examples),
    trained_spec,
  )
  examine = meshes.on_mesh(
    mesh,
    functools.partial(examining.examine_clients, method, performance),
    (plan_spec, replicated, replicated, trained_spec),
    replicated,
  )
  audit = meshes.on_mesh(
    mesh,
    functools.partial(examining.audit_sketches, method),
    (plan_spec, replicated, replicated),
    replicated,
  )
  aggregate = meshes.on_mesh(
    mesh,
    functools.partial(weighing.aggregate_clients, method, performance),
    (
      plan_spec,
      replicated,
      replicated,
      trained_spec,
      replicated,
      clients,
      replicated,
    ),
    replicated,
  )

  def finish(
    state: RoundState,
    plan: RoundPlan,
    key: Key,
    images: Array,
    labels: Array,
    trained: Trained,
  ) -> tuple[Collected, PlanArray, Report]:
    del images, labels  # Clients have trained.
    before = (plan, key, state.round, trained)
    examined, opening = None, plan.opening
    inconsistent: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    if has_defence:
      examined = examine(*before)
      inconsistent = find_inconsistent(auditor, plan, examined.client_checks)
    accepted_C = accepted_without(plan, inconsistent)
    if audits_sketches:
      wrong, opening = find_wrong(
        auditor, plan, opening, audit(plan, examined, accepted_C)
      )
    collected = aggregate(*before, examined, accepted_C, opening)
    if not has_defence:
      inconsistent = find_inconsistent(
        auditor, plan, collected.sums.measures.checks
      )
      if inconsistent:
        # As where there is no attack: nobody is shown the first sum's audit.
        accepted_C = accepted_without(plan, inconsistent)
        collected = aggregate(*before, examined, accepted_C, opening)
    also_wrong, opening = find_wrong(
      auditor, plan, opening, collected.checks_QxN
    )
    all_wrong = tuple(sorted({*wrong, *also_wrong}))
    return collected, opening, Report(all_wrong, inconsistent)

  def programs(
    state: RoundState, plan: RoundPlan, key: Key, images: Array, labels: Array
  ) -> tuple[tuple[tuple[Any, tuple[Any, ...]], ...], Any]:
    train_arguments = (state, plan, key, images, labels)
    trained = meshes.shapes(mesh, train, train_arguments, trained_spec)
    before = (plan, key, state.round, trained)
    called: list[tuple[Any, tuple[Any, ...]]] = [(train, train_arguments)]
    examined = None
    if has_defence:
      called.append((examine, before))
      examined = meshes.shapes(mesh, examine, before, replicated)
    if audits_sketches:
      called.append((audit, (plan, examined, everyone(plan))))
    arguments = (*before, examined, everyone(plan), plan.opening)
    called.append((aggregate, arguments))
    collected = meshes.shapes(mesh, aggregate, arguments, replicated)
    return tuple(called), collected

  return Gathering(train, finish, programs)
