"""Runs of canaries: an audit of what is promised, by what can be guessed.

Every client is a canary. In each round its update is a vector of random signs,
far beyond any bound, or nothing, as a coin says that is tossed once. Whoever
knows the vectors looks for them in how the model has moved. So a bound that
does not bound, and noise that is too little or not there, would be seen; what
is wrong in training would not.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fps_jax.core.types import Array, Examples, Key, Params
from fps_jax.federated.client import ClientResult, ClientWork, LocalUpdate
from fps_jax.federated.method import Method
from fps_jax.federated.round import make_round
from fps_jax.privacy import audit
from fps_jax.runs.simulation import Simulation

# Of each value: the clip has to bring it down.
_FAR = 1e6


class Audit(NamedTuple):
  """What an audit found.

  Attributes:
    lower_bound: epsilon is above it, with the confidence that was asked for.
    claimed: what is promised; a `lower_bound` above it refutes that.
    num_right: of the guesses.
  """

  lower_bound: float
  claimed: float
  num_right: int


def with_canaries(
  simulation: Simulation, key: Key, is_in_C: np.ndarray
) -> Simulation:
  """Returns a run whose clients are canaries.

  Args:
    simulation: a private run, in which all clients take part in every round.
    key: what their vectors are drawn by; may be used again.
    is_in_C: bool [C], which clients contribute, by their numbers.
  """
  method = simulation.round.method
  return dataclasses.replace(
    simulation,
    round=make_round(
      method._replace(local_update=_make_canary(method, key, is_in_C)),
      simulation.mesh,
    ),
  )


def find_canaries(
  key: Key, num_clients: int, moved_D: np.ndarray
) -> np.ndarray:
  """Returns how far a model has moved along each vector, float32 [C].

  Args:
    key: of `with_canaries`.
    num_clients: C.
    moved_D: float32 [D], the model less what it was.
  """

  def score(client: Array) -> Array:
    return jnp.dot(_signs(key, client, len(moved_D)), moved_D)

  return np.asarray(jax.lax.map(score, jnp.arange(num_clients)))


def run_audit(
  simulation: Simulation,
  num_rounds: int,
  num_guesses: int,
  seed: int,
  confidence: float = 0.95,
) -> Audit:
  """Returns what can be guessed of clients in a run of canaries.

  Args:
    simulation: a private run, in which all clients take part in every round:
      `privacy.neighbours='zero_out'` is what is tested.
    num_rounds: rounds to run, at most those that are planned.
    num_guesses: as of `audit.count_right`.
    seed: of coins and vectors.
    confidence: as of `audit.lower_bound`.

  Raises:
    ValueError: if the run promises nothing, not this, or not to all clients.
  """
  ledger, planner = simulation.accounts.ledger, simulation.planner
  num_clients = len(planner.partition)
  if ledger is None or ledger.relation != 'zero_out':
    raise ValueError(
      'a canary contributes or does not: audit a run with privacy.mode other '
      "than 'none' and privacy.neighbours='zero_out'"
    )
  if planner.cohort_size != num_clients:
    raise ValueError(
      f'cohort.size={planner.cohort_size} of {num_clients} clients: a canary '
      'that is not drawn leaves no trace; draw them all'
    )
  key = jax.random.key(seed)
  is_in_C = np.random.default_rng(seed).random(num_clients) < 0.5
  canaries = with_canaries(simulation, key, is_in_C)
  state, data = canaries.init_state(), canaries.put_data()
  before_D = np.array(state.params)
  for r in range(num_rounds):
    plan = canaries.plan(r)
    started = canaries.start(state, plan, data)
    state, _, _ = canaries.finish(state, plan, data, started)
  after_D = np.asarray(state.params)
  # That the central server prunes a weight is no trace of anybody.
  moved_D = np.where(after_D, after_D - before_D, 0)
  scores_C = find_canaries(key, num_clients, moved_D)
  num_right = audit.count_right(scores_C, is_in_C, num_guesses)
  bound = audit.lower_bound(
    num_clients, num_guesses, num_right, ledger.delta, confidence
  )
  return Audit(bound, ledger.epsilon(num_rounds), num_right)


def _signs(key: Key, client: Array | int, num_params: int) -> Array:
  own = jax.random.fold_in(key, client)
  return jax.random.rademacher(own, (num_params,), jnp.float32)


def _make_canary(method: Method, key: Key, is_in_C: np.ndarray) -> LocalUpdate:
  """Returns the training of canaries, which are none."""

  def local_update(
    params: Params, mask: Params | None, examples: Examples, work: ClientWork
  ) -> ClientResult:
    del examples
    params_D, _ = ravel_pytree(params)
    # As rows of padding have none, they read somebody's, and add nothing.
    signs_D = _signs(key, work.client_id, len(params_D))
    if mask is not None:
      signs_D = jnp.where(ravel_pytree(mask)[0], signs_D, 0.0)
    is_in = jnp.asarray(is_in_C)[work.client_id]
    delta_D = jnp.where(is_in, _FAR * signs_D, 0.0)
    zero = jnp.zeros((), jnp.float32)
    return ClientResult(method.unravel(delta_D), zero, zero)

  return local_update
