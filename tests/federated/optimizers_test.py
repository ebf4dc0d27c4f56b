"""Tests of the clients' optimisers, all that are registered."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fps_jax.core.types import Examples
from fps_jax.federated import optimizers
from fps_jax.federated.client import ClientWork, make_local_update
from fps_jax.federated.optimizers import OPTIMIZERS, sgd

_rng = np.random.default_rng(0)
EXAMPLES = Examples(
  _rng.normal(size=(6, 4)).astype(np.float32), np.int32([0, 1, 2, 0, 1, 2])
)
KEPT = {
  'kernel': _rng.random((4, 3)) < 0.5,
  'bias': np.array([True, False, True]),
}
PARAMS = {
  'kernel': _rng.normal(size=(4, 3)).astype(np.float32),
  'bias': _rng.normal(size=3).astype(np.float32),
}
PRUNED = jax.tree.map(np.multiply, PARAMS, KEPT)
BATCHES = np.int32([[0, 1, 2], [-1, -1, -1], [3, 4, -1]])

all_optimizers = pytest.mark.parametrize('name', OPTIMIZERS)


def apply(params, inputs):
  return inputs @ params['kernel'] + params['bias']


def train(optimizer, batches=BATCHES, params=PRUNED, mask=KEPT):
  work = ClientWork(jnp.asarray(batches), np.int32(len(batches)))
  examples = jax.tree.map(jnp.asarray, EXAMPLES)
  return make_local_update(apply, optimizer)(params, mask, examples, work)


def make(name):
  return optimizers.make(name, 0.1, {})


@all_optimizers
def test_masked_parameters_stay_0_and_steps_of_padding_change_nothing(name):
  trained = jax.jit(lambda batches: train(make(name), batches).delta)
  delta = trained(BATCHES)
  for leaf, kept in zip(
    jax.tree.leaves(delta), jax.tree.leaves(KEPT), strict=True
  ):
    assert np.all(np.asarray(leaf)[~kept] == 0)
    assert np.all(np.isfinite(leaf))
    assert np.any(np.asarray(leaf)[kept] != 0)
  moved = BATCHES[[1, 0, 2]]
  jax.tree.map(np.testing.assert_array_equal, trained(moved), delta)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw', 'lion', 'yogi'])
def test_training_is_optax_own_steps_with_a_fresh_state(name):
  batches = np.int32([[0, 1, 2], [3, 4, 5]])
  function = getattr(optax, name)

  def loss(params, rows):
    logits = apply(params, EXAMPLES.inputs[rows])
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(
        logits, EXAMPLES.targets[rows]
      )
    )

  optimizer, params = function(0.1), jax.tree.map(jnp.asarray, PARAMS)
  state = optimizer.init(params)
  for rows in batches:
    updates, state = optimizer.update(
      jax.grad(loss)(params, rows), state, params
    )
    params = optax.apply_updates(params, updates)
  expected = jax.tree.map(jnp.subtract, params, PARAMS)
  found = train(make(name), batches, PARAMS, None).delta
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    found,
    expected,
  )


def test_optimiser_that_moves_what_has_no_gradient_is_held_back():
  noisy = optax.GradientTransformation(
    lambda params: optax.EmptyState(),
    lambda updates, state, params=None: (
      jax.tree.map(jnp.ones_like, updates),
      state,
    ),
  )
  OPTIMIZERS['noisy'] = lambda learning_rate: noisy
  try:
    delta = train(make('noisy')).delta
  finally:
    del OPTIMIZERS['noisy']
  jax.tree.map(
    lambda leaf, kept: np.testing.assert_allclose(leaf, 2.0 * kept, rtol=1e-6),
    delta,
    KEPT,
  )


def test_sgd_is_as_it_is_and_adds_no_mask_to_the_program():
  def program(optimizer):
    return str(jax.make_jaxpr(lambda: train(optimizer).delta)())

  own = program(optax.sgd(0.1))
  assert program(make('sgd')) == own
  assert program(make('adam')) != program(optax.adam(0.1))


def test_sgd_without_momentum_keeps_no_state():
  params = jax.tree.map(jnp.asarray, PARAMS)
  assert not jax.tree.leaves(sgd(0.1).init(params))
  assert jax.tree.leaves(sgd(0.1, momentum=0.5).init(params))


def test_unknown_optimiser_and_argument_are_named():
  with pytest.raises(ValueError, match=r"'adm' is not one of .*'adam'"):
    optimizers.make('adm', 0.1, {})
  with pytest.raises(ValueError, match=r"'adam' takes the arguments .*beta"):
    optimizers.make('adam', 0.1, {'beta': 0.9})
