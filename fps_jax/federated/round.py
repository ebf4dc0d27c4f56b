"""One round of FedPruneShare and, with parts switched off, of its baselines.

Compiled once whatever the sparsity and whoever takes part. In this order:

| who | does what | where |
|---|---|---|
| central | prunes the global model, and sends it | `broadcast.prune_model` |
| client | trains on it | `client.make_local_update` |
| client | weighs, rounds and shares | `contributions`, `SumProtocol.lift` |
| servers | add up what they hold | `sums.train_and_sum`, in chunks of clients |
| central | looks for wrong sums | `collection.audit_sums` |
| central | opens the sum, and averages | `step._average` |
| central | does so with noise, for privacy | `release.Release` |
| central | takes its step | `server.apply_update`, in `step` |
| central | regrows | `Pruner.regrow`, in `step` |

`plain` and `collection` put them together. Under an attack or with a defence
`robust.gather` does, which has a step for each of its own in between: attack,
examine, sketch, weigh.
"""

import dataclasses
from typing import Any

from jax.sharding import Mesh

from fps_jax.core.types import RoundMetrics, RoundState
from fps_jax.federated import plain
from fps_jax.federated.collection import AuditFindings, Collected, Gathering
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import Method, RoundInput
from fps_jax.federated.release import Release, make_release
from fps_jax.federated.robust import gather as robust
from fps_jax.federated.robust.train import Trained
from fps_jax.federated.step import Step, make_step

# What `Round.start` computes: everything, or what clients are about to share.
Started = Collected | Trained


@dataclasses.dataclass(frozen=True)
class Round:
  """A round in two halves, so that the host can work while devices do.

  Attributes:
    gathering: the round up to what is there to be opened.
    step: what the central server makes of that.
    method: the parts that both are made of.
    release: what sums go through in between; None where they are opened as they
      are.
  """

  gathering: Gathering
  step: Step
  method: Method
  release: Release | None = None

  def start(self, inputs: RoundInput) -> Started:
    """Returns what `finish` goes on from, being computed."""
    return self.gathering.start(inputs)

  def finish(
    self, inputs: RoundInput, started: Any
  ) -> tuple[RoundState, RoundMetrics, AuditFindings]:
    """Waits for what is collected if it is audited; updates the model.

    Args:
      inputs: those of `start`; their state is donated: it must not be used
        again.
      started: what `start` returned.

    Raises:
      SharingError: if more servers are wrong than can be told apart.
    """
    collected, opening, findings = self.gathering.finish(inputs, started)
    if self.release is not None:
      collected = self.release(inputs, collected, opening)
    pruning = inputs.plan.pruning
    state, metrics = self.step(inputs.state, collected, pruning, opening)
    return state, metrics, findings

  def programs(self, inputs: RoundInput) -> tuple[Call, ...]:
    """Returns the jitted functions that a round calls, in order; runs nothing.

    They may be lowered or exported.
    """
    called, collected = self.gathering.programs(inputs)
    plan = inputs.plan
    if self.release is not None:
      released, collected = self.release.programs(inputs, collected)
      called = (*called, *released)
    last = (inputs.state, collected, plan.pruning, plan.opening)
    return (*called, (self.step, last))


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
  """
  gathering: Gathering
  if method.guard is None:
    gathering = plain.make_gathering(method, mesh)
  else:
    gathering = robust.make_gathering(method, method.guard, mesh)
  return Round(gathering, make_step(method), method, make_release(method))
