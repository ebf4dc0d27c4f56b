"""A round in which nobody attacks, and all updates weigh what they should.

Clients train and share, and servers sum, in one program.
"""

import dataclasses
import functools

from jax.sharding import Mesh

from fps_jax.core.types import Array, PlanArray
from fps_jax.federated import mesh as meshes
from fps_jax.federated.broadcast import make_train, prune_model
from fps_jax.federated.collection import (
  AuditFindings,
  Collected,
  accepted_without,
  audit_sums,
  publish_sums,
)
from fps_jax.federated.method import Method, RoundInput
from fps_jax.federated.select import make_select
from fps_jax.federated.sums import train_and_sum
from fps_jax.sharing.audit import Auditor


@dataclasses.dataclass(frozen=True)
class PlainGathering:
  """A `Gathering` of one program, and its audit.

  Attributes:
    auditor: as of the sum protocol.
    collect: (input, accepted rows [C]) -> `Collected`.
  """

  auditor: Auditor | None
  collect: meshes.Program

  def start(self, inputs: RoundInput) -> Collected:
    """Trains and sums all clients, before any is known to be inconsistent."""
    return self.collect(inputs, accepted_without(inputs.plan))

  def finish(
    self, inputs: RoundInput, started: Collected
  ) -> tuple[Collected, PlanArray, AuditFindings]:
    """Audits them; trains and sums again without inconsistent clients."""
    plan = inputs.plan
    collect = functools.partial(self.collect, inputs)
    return audit_sums(self.auditor, plan, plan.opening, started, collect)

  def programs(
    self, inputs: RoundInput
  ) -> tuple[tuple[meshes.Call, ...], Collected]:
    """Returns the program, and the shapes of what it collects."""
    arguments = (inputs, accepted_without(inputs.plan))
    return ((self.collect.run, arguments),), self.collect.shapes(*arguments)


def make_gathering(method: Method, mesh: Mesh) -> PlainGathering:
  """Returns the round up to what is opened, compiled for a mesh."""
  collect = meshes.on_mesh(
    mesh,
    functools.partial(collect_updates, method),
    (meshes.input_spec(method.protocol), meshes.BY_CLIENT),
    meshes.ALIKE,
  )
  return PlainGathering(method.protocol.auditor, collect)


def collect_updates(
  method: Method, inputs: RoundInput, accepted_C: Array
) -> Collected:
  """Returns what a device's clients share, summed over all devices.

  Args:
    method: the parts of a round.
    inputs: what the round goes by, of this device's clients.
    accepted_C: bool [C]; clients whose row is False add nothing.
  """
  received = prune_model(method, inputs)
  sums = train_and_sum(
    train=make_train(method, received, inputs),
    summation=method.summation(inputs, received.kept),
    accepted_C=accepted_C,
    select=make_select(method, inputs),
  )
  return Collected(received, *publish_sums(method, inputs.plan, sums))
