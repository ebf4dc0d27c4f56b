"""Tests of `fps_jax.federated.by_client` against clients one after another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fps_jax.core.devices import make_mesh
from fps_jax.core.types import Examples
from fps_jax.data.cohort import Batching, CohortPlanner
from fps_jax.federated import by_client
from fps_jax.federated.by_client import OwnTests, Personalisation
from fps_jax.federated.client import make_local_update
from fps_jax.federated.losses import cross_entropy
from fps_jax.federated.performance import Performance
from tests.helpers.cases import thorough
from tests.helpers.references import by_client as reference

NUM_TRAIN, NUM_TEST, WIDTH, NUM_CLASSES = 60, 80, 5, 3
LEARNING_RATE = 0.5
IS_RIGHT = cross_entropy().is_right
_rng = np.random.default_rng(0)


def draw(count: int) -> Examples:
  inputs = _rng.normal(size=(count, WIDTH)).astype(np.float32)
  return Examples(inputs, inputs[:, :NUM_CLASSES].argmax(1).astype(np.int32))


TRAIN, TEST = draw(NUM_TRAIN), draw(NUM_TEST)
PARAMS_D = _rng.normal(size=WIDTH * NUM_CLASSES).astype(np.float32)
# Clients of many sizes; the third has nothing to be tested on.
OWNED = np.split(_rng.permutation(NUM_TRAIN).astype(np.int32), [4, 30, 41, 55])
TESTS = OwnTests(TEST, np.split(np.arange(NUM_TEST), [9, 15, 15, 51]))


def unravel(params_D):
  return {'kernel': params_D.reshape(WIDTH, NUM_CLASSES)}


def apply(params, inputs):
  return inputs @ params['kernel']


def own_of(client: int, tests: OwnTests = TESTS) -> Examples:
  rows = tests.rows[client]
  return Examples(tests.examples.inputs[rows], tests.examples.targets[rows])


@pytest.mark.parametrize('batch_size', [1, 7, NUM_TEST, NUM_TEST + 1])
def test_counts_of_the_global_model_are_those_of_clients_one_by_one(batch_size):
  count = by_client.make_count_right(
    apply, IS_RIGHT, unravel, TESTS, batch_size, make_mesh()
  )
  expected = [
    reference.count_right(apply, unravel(PARAMS_D), own_of(client))
    for client in range(5)
  ]
  assert count(jnp.asarray(PARAMS_D)).tolist() == expected
  assert expected[2] == 0 < min(expected[:2] + expected[3:])


def test_targets_of_a_sequence_count_each_but_padding():
  inputs = _rng.normal(size=(6, 4, WIDTH)).astype(np.float32)
  targets = _rng.integers(NUM_CLASSES, size=(6, 4), dtype=np.int32)
  targets[1, 2:] = targets[4, :] = -1
  tests = OwnTests(Examples(inputs, targets), [np.arange(3), np.arange(3, 6)])
  count = by_client.make_count_right(
    apply, IS_RIGHT, unravel, tests, 4, make_mesh()
  )
  guessed = (inputs @ PARAMS_D.reshape(WIDTH, NUM_CLASSES)).argmax(-1)
  expected = (guessed == targets).reshape(2, -1).sum(axis=1)
  assert count(jnp.asarray(PARAMS_D)).tolist() == expected.tolist()


def personal(execution: str, exempt_D: np.ndarray | None, batch_size: int):
  planner = CohortPlanner(OWNED, 0, len(OWNED), Batching(4, epochs=2))
  how = Personalisation(
    apply,
    IS_RIGHT,
    unravel,
    make_local_update(apply, optax.sgd(LEARNING_RATE)),
    exempt_D,
    planner.plan(0),
    jax.random.key(0),
    Performance(chunk_size=2, execution=execution),
  )
  return how, by_client.make_count_personal_right(
    how, TESTS, batch_size, make_mesh()
  )


@pytest.mark.slow
@pytest.mark.parametrize('execution', [thorough('vmap'), 'sequential'])
@pytest.mark.parametrize('batch_size', [thorough(4), 100])
def test_counts_of_personal_models_are_those_of_clients_one_by_one(
  execution, batch_size
):
  is_kept = np.arange(len(PARAMS_D)) % 4 == 0
  pruned_D = np.where(is_kept, PARAMS_D, 0)
  found = {}
  for exempt_D in (None, np.zeros(len(PARAMS_D), bool)):
    how, count = personal(execution, exempt_D, batch_size)
    mask_D = np.ones_like(is_kept) if exempt_D is None else is_kept
    found[exempt_D is None] = expected = reference.count_personal_right(
      apply,
      unravel,
      pruned_D,
      mask_D,
      how.plan,
      TRAIN,
      TESTS,
      LEARNING_RATE,
    )
    assert count(jnp.asarray(pruned_D), 0, TRAIN).tolist() == expected
  # What is pruned stays so, which these clients tell from its being trained.
  assert found[True] != found[False]


@pytest.mark.slow
def test_parameters_that_are_exempt_are_trained_though_they_are_zero():
  zeros_D = np.zeros_like(PARAMS_D)
  _, count = personal('vmap', np.ones(len(zeros_D), bool), 100)
  _, dense = personal('vmap', None, 100)
  _, frozen = personal('vmap', np.zeros(len(zeros_D), bool), 100)
  of_all = [
    each(jnp.asarray(zeros_D), 0, TRAIN).tolist()
    for each in (count, dense, frozen)
  ]
  assert of_all[0] == of_all[1] != of_all[2]
