"""One round of FedPruneShare and, with parts switched off, of its baselines.

Prune the global model, train every client of the cohort on it, sum the updates
through the sum protocol, average, take the server's step. Compiled once
whatever the sparsity and whoever takes part.
"""

from typing import Any, NamedTuple, Protocol

from jax.sharding import Mesh

from fps_jax.core.types import RoundMetrics, RoundState
from fps_jax.federated import plain
from fps_jax.federated.collection import AuditFindings, Collected, Gathering
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import Method, RoundInput
from fps_jax.federated.robust import gather as robust
from fps_jax.federated.robust.train import Trained
from fps_jax.federated.step import make_step

# What `Round.start` computes: everything, or what clients are about to share.
Started = Collected | Trained


class Start(Protocol):
  """The first half of a round."""

  def __call__(self, inputs: RoundInput) -> Started:
    """Returns what the second half goes on from, being computed."""


class Finish(Protocol):
  """The second half of a round."""

  def __call__(
    self, inputs: RoundInput, started: Any
  ) -> tuple[RoundState, RoundMetrics, AuditFindings]:
    """Waits for what is collected if it is audited; updates the model.

    Args:
      inputs: those of the first half; their state is donated: it must not be
        used again.
      started: what the first half returned.
    """


class Programs(Protocol):
  """What a round calls; runs nothing."""

  def __call__(self, inputs: RoundInput) -> tuple[Call, ...]:
    """Returns jitted functions with arguments or their shapes, in order.

    They may be lowered or exported.
    """


class Round(NamedTuple):
  """A round in two halves, so that the host can work while devices do."""

  start: Start
  finish: Finish
  programs: Programs


def make_round(method: Method, mesh: Mesh) -> Round:
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
    mesh: the devices that clients are split over; see `fps_jax.core.devices`.

  Raises:
    SharingError: in `finish`, if more servers are wrong than can be told apart.
  """
  gathering: Gathering
  if method.guard is None:
    gathering = plain.make_gathering(method, mesh)
  else:
    gathering = robust.make_gathering(method, method.guard, mesh)
  step = make_step(method)

  def finish(
    inputs: RoundInput, started: Any
  ) -> tuple[RoundState, RoundMetrics, AuditFindings]:
    collected, opening, findings = gathering.finish(inputs, started)
    pruning = inputs.plan.pruning
    state, metrics = step(inputs.state, collected, pruning, opening)
    return state, metrics, findings

  def programs(inputs: RoundInput) -> tuple[Call, ...]:
    called, collected = gathering.programs(inputs)
    plan = inputs.plan
    last = (inputs.state, collected, plan.pruning, plan.opening)
    return (*called, (step, last))

  return Round(gathering.start, finish, programs)
