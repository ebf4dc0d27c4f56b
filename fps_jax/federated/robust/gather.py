"""A round in which updates are attacked, or weighed by a defence.

It trains and attacks; where there is a defence, makes what that is to see;
where servers hold that, audits it; weighs and sums.
"""

import dataclasses
import functools

from jax.sharding import Mesh

from fps_jax.core.types import PlanArray
from fps_jax.federated import mesh as meshes
from fps_jax.federated.collection import (
  AuditFindings,
  Collected,
  accepted_without,
  audit_sums,
  find_inconsistent,
  find_wrong,
)
from fps_jax.federated.mesh import ALIKE, BY_CLIENT, Call, Program
from fps_jax.federated.method import Guard, Method, RoundInput
from fps_jax.federated.robust.examine import audit_sketches, examine_clients
from fps_jax.federated.robust.train import Trained, train_clients
from fps_jax.federated.robust.weigh import aggregate_clients
from fps_jax.sharing.audit import Auditor


@dataclasses.dataclass(frozen=True)
class RobustGathering:
  """A `Gathering` of several programs, with audits between them.

  Clients and servers that the audits name have no say in the weights, nor in
  the sum.

  Guarantee: servers are audited over the clients that are accepted, so that one
  whose shares do not fit together has no server blamed.

  Attributes:
    auditor: as of the sum protocol.
    train: input -> `Trained`.
    examine: (input, trained) -> `Examined`; None without a defence.
    audit: (input, examined, accepted rows [C]) -> the audit's combinations of
      sketches; None where nothing is audited, or no sketch is made.
    aggregate: (input, trained, examined, what opens sketches, accepted rows
      [C]) -> `Collected`.
  """

  auditor: Auditor | None
  train: Program
  examine: Program | None
  audit: Program | None
  aggregate: Program

  def start(self, inputs: RoundInput) -> Trained:
    """Trains, and attacks."""
    return self.train(inputs)

  def finish(
    self, inputs: RoundInput, started: Trained
  ) -> tuple[Collected, PlanArray, AuditFindings]:
    """Examines and weighs what clients are about to share, and sums it."""
    plan, auditor = inputs.plan, self.auditor
    examined, opening = None, plan.opening
    inconsistent: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    if self.examine is not None:
      examined = self.examine(inputs, started)
      inconsistent = find_inconsistent(auditor, plan, examined.checks_CxQxN)
    accepted_C = accepted_without(plan, inconsistent)
    if self.audit is not None:
      checks_QxN = self.audit(inputs, examined, accepted_C)
      wrong, opening = find_wrong(auditor, plan, opening, checks_QxN)
    collect = functools.partial(
      self.aggregate, inputs, started, examined, opening
    )
    collected, opening, found = audit_sums(
      auditor, plan, opening, collect(accepted_C), collect
    )
    wrong = tuple(sorted({*wrong, *found.wrong_servers}))
    # Clients are checked once: when they are examined, or else summed.
    inconsistent = inconsistent or found.inconsistent_clients
    return collected, opening, AuditFindings(wrong, inconsistent)

  def programs(self, inputs: RoundInput) -> tuple[tuple[Call, ...], Collected]:
    """Returns the programs, and the shapes of what they collect."""
    accepted_C = accepted_without(inputs.plan)
    called: list[Call] = [(self.train.run, (inputs,))]
    trained, examined = self.train.shapes(inputs), None
    if self.examine is not None:
      called.append((self.examine.run, (inputs, trained)))
      examined = self.examine.shapes(inputs, trained)
    if self.audit is not None:
      called.append((self.audit.run, (inputs, examined, accepted_C)))
    last = (inputs, trained, examined, inputs.plan.opening, accepted_C)
    called.append((self.aggregate.run, last))
    return tuple(called), self.aggregate.shapes(*last)


def make_gathering(method: Method, guard: Guard, mesh: Mesh) -> RobustGathering:
  """Returns the round up to what is opened, compiled for a mesh."""
  protocol = method.protocol
  compiled = functools.partial(meshes.on_mesh, mesh)
  of_input = meshes.input_spec(protocol)
  of_trained = Trained(
    received=ALIKE,
    updates_CxM=BY_CLIENT,
    metrics=BY_CLIENT,
    root_M=None if guard.train_root is None else ALIKE,
  )
  train = compiled(
    functools.partial(train_clients, method, guard), (of_input,), of_trained
  )
  examine = audit = None
  if guard.defence is not None:
    examine = compiled(
      functools.partial(examine_clients, method, guard),
      (of_input, of_trained),
      ALIKE,
    )
    if guard.opened is not None and protocol.auditor is not None:
      audit = compiled(
        functools.partial(
          audit_sketches, protocol.auditor, method.tiling.columns
        ),
        (of_input, ALIKE, ALIKE),
        ALIKE,
      )
  aggregate = compiled(
    functools.partial(aggregate_clients, method, guard),
    (of_input, of_trained, ALIKE, ALIKE, BY_CLIENT),
    ALIKE,
  )
  return RobustGathering(protocol.auditor, train, examine, audit, aggregate)
