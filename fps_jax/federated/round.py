"""One round of FedPruneShare and, with parts switched off, of its baselines.

Prune the global model, train every client of the cohort on it, sum the updates
through the sum protocol, average, take the server's step. Compiled once
whatever the sparsity and whoever takes part.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.federated import bands, own_masks, parallel, server, sharded
from fps_jax.federated.client import ClientResult, LocalUpdate
from fps_jax.federated.performance import Performance
from fps_jax.federated.tiling import Tiling
from fps_jax.pruning.pruner import Pruner
from fps_jax.rng import Stream, device_key
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.types import (
  Array,
  Key,
  Params,
  PlanArray,
  PruningPlan,
  RoundMetrics,
  RoundPlan,
  RoundState,
)


class Method(NamedTuple):
  """What makes up a round; all of it fixed while a run lasts.

  Attributes:
    local_update: local training of one client.
    protocol: how the sum over clients is formed.
    tiling: how updates are cut to be summed.
    server_optimizer: the central server's optimiser.
    unravel: [D] -> pytree of parameters, of the vector's type.
    pruner: how parameters are chosen, or None for no shared mask.
    mask: a member of `selection.MASKS`; other than `'shared'`, what clients
      send of their updates.
    exempt_D: bool [D], what a mask of a client's own always has.
    max_count: largest sample count of a client.
    min_contributors: clients that a band must be the sum of to be opened.
  """

  local_update: LocalUpdate
  protocol: SumProtocol
  tiling: Tiling
  server_optimizer: optax.GradientTransformation
  unravel: Callable[[Array], Params]
  pruner: Pruner | None
  mask: str
  exempt_D: np.ndarray
  max_count: int
  min_contributors: int


class Report(NamedTuple):
  """What the audit of a round found, on the host.

  Attributes:
    wrong_servers: numbers of the servers that were left out, ascending.
    inconsistent_clients: numbers of the clients that were left out, ascending.
  """

  wrong_servers: tuple[int, ...] = ()
  inconsistent_clients: tuple[int, ...] = ()


class Collected(NamedTuple):
  """What the central server has when all clients have reported.

  Attributes:
    params_D: the pruned model that clients received.
    mask_D: bool [D], what clients of the last tier train and send, or None for
      everything.
    candidates_D: bool [D], those of them that are pruned but tried out; None
      where nothing grows back.
    kept: of `bands.kept_positions`, or None for everything.
    sums: what the servers report.
    checks_QxN: the audit's combinations of the sums; None without an audit.
  """

  params_D: Array
  mask_D: Array | None
  candidates_D: Array | None
  kept: Array | None
  sums: parallel.ClientSums
  checks_QxN: Array | None


class Round(NamedTuple):
  """A round in two steps, so that the host can work while devices do.

  Attributes:
    start: (state, plan, key, images, labels) -> `Collected`, being computed:
      the plan of the round, the run's root key, into which each round folds its
      number, and the training set, which stays on the devices.
    finish: (state, plan, key, images, labels, collected) -> (state, metrics,
      report), after `start` of the same arguments. The state is donated: it
      must not be used again. Waits for what is collected if it is audited.
    programs: arguments of `start` -> the jitted functions that a round calls,
      each with its arguments or their shapes, to be lowered or exported.
  """

  start: Callable[[RoundState, RoundPlan, Key, Array, Array], Collected]
  finish: Callable[
    [RoundState, RoundPlan, Key, Array, Array, Collected],
    tuple[RoundState, RoundMetrics, Report],
  ]
  programs: Callable[
    [RoundState, RoundPlan, Key, Array, Array],
    tuple[tuple[Any, tuple[Any, ...]], ...],
  ]


def make_round(method: Method, performance: Performance, mesh: Mesh) -> Round:
  """Returns the round: two compiled programs, and the audit between them.

  Guarantees:
    - a band that fewer than `min_contributors` clients share is not opened, nor
      audited: its parameters and the optimiser's state of them stay as they are
      (steps that Adam and Yogi count are counted for all);
    - each coordinate is divided by the weight of those that trained it;
    - if no client reports a finite update, the model and the optimiser's state
      stay as they are, but for pruning;
    - what the audit names does not influence the model: servers are left out
      of the reconstruction, and for clients the round is computed again without
      them;
    - given the clients' updates, the model is the same, bit for bit, on any
      number of devices and processes, but for sharing in the clear.

  Raises (`finish`):
    SharingError: if more servers are wrong than can be told apart.

  Args:
    method: the parts of a round.
    performance: chunk size and execution.
    mesh: the devices that clients are split over; see `fps_jax.devices`.
  """
  protocol, auditor = method.protocol, method.protocol.auditor
  tiling, pruner = method.tiling, method.pruner
  values_per_column, alignment = protocol.values_per_column, protocol.alignment

  def collect_here(
    state: RoundState,
    plan: RoundPlan,
    accepted_C: Array,
    key: Key,
    images: Array,
    labels: Array,
  ) -> Collected:
    params_D, mask_D, candidates_D, kept = state.params, None, None, None
    tier_masks: list[Array] = []
    select = own_masks.make_select(
      method.mask, state, plan.pruning.keep_count, method.exempt_D
    )
    plan = _set_keep_count(plan, state) if pruner is None else plan
    counts_at = bands.counts_at(plan.pruning.keep_counts_T, alignment)
    if pruner is not None:
      with jax.named_scope('prune'):
        if state.remembered is not None:
          params_D = state.remembered
        num_tiers = len(plan.pruning.keep_counts_T)
        *tier_masks, mask_D = [
          pruner.keep(params_D, plan.pruning, tier) for tier in range(num_tiers)
        ]
        params_D = jnp.where(mask_D, params_D, 0.0)
        if pruner.regrows:
          candidates_D = pruner.draw_candidates(
            mask_D,
            plan.pruning.num_candidates,
            device_key(key, Stream.REGROWTH, state.round),
          )
          mask_D = mask_D | candidates_D
        tier_masks.append(mask_D)
        kept = bands.kept_positions(
          tier_masks, counts_at, alignment, tiling.padded_size
        )

    def train(
      indices_SxB: Array, num_steps: Array, tier: Array
    ) -> ClientResult:
      received_D, trained_D = params_D, mask_D
      if len(tier_masks) > 1:
        trained_D = jnp.stack(tier_masks)[tier]
        received_D = jnp.where(trained_D, params_D, 0.0)
      return method.local_update(
        method.unravel(received_D),
        None if trained_D is None else method.unravel(trained_D),
        images,
        labels,
        indices_SxB,
        num_steps,
      )

    sums = parallel.sum_clients(
      train=train,
      protocol=protocol,
      tiling=tiling,
      plan=plan,
      accepted_C=accepted_C,
      kept=kept,
      max_count=method.max_count,
      round_key=device_key(key, Stream.UPDATE, state.round),
      performance=performance,
      select=select,
    )
    with jax.named_scope('sum'):
      sums = sharded.add_devices(protocol, sums)
    if protocol.distort is not None:
      sums = sums._replace(held=protocol.distort(sums.held, plan.keys))
    # Servers keep what is not opened to themselves: the audit opens some, too.
    num_columns = bands.num_open_columns(
      counts_at,
      values_per_column,
      sums.contributors_T >= method.min_contributors,
    )
    is_open_W = jnp.arange(sums.held.shape[1]) < num_columns
    sums = sums._replace(held=jnp.where(is_open_W, sums.held, 0))
    checks_QxN = None
    if auditor is not None:
      with jax.named_scope('audit'):
        checks_QxN = auditor.examine(
          sums.held,
          plan.keys.coins_Qx8,
          tiling.used(counts_at[-1]),
          tiling.columns,
        )
    return Collected(params_D, mask_D, candidates_D, kept, sums, checks_QxN)

  collect = jax.jit(sharded.on_mesh(mesh, protocol, collect_here))

  @functools.partial(jax.jit, donate_argnums=0)
  def step(
    state: RoundState,
    collected: Collected,
    pruning: PruningPlan,
    opening: PlanArray,
  ) -> tuple[RoundState, RoundMetrics]:
    params_D, mask_D, candidates_D, kept, sums, _ = collected
    keep_counts_T = pruning.keep_counts_T
    if pruner is None:
      keep_counts_T = np.array(params_D.shape, np.int32)
    counts_at = bands.counts_at(keep_counts_T, alignment)
    with jax.named_scope('reconstruct'):
      opened_M = protocol.open(sums.held, opening)
      counts = [protocol.decode_count(opened_M[place]) for place in counts_at]
      has_clients = [count > 0 for count in counts]
      weight_M = bands.weights(
        [
          jnp.where(has, count / method.max_count, 1.0)
          for has, count in zip(has_clients, counts, strict=True)
        ],
        counts_at,
        len(opened_M),
      )
      update_M = protocol.decode(opened_M) / weight_M
      moves = moves_D = has_clients[0]
      if kept is None:
        update_D = update_M[: len(params_D)]
      else:
        update_D = jnp.zeros_like(params_D).at[kept].set(update_M, mode='drop')
      if len(counts) > 1:
        moves_M = bands.weights(has_clients, counts_at, len(opened_M))
        moves_D = jnp.broadcast_to(moves_D, params_D.shape)
        moves_D = moves_D.at[kept].set(moves_M, mode='drop')
    with jax.named_scope('server'):
      stepped = server.apply_update(
        method.server_optimizer,
        params_D,
        state.optimizer_state,
        update_D,
        mask_D,
      )
      params_D, optimizer_state = jax.tree.map(
        lambda new, old: jnp.where(moves_D if new.ndim else moves, new, old),
        stepped,
        (params_D, state.optimizer_state),
      )
    remembered = state.remembered
    if mask_D is not None and remembered is not None:
      remembered = jnp.where(mask_D, params_D, remembered)
    if pruner is not None and mask_D is not None and candidates_D is not None:
      with jax.named_scope('prune'):
        regrown_D = pruner.regrow(
          params_D, candidates_D, mask_D & ~candidates_D, pruning
        )
        params_D = jnp.where(has_clients[-1], regrown_D, params_D)
    residuals = state.residuals
    if residuals is not None and sums.measures.residuals is not None:
      owners_C, values_CxD = sums.measures.residuals
      # JAX would read -1 as the last row.
      rows_C = jnp.where(owners_C < 0, len(residuals), owners_C)
      sent = residuals.at[rows_C].set(values_CxD, mode='drop')
      residuals = jnp.where(moves, sent, residuals)
    metrics = RoundMetrics(
      loss_sum=sums.measures.loss_sum,
      num_trained=sums.measures.num_trained,
      clipped_values=sums.measures.clipped,
      is_finite=sums.measures.is_finite,
    )
    state = RoundState(
      round=state.round + 1,
      params=params_D,
      remembered=remembered,
      residuals=residuals,
      optimizer_state=optimizer_state,
    )
    return state, metrics

  def everyone(plan: RoundPlan) -> np.ndarray:
    return np.ones(plan.cohort.client_ids.shape, bool)

  def start(
    state: RoundState, plan: RoundPlan, key: Key, images: Array, labels: Array
  ) -> Collected:
    return collect(state, plan, everyone(plan), key, images, labels)

  def programs(
    state: RoundState, plan: RoundPlan, key: Key, images: Array, labels: Array
  ) -> tuple[tuple[Any, tuple[Any, ...]], ...]:
    arguments = (state, plan, everyone(plan), key, images, labels)
    everywhere = NamedSharding(mesh, PartitionSpec())
    collected = jax.tree.map(
      lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=everywhere),
      jax.eval_shape(collect, *arguments),
    )
    return (
      (collect, arguments),
      (step, (state, collected, plan.pruning, plan.opening)),
    )

  def finish(
    state: RoundState,
    plan: RoundPlan,
    key: Key,
    images: Array,
    labels: Array,
    collected: Collected,
  ) -> tuple[RoundState, RoundMetrics, Report]:
    report = Report()
    if auditor is not None:
      inconsistent = _find_inconsistent(auditor, plan, collected.sums)
      if inconsistent:
        accepted = ~np.isin(plan.cohort.client_ids, inconsistent)
        collected = collect(state, plan, accepted, key, images, labels)
      wrong = auditor.find_wrong_servers(np.asarray(collected.checks_QxN))
      if wrong:
        opening = auditor.opening_without(wrong)
        plan = dataclasses.replace(plan, opening=opening)
      report = Report(wrong, inconsistent)
    state, metrics = step(state, collected, plan.pruning, plan.opening)
    return state, metrics, report

  return Round(start, finish, programs)


def _set_keep_count(plan: RoundPlan, state: RoundState) -> RoundPlan:
  """Returns the plan of a method that keeps all D: the count is not traced."""
  pruning = dataclasses.replace(
    plan.pruning, keep_counts_T=np.array(state.params.shape, np.int32)
  )
  return dataclasses.replace(plan, pruning=pruning)


def _find_inconsistent(
  auditor: Auditor, plan: RoundPlan, sums: parallel.ClientSums
) -> tuple[int, ...]:
  """Returns the clients of the round whose shares do not fit together."""
  if sums.measures.checks is None:
    return ()
  clients = np.asarray(plan.cohort.client_ids).tolist()
  checks = dict(zip(clients, np.asarray(sums.measures.checks), strict=True))
  checks.pop(-1, None)
  return auditor.find_inconsistent_clients(checks)[0]
