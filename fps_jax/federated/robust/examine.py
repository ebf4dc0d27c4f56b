"""What a defence is to see of updates: of each, a sketch or itself.

It sees the update where the central server does anyway; otherwise a sketch of
the shares, of which the servers hold enough without anybody sending more.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, PlanArray
from fps_jax.federated import mesh as meshes
from fps_jax.federated.chunks import Chunk, map_chunks
from fps_jax.federated.layout import Tiling, zero_beyond
from fps_jax.federated.method import Guard, Method, RoundInput
from fps_jax.federated.robust.sketch import Sketching, make_sketching
from fps_jax.federated.robust.train import Trained
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.protocol import SumProtocol


class Examined(NamedTuple):
  """What the defence is to see, of every row of the plan on all devices.

  Attributes:
    views: what servers hold of each client: uint32 [C, R, V], as of
      `Sketching`; or float32 [C, M], the updates that the central server sees.
    checks_CxQxN: as of `ClientSums`.
  """

  views: Array
  checks_CxQxN: Array | None


class _Whole(NamedTuple):
  """Opens every update, as `Sketching` sketches it."""

  protocol: SumProtocol
  tiling: Tiling
  opening: PlanArray

  def start(self, num_clients: int) -> Array:
    return jnp.zeros((num_clients, self.tiling.padded_size), jnp.float32)

  def add_tile(self, views: Array, contributions: Array, tile: Array) -> Array:
    values_CxW = jax.vmap(self._open_one)(contributions)
    return jax.lax.dynamic_update_slice_in_dim(
      views, values_CxW, tile * self.tiling.size, 1
    )

  def _open_one(self, contribution: Array) -> Array:
    alive = jnp.ones(1, bool)
    zeros = self.protocol.zeros(contribution.shape[-1])
    sums = self.protocol.add(zeros, contribution[None], alive, self.opening)
    return self.protocol.decode(self.protocol.open(sums, self.opening))


def examine_clients(
  method: Method, guard: Guard, inputs: RoundInput, trained: Trained
) -> Examined:
  """Returns what the defence is to see of the updates, once shares are fixed.

  The keys of sketches, and of how the central server's own update is rounded,
  are drawn after that, so that no update was made to fit them.
  """
  protocol, plan = method.protocol, inputs.plan
  summation = method.summation(inputs, None)
  view: Sketching | _Whole = _Whole(protocol, method.tiling, plan.opening)
  if guard.opened is not None:
    view = make_sketching(method, guard.opened, inputs, trained.root_M)

  def examine(chunk: Chunk) -> tuple[Array, Array | None]:
    def add_tile(
      tile: Array, before: tuple[Array, Array | None]
    ) -> tuple[Array, Array | None]:
      views, checks = before
      _, contributions = summation.lift_tile(chunk, chunk.rows, tile)
      views = view.add_tile(views, contributions, tile)
      return views, summation.add_checks(checks, contributions, tile)

    views = view.start(len(chunk.accepted_C))
    start = views, summation.start_checks(chunk)
    return jax.lax.fori_loop(0, summation.num_tiles, add_tile, start)

  everyone = summation.everyone(trained.metrics.is_finite, trained.updates_CxM)
  with jax.named_scope('examine'):
    views, checks = map_chunks(
      examine, everyone, method.performance.clients_per_chunk
    )
  if guard.opened is None:
    # The sample count is not part of an update.
    views = zero_beyond(summation.counts_at[-1], views)
  views, checks = meshes.gather((views, checks))
  if guard.opened is not None and protocol.distort is not None:
    held_NxS = protocol.distort(_by_server(views), plan.keys)
    views = jnp.moveaxis(held_NxS.reshape(views.shape[1], len(views), -1), 0, 1)
  return Examined(views, checks)


def audit_sketches(
  auditor: Auditor,
  columns: int,
  inputs: RoundInput,
  examined: Examined,
  accepted_C: Array,
) -> Array:
  """Returns every server's combinations of the sketches, uint32 [Q, N].

  Guarantee: a client that is not accepted does not influence them. Its shares
  may fit no polynomial, for which an honest server would be blamed.

  Args:
    auditor: what finds wrong sums.
    columns: of a tile.
    inputs: of the round.
    examined: sketches of all clients.
    accepted_C: bool [C], whether a client was found to be consistent.
  """
  accepted = jnp.where(accepted_C[:, None, None], examined.views, 0)
  held_NxS = _by_server(accepted)
  missing = -held_NxS.shape[1] % columns
  with jax.named_scope('audit'):
    return auditor.examine(
      jnp.pad(held_NxS, ((0, 0), (0, missing))),
      inputs.plan.keys.sketch_coins_Qx8,
      (held_NxS.shape[1] + missing) // columns,
      columns,
    )


def _by_server(views_CxNxV: Array) -> Array:
  """Returns the sketches as servers have them, a vector each: [N, C * V]."""
  num_servers = views_CxNxV.shape[1]
  return jnp.moveaxis(views_CxNxV, 0, 1).reshape(num_servers, -1)
