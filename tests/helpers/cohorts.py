"""Cohorts of a few clients in every possible state, which all tests share."""

import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np

from fps_jax.attacks import updates

NUM_CLIENTS, NUM_VALUES = 4, 6
NUM_STATES = 4**NUM_CLIENTS
# Of every attack; tests share them where they can, as each other one is
# compiled by itself.
USUAL = {
  'alie': {},
  'ascent': {'steps': 3},
  'gaussian': {'deviation_factor': 3.0},
  'hidden': {'deviations': 1.0},
  'ipm': {'epsilon': 1.1},
  'mimic': {'target': 'variance'},
  'min_max': {'direction': 'unit'},
  'min_sum': {'direction': 'unit'},
  'scaling': {'factor': 4.0},
  'sign_flip': {'scale': 2.0},
  'trusted_direction': {'cosine': 0.6},
  'wrap_around': {'limit': 1e9},
}


class Cohorts(NamedTuple):
  """Clients in some states, one state a row.

  Attributes:
    updates: float32 [states, C, M], NaN where a client is not present.
    malicious: bool [states, C].
    present: bool [states, C].
  """

  updates: np.ndarray
  malicious: np.ndarray
  present: np.ndarray


@functools.cache
def every_cohort() -> Cohorts:
  """Returns every choice of malicious and present clients."""
  choices = itertools.product((False, True), repeat=2 * NUM_CLIENTS)
  states = np.array(list(choices))
  malicious, present = states[:, :NUM_CLIENTS], states[:, NUM_CLIENTS:]
  rng = np.random.default_rng(0)
  shape = (len(states), NUM_CLIENTS, NUM_VALUES)
  # Not centred, and more varied in some entries than in others.
  values = 0.3 + rng.normal(size=shape) * 0.5 ** np.arange(NUM_VALUES)
  values[~present] = np.nan
  return Cohorts(np.float32(values), malicious, present)


@functools.cache
def compiled(name: str, **args):
  """Returns an attack on many states, compiled once: who lies is traced."""
  return jax.jit(jax.vmap(updates.make(name, **args), (0, 0, 0, None)))


def run(cohorts: Cohorts, name: str, seed: int = 0, **args) -> np.ndarray:
  """Returns float32 [states, C, M], what all clients send.

  Arguments that are not given are the usual ones.
  """
  attack = compiled(name, **(USUAL[name] | args))
  return np.asarray(attack(*cohorts, jax.random.key(seed)))


def last_is_malicious(values: np.ndarray) -> Cohorts:
  """Returns present clients with some updates, the last one malicious.

  Args:
    values: of each state, or the same for all.
  """
  malicious = np.zeros((NUM_STATES, NUM_CLIENTS), bool)
  malicious[:, -1] = True
  shape = (*malicious.shape, NUM_VALUES)
  values = np.broadcast_to(np.float32(values), shape)
  return Cohorts(values, malicious, np.ones_like(malicious))


def run_every(name: str, **args):
  """Yields (honest [H, M], own [m, M], sent [m, M], n) of every attack.

  `own` are the updates of the present malicious clients, of whom there are
  some, `honest` those that count as honest, and n clients are present.
  """
  cohorts = every_cohort()
  sent = run(cohorts, name, **args)
  for values, malicious, present, crafted in zip(*cohorts, sent, strict=True):
    replaced, honest = malicious & present, present & ~malicious
    if replaced.any():
      counted = honest if honest.any() else replaced
      yield values[counted], values[replaced], crafted[replaced], present.sum()
