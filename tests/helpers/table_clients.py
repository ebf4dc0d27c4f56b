"""A sum over clients whose training looks its result up in a table."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import CohortPlan, PruningPlan, RoundPlan
from fps_jax.federated import layout
from fps_jax.federated.client import ClientResult
from fps_jax.federated.contributions import Summation
from fps_jax.federated.performance import Performance
from fps_jax.federated.sums import ClientSums, train_and_sum
from fps_jax.sharing import randomness
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.floats import Floats
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.ideal import IdealSum
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir
from tests.helpers import small

FIELD = PrimeField(2**31 - 1)
# The step is 1 / 1024: multiples of it are encoded without any rounding.
CODEC = Codec(FIELD, clip=127 / 1024, value_bits=8, max_clients=20, max_count=8)
PROTOCOLS = {
  'none': SumProtocol(Floats()),
  'ideal': IdealSum(CODEC),
  'shamir': ShamirSum(CODEC, Shamir(FIELD, 3, 2), (1, 3)),
  'updates': ShamirSum(CODEC, Shamir(FIELD, 3, 2), (3, 2), 'updates'),
}
SHARED = ['ideal', 'shamir', 'updates']
PERFORMANCES = [
  Performance(chunk_size, execution)
  for chunk_size, execution in itertools.product(
    (1, 2, 10, 100), ('vmap', 'sequential')
  )
]

TILE = 16
NUM_PARAMS = 40  # Two tiles and a half.
SIZE = 3 * TILE
TILING = layout.Tiling(NUM_PARAMS, values_per_column=1, columns=TILE)
MAX_COUNT = 8
# The rows of the plan; the last two are padding.
CLIENT_IDS = np.array([7, 3, 11, 0, 5, -1, -1], np.int32)
NUM_EXAMPLES = np.array([8, 4, 2, 8, 1, 0, 0], np.int32)
PRESENT = CLIENT_IDS >= 0
KEY = jax.random.key(5)
ROOT = randomness.root_key(5)


def make_plan(order: list[int] | None = None) -> CohortPlan:
  """Returns a plan whose rows of training data are the client's number."""
  order = list(range(len(CLIENT_IDS))) if order is None else order
  client_ids = CLIENT_IDS[order]
  return CohortPlan(
    client_ids=client_ids,
    indices=np.broadcast_to(client_ids[:, None, None], (len(order), 2, 3)),
    num_steps=np.where(client_ids >= 0, 2, 0).astype(np.int32),
    num_examples=NUM_EXAMPLES[order],
    tiers=np.zeros(len(order), np.int32),
    malicious=np.zeros(len(order), bool),
  )


def make_round_plan(
  scheme: str, cohort: CohortPlan, keep_count: int
) -> RoundPlan:
  chosen = PROTOCOLS[scheme]
  keys = None
  if chosen.make_keys:
    keys = chosen.make_keys(ROOT, 0, np.asarray(cohort.client_ids))
  return RoundPlan(
    cohort=cohort,
    pruning=PruningPlan(
      keep_counts_T=jnp.asarray([keep_count], jnp.int32),
      num_candidates=np.int32(0),
      num_regrown=np.int32(0),
      layer_counts_TxA=None,
    ),
    opening=chosen.opening,
    keys=keys,
  )


def make_lone_plan(client: int) -> CohortPlan:
  """Returns a plan in which one client, with the largest weight, reports."""
  client_ids = np.full(len(CLIENT_IDS), -1, np.int32)
  client_ids[0] = client
  return dataclasses.replace(
    make_plan(), client_ids=client_ids, num_examples=np.full_like(client_ids, 8)
  )


def make_deltas(multiple_of: float | None = None) -> np.ndarray:
  """Returns float32 [12, D]: a client's delta, by its number.

  The last row, which -1 reads, must never be seen: nobody has number 12.

  Args:
    multiple_of: if given, every delta is a multiple of it.
  """
  rng = np.random.default_rng(0)
  deltas = rng.uniform(-0.12, 0.12, size=(13, NUM_PARAMS))
  if multiple_of is not None:
    deltas = np.round(deltas / multiple_of) * multiple_of
  deltas[12] = 1e3
  return deltas.astype(np.float32)


def make_summation(
  scheme: str,
  plan: RoundPlan,
  kept: jax.Array | None,
  key: jax.Array,
  performance: Performance,
) -> Summation:
  return Summation(
    protocol=PROTOCOLS[scheme],
    tiling=TILING,
    plan=plan,
    counts_at=layout.counts_at(plan.pruning.keep_counts_T, alignment=1),
    kept=kept,
    max_count=MAX_COUNT,
    round_key=key,
    performance=performance,
  )


@functools.cache
def compile_sum(scheme: str, performance: Performance):
  """Returns the sum over clients whose training looks up its result."""

  def sum_table(table, plan, accepted, kept, key):
    def train(row):
      client = row.indices[0, 0]
      return ClientResult(
        delta=table[client],
        loss_sum=client.astype(jnp.float32) / 2,
        num_trained=(row.num_steps * 3 + client).astype(jnp.float32),
      )

    return train_and_sum(
      train=train,
      summation=make_summation(scheme, plan, kept, key, performance),
      accepted_C=accepted,
    )

  # Sharing takes long to optimise and is exact either way.
  is_shared = PROTOCOLS[scheme].opening is not None
  return (jax.jit if is_shared else small.full_jit)(sum_table)


def run(
  deltas: np.ndarray,
  scheme: str = 'ideal',
  performance: Performance = PERFORMANCES[3],
  plan: CohortPlan | None = None,
  kept: np.ndarray | None = None,
  keep_count: int = NUM_PARAMS,
  key: jax.Array = KEY,
  accepted: np.ndarray | None = None,
) -> ClientSums:
  cohort = make_plan() if plan is None else plan
  everyone = np.ones(len(cohort.client_ids), bool)
  accepted = everyone if accepted is None else accepted
  compiled = compile_sum(scheme, performance)
  plan_of_round = make_round_plan(scheme, cohort, keep_count)
  return compiled(deltas, plan_of_round, accepted, kept, key)


def opened(
  scheme: str, sums: ClientSums, keep_count: int = NUM_PARAMS
) -> tuple[np.ndarray, float]:
  """Returns the sums of the values and of the counts; the rest must be 0."""
  chosen = PROTOCOLS[scheme]
  words = chosen.open(sums.held, chosen.opening)
  values = np.asarray(chosen.decode(words))
  assert values.shape == (SIZE,)
  np.testing.assert_array_equal(values[keep_count + 1 :], 0)
  count = np.asarray(chosen.decode_count(words))[keep_count]
  return values[:keep_count], float(count)


def weighted_sum(deltas: np.ndarray, rows: np.ndarray = PRESENT) -> np.ndarray:
  """Returns what the servers should open: a loop over clients, in float64."""
  total = np.zeros(deltas.shape[1])
  for client, count in zip(CLIENT_IDS[rows], NUM_EXAMPLES[rows], strict=True):
    total += deltas[client].astype(np.float64) * count / MAX_COUNT
  return total


def padded_positions(positions: list[int]) -> np.ndarray:
  fill = [NUM_PARAMS] * (SIZE - len(positions))
  return np.array([*positions, *fill], np.int32)
