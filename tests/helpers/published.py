"""Small rounds as those see them who have what was published of them."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from fps_jax.federated import layout
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from tests.helpers import small


class Seen(NamedTuple):
  """Two models that were published, and what is public of the round between.

  Attributes:
    before_D: the model before the round.
    after_D: the one after it.
    masks_TxD: what each tier of the round keeps of `before_D`.
    opened_M: words, what the central server opens.
    plan: of the round.
    planner: what drew its cohort.
    codec: of its values.
  """

  before_D: np.ndarray
  after_D: np.ndarray
  masks_TxD: np.ndarray
  opened_M: np.ndarray
  plan: Any
  planner: Any
  codec: Codec


def mean_of(seen: Seen) -> np.ndarray:
  """Returns the mean update, as two models tell: the step of `sgd` is 1."""
  return seen.after_D - np.where(seen.masks_TxD[-1], seen.before_D, 0)


def is_present(seen: Seen) -> np.ndarray:
  """Returns which rows of the plan are not padding."""
  return seen.plan.cohort.client_ids >= 0


def opened_counts(seen: Seen) -> list[int]:
  """Returns the sample counts that are opened, of each band."""
  places = layout.counts_at(seen.plan.pruning.keep_counts_T, 1)
  return [int(seen.opened_M[place]) for place in places]


def run_round(config: Any, tiers: tuple[int, ...]) -> Seen:
  """Runs a round by `config`, whose clients are of these tiers."""
  config.pruning.schedule = 'constant'
  assert config.cohort.weighting == 'examples'
  assert (config.server.optimizer, config.server.learning_rate) == ('sgd', 1)
  simulation = small.make(config)
  state, plan = simulation.init_state(), simulation.plan(0)
  tiers_C = np.zeros_like(plan.cohort.tiers)
  tiers_C[plan.cohort.client_ids >= 0] = tiers
  cohort = dataclasses.replace(plan.cohort, tiers=tiers_C)
  plan = dataclasses.replace(plan, cohort=cohort)
  before_D, data = np.array(state.params), simulation.put_data()
  collected = simulation.start(state, plan, data)
  received = collected.received
  masks_TxD = received.masks_TxD
  if masks_TxD is None:
    masks_TxD = received.mask_D[None]
  masks_TxD = np.array(masks_TxD)
  opened_M = simulation.protocol.open(collected.sums.held, plan.opening)
  opened_M = np.array(opened_M)
  state, _, _ = simulation.finish(state, plan, data, collected)
  planner = simulation.planner
  codec = Codec(
    PrimeField(config.sharing.prime),
    clip=config.sharing.clip,
    value_bits=config.sharing.value_bits,
    max_clients=planner.cohort_size,
    max_count=planner.max_count,
  )
  after_D = np.asarray(state.params)
  return Seen(before_D, after_D, masks_TxD, opened_M, plan, planner, codec)


@functools.cache
def plain() -> Seen:
  """Returns a round of FedPruneShare."""
  return run_round(small.make_config(), 8 * (0,))


@functools.cache
def tiered() -> Seen:
  """Returns a round of one client of the first tier and seven of the last."""
  config = small.make_config(
    pruning__tiers=(0.2, 1.0),
    profiles__distribution='same',
    profiles__deadline_seconds=1e6,
    sharing__scheme='ideal',
  )
  return run_round(config, (0, *7 * (1,)))


def total_by_trial(mean_M: np.ndarray, seen: Seen) -> int:
  """Returns the total count that entries of a mean are whole numbers over.

  Args:
    mean_M: float32 [M], of the clients that share a band.
    seen: what is public of the round.
  """
  largest = seen.planner.max_count * seen.planner.cohort_size
  mean_M = mean_M / (seen.codec.step * seen.planner.max_count)
  mean_M = mean_M[np.abs(mean_M) > 0.5 / largest]
  assert len(mean_M) > 20

  def fits(total: int) -> bool:
    whole_M = np.round(mean_M * total)
    return bool(
      np.all(whole_M != 0) and np.all(np.abs(mean_M * total - whole_M) < 0.05)
    )

  return next(filter(fits, range(1, largest + 1)))
