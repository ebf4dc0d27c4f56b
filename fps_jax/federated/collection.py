"""What the central server has of a round before it opens anything."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, RoundPlan
from fps_jax.federated import layout
from fps_jax.federated import mesh as meshes
from fps_jax.federated.broadcast import Received
from fps_jax.federated.method import Method
from fps_jax.federated.sums import ClientSums


class Aggregate(NamedTuple):
  """What a defence makes of the updates.

  Attributes:
    weights_C: float32 [C], the weight of every row of the plan; None for a rule
      by coordinates.
    total_weight: float32 [], what the opened sum is divided by; None where the
      central server sees every update.
    update_M: float32 [M], the aggregate; None where it is yet to be opened.
    is_sound_C: as of `RoundMetrics.is_sound`.
    capped_weight: as of `RoundMetrics.capped_weight`.
  """

  weights_C: Array | None = None
  total_weight: Array | None = None
  update_M: Array | None = None
  is_sound_C: Array | None = None
  capped_weight: Array | None = None


class Collected(NamedTuple):
  """What the central server has when all clients have reported.

  Attributes:
    received: the model that clients received.
    sums: what the servers report.
    checks_QxN: the audit's combinations of the sums; None without an audit.
    aggregate: of a defence; None without one.
  """

  received: Received
  sums: ClientSums
  checks_QxN: Array | None
  aggregate: Aggregate | None = None


def report(
  method: Method, plan: RoundPlan, sums: ClientSums
) -> tuple[ClientSums, Array | None]:
  """Adds up all devices; returns what servers report, and its audit.

  Args:
    method: the parts of a round.
    plan: of the round.
    sums: of one device's clients.
  """
  protocol, tiling = method.protocol, method.tiling
  counts_at = layout.counts_at(plan.pruning.keep_counts_T, protocol.alignment)
  with jax.named_scope('sum'):
    sums = meshes.add_devices(protocol, sums)
  if protocol.distort is not None:
    sums = sums._replace(held=protocol.distort(sums.held, plan.keys))
  # Servers keep what is not opened to themselves: the audit opens some, too.
  num_columns = layout.num_open_columns(
    counts_at,
    protocol.values_per_column,
    sums.contributors_T >= method.min_contributors,
  )
  is_open_W = jnp.arange(sums.held.shape[1]) < num_columns
  sums = sums._replace(held=jnp.where(is_open_W, sums.held, 0))
  if protocol.auditor is None:
    return sums, None
  with jax.named_scope('audit'):
    return sums, protocol.auditor.examine(
      sums.held,
      plan.keys.coins_Qx8,
      tiling.used(counts_at[-1]),
      tiling.columns,
    )
