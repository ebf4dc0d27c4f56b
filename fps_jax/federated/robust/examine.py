"""What a defence is to see of updates: of each, a sketch or itself.

It sees the update where the central server does anyway; otherwise a sketch of
the shares, of which the servers hold enough without anybody sending more.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Key, PlanArray, RoundPlan
from fps_jax.federated import (
  chunks,
)
from fps_jax.federated import (
  contributions as contributing,
)
from fps_jax.federated import (
  mesh as meshes,
)
from fps_jax.federated.method import Method
from fps_jax.federated.performance import Performance
from fps_jax.federated.robust.sketch import make_sketching
from fps_jax.federated.robust.train import Trained, zero_beyond
from fps_jax.sharing.protocol import SumProtocol


class Examined(NamedTuple):
  """What the defence is to see, of every row of the plan on all devices.

  Attributes:
    views: what servers hold of each client: uint32 [C, R, `Sketching.width`];
      or float32 [C, M], the updates that the central server sees.
    client_checks: as of `ClientMeasures.checks`.
  """

  views: Array
  client_checks: Array | None


def examine_clients(
  method: Method,
  performance: Performance,
  plan: RoundPlan,
  key: Key,
  round_number: Array,
  trained: Trained,
) -> Examined:
  """Returns what the defence is to see of the updates, once shares are fixed.

  The keys of sketches, and of how the central server's own update is rounded,
  are drawn after that, so that no update was made to fit them.
  """
  protocol, tiling, auditor = (
    method.protocol,
    method.tiling,
    method.protocol.auditor,
  )
  assert method.guard is not None
  round_key = device_key(key, Stream.UPDATE, round_number)
  summation = method.summation(plan, None, round_key, performance)
  lift_tile = contributing.make_lift_tile(summation)
  sketching = None
  if method.guard.opened is not None:
    sketching = make_sketching(
      method, trained.root_M, key, plan.draw_number(round_number)
    )

  def start(chunk: chunks.Chunk) -> tuple[Array, Array | None]:
    size = len(chunk.accepted_C)
    if sketching is None:
      views = jnp.zeros((size, tiling.padded_size), jnp.float32)
    else:
      rows = protocol.zeros(1).shape[0]
      views = jnp.zeros((size, rows, sketching.width), jnp.uint32)
    return views, contributing.start_checks(auditor, chunk)

  def add(
    carry: tuple[Array, Array | None], contributions: Array, tile: Array
  ) -> tuple[Array, Array | None]:
    views, checks = carry
    if sketching is None:
      values_CxW = jax.vmap(_open_one(protocol), (0, None))(
        contributions, plan.opening
      )
      views = jax.lax.dynamic_update_slice_in_dim(
        views, values_CxW, tile * tiling.size, 1
      )
    else:
      views = sketching.add_tile(views, contributions, tile)
    if plan.keys is not None:
      checks = contributing.add_checks(
        auditor,
        checks,
        contributions,
        plan.keys.client_coins_Qx8,
        tile * tiling.columns,
      )
    return views, checks

  everyone = chunks.Chunk(
    plan.cohort,
    trained.is_finite,
    plan.keys.dealings if plan.keys else None,
    trained.updates_CxM,
  )
  with jax.named_scope('examine'):
    views, client_checks = contributing.fold_tiles(
      lift_tile,
      everyone,
      tiling.used(plan.pruning.keep_count),
      start,
      add,
      performance,
    )
  if sketching is None:
    # The sample count is not part of an update.
    views = zero_beyond(plan.pruning.keep_count, views)
  views, client_checks = meshes.gather((views, client_checks))
  if sketching is not None and protocol.distort is not None:
    held_NxS = protocol.distort(_by_server(views), plan.keys)
    views = jnp.moveaxis(held_NxS.reshape(views.shape[1], len(views), -1), 0, 1)
  return Examined(views, client_checks)


def audit_sketches(
  method: Method, plan: RoundPlan, examined: Examined, accepted_C: Array
) -> Array:
  """Returns every server's combinations of the sketches, uint32 [Q, N].

  Guarantee: a client that is not accepted does not influence them. Its shares
  may fit no polynomial, for which an honest server would be blamed.

  Args:
    method: the parts of a round, with an auditor and a defence on sketches.
    plan: of the round.
    examined: of all clients.
    accepted_C: bool [C], whether a client was found to be consistent.
  """
  auditor, columns = method.protocol.auditor, method.tiling.columns
  assert auditor is not None
  accepted = jnp.where(accepted_C[:, None, None], examined.views, 0)
  held_NxS = _by_server(accepted)
  missing = -held_NxS.shape[1] % columns
  with jax.named_scope('audit'):
    return auditor.examine(
      jnp.pad(held_NxS, ((0, 0), (0, missing))),
      plan.keys.sketch_coins_Qx8,
      (held_NxS.shape[1] + missing) // columns,
      columns,
    )


def _by_server(views_CxNxV: Array) -> Array:
  """Returns the sketches as servers have them, a vector each: [N, C * V]."""
  num_servers = views_CxNxV.shape[1]
  return jnp.moveaxis(views_CxNxV, 0, 1).reshape(num_servers, -1)


def _open_one(protocol: SumProtocol) -> Callable[[Array, PlanArray], Array]:
  """Returns what the central server makes of one client's contribution."""

  def open_one(contribution: Array, opening: PlanArray) -> Array:
    alive = jnp.ones(1, bool)
    zeros = protocol.zeros(contribution.shape[-1])
    sums = protocol.add(zeros, contribution[None], alive, opening)
    return protocol.decode(protocol.open(sums, opening))

  return open_one
