"""Tests of `fps_jax.federated.server` against the optimisers in NumPy."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fps_jax.federated import server

NAMES = sorted(server.OPTIMIZERS)
D, ROUNDS = 6, 5
LEARNING_RATE, MOMENTUM = 0.3, 0.8

_rng = np.random.default_rng(0)
PARAMS = _rng.normal(size=D).astype(np.float32)
UPDATES = _rng.normal(size=(ROUNDS, D)).astype(np.float32) / 10
LONG_UPDATES = _rng.normal(0.01, 0.01, size=(59, D)).astype(np.float32)


def run(name: str, masks: list[np.ndarray | None]) -> list[np.ndarray]:
  """Returns the parameters after each round."""
  optimizer = server.make_optimizer(name, LEARNING_RATE, MOMENTUM)
  params = jnp.asarray(PARAMS)
  state = optimizer.init(params)
  history = []
  for update, mask in zip(UPDATES, masks, strict=True):
    if mask is not None:  # As a round does: prune, train, update.
      params = jnp.where(mask, params, 0.0)
      update = np.where(mask, update, 0)
    params, state = server.apply_update(
      optimizer, params, state, jnp.asarray(update), mask
    )
    history.append(np.asarray(params))
  return history


def run_algorithm_2(
  name: str, updates: np.ndarray, learning_rate: float, momentum: float
) -> np.ndarray:
  """Returns the parameters after some rounds of the paper's algorithm.

  S. Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2, an
  entry at a time in float64. Updates have their sign: eta is added.
  """
  tau, beta_2 = 1e-3, 0.99
  result = []
  for x, deltas in zip(PARAMS.tolist(), updates.T.tolist(), strict=True):
    m, v = 0.0, tau**2
    for delta in deltas:
      m = momentum * m + (1 - momentum) * delta
      if name == 'fedadagrad':
        v = v + delta**2
      elif name == 'fedyogi':
        v = v - (1 - beta_2) * delta**2 * np.sign(v - delta**2)
      else:
        v = beta_2 * v + (1 - beta_2) * delta**2
      x = x + learning_rate * m / (math.sqrt(v) + tau)
    result.append(x)
  return np.array(result)


def run_reference(name: str) -> np.ndarray:
  """Returns the parameters after every round, in float64."""
  if name.startswith('fed'):
    return run_algorithm_2(name, UPDATES, LEARNING_RATE, MOMENTUM)
  params = PARAMS.astype(np.float64)
  b1, b2, eps = MOMENTUM, 0.99, 1e-3
  # Optax starts Yogi's moments at 1e-6.
  start = 1e-6 if name == 'yogi' else 0.0
  first, second = np.full(D, start), np.full(D, start)
  for t, update in enumerate(UPDATES.astype(np.float64), start=1):
    gradient = -update
    if name == 'sgd':
      params = params - LEARNING_RATE * gradient
      continue
    if name == 'momentum':
      first = MOMENTUM * first + gradient
      params = params - LEARNING_RATE * first
      continue
    first = b1 * first + (1 - b1) * gradient
    square = gradient**2
    if name == 'adam':
      second = b2 * second + (1 - b2) * square
    else:
      second = second - (1 - b2) * np.sign(second - square) * square
    unbiased_first, unbiased_second = first / (1 - b1**t), second / (1 - b2**t)
    params = params - LEARNING_RATE * unbiased_first / (
      np.sqrt(unbiased_second) + eps
    )
  return params


@pytest.mark.parametrize('name', NAMES)
def test_every_optimizer_equals_its_formula(name: str):
  assert NAMES == [
    'adam',
    'fedadagrad',
    'fedadam',
    'fedyogi',
    'momentum',
    'sgd',
    'yogi',
  ]
  params = run(name, [None] * ROUNDS)[-1]
  np.testing.assert_allclose(params, run_reference(name), rtol=1e-4, atol=1e-5)


def run_59_steps(name: str) -> np.ndarray:
  optimizer = server.make_optimizer(name, 0.1, 0.9)
  params = jnp.asarray(PARAMS)
  state = optimizer.init(params)
  for update in LONG_UPDATES:
    params, state = server.apply_update(
      optimizer, params, state, jnp.asarray(update), None
    )
  return np.asarray(params)


@pytest.mark.parametrize('name', ['fedadagrad', 'fedadam', 'fedyogi'])
def test_fed_optimizer_is_algorithm_2_of_the_paper_for_59_steps(name: str):
  expected = run_algorithm_2(name, LONG_UPDATES.astype(np.float64), 0.1, 0.9)
  np.testing.assert_allclose(run_59_steps(name), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['adam', 'yogi'])
def test_bias_correction_makes_another_algorithm_of_it(name: str):
  moved = run_59_steps(name) - PARAMS
  of_paper = run_59_steps(f'fed{name}') - PARAMS
  assert np.linalg.norm(moved - of_paper) > 0.2 * np.linalg.norm(of_paper)


@pytest.mark.parametrize('name', ['fedadagrad', 'fedadam', 'fedyogi'])
@pytest.mark.parametrize('num_pruned_rounds', [1, 3])
def test_what_comes_back_without_being_tried_out_moves_as_in_the_first_round(
  name: str, num_pruned_rounds: int
):
  """As with pruning.server='dense': its second moment is tau^2 again."""
  optimizer = server.make_optimizer(name, LEARNING_RATE, MOMENTUM)
  mask = np.array([True, False] * (D // 2))
  params, update = jnp.asarray(PARAMS), jnp.asarray(UPDATES[0])
  first, state = server.apply_update(
    optimizer, params, optimizer.init(params), update, None
  )
  for _ in range(num_pruned_rounds):
    _, state = server.apply_update(
      optimizer, params, state, jnp.where(mask, update, 0), jnp.asarray(mask)
    )
  again, _ = server.apply_update(
    optimizer, params, state, update, jnp.ones(D, bool)
  )
  np.testing.assert_array_equal(again[~mask], first[~mask])
  assert np.all(again[mask] != first[mask])


def test_sgd_with_learning_rate_one_adds_the_update():
  optimizer = server.make_optimizer('sgd', 1.0, momentum=0.9)
  params, _ = server.apply_update(
    optimizer,
    jnp.asarray(PARAMS),
    optimizer.init(jnp.asarray(PARAMS)),
    jnp.asarray(UPDATES[0]),
    None,
  )
  np.testing.assert_array_equal(params, PARAMS + UPDATES[0])


def test_sgd_does_not_use_the_momentum():
  optimizer = server.make_optimizer('sgd', 0.5, momentum=0.9)
  params = jnp.asarray(PARAMS)
  state = optimizer.init(params)
  for update in UPDATES:
    params, state = server.apply_update(
      optimizer, params, state, jnp.asarray(update), None
    )
  expected = PARAMS + 0.5 * UPDATES.sum(axis=0)
  np.testing.assert_allclose(params, expected, rtol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_pruned_entries_stay_exactly_zero(name: str):
  # Dense rounds first, so that there is momentum to move the pruned ones.
  mask = np.array([True, False] * (D // 2))
  after = run(name, [None, None, mask, mask, mask])
  for params in after[2:]:
    np.testing.assert_array_equal(params[~mask], 0)
    assert np.all(params[mask] != 0)
  # They would move otherwise, and the others do not notice.
  unmasked = run(name, [None] * ROUNDS)
  np.testing.assert_array_equal(after[-1][mask], unmasked[-1][mask])


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('num_pruned_rounds', [0, 1, 3])
def test_what_was_pruned_starts_anew_in_the_optimizer(
  name: str, num_pruned_rounds: int
):
  optimizer = server.make_optimizer(name, LEARNING_RATE, MOMENTUM)
  mask = np.array([True, False] * (D // 2))
  update = jnp.asarray(UPDATES[1])

  def come_back(first_update: jnp.ndarray) -> np.ndarray:
    """Returns the parameters when all are back, of which some began anew."""
    params = jnp.asarray(PARAMS)
    state = optimizer.init(params)
    _, state = server.apply_update(optimizer, params, state, first_update, None)
    for _ in range(num_pruned_rounds):
      _, state = server.apply_update(
        optimizer, params, state, jnp.where(mask, update, 0), jnp.asarray(mask)
      )
    # Without a round outside the mask they are candidates at once.
    params, _ = server.apply_update(
      optimizer, params, state, update, jnp.ones(D, bool), jnp.asarray(~mask)
    )
    return np.asarray(params)

  one, other = come_back(jnp.asarray(UPDATES[0])), come_back(-update)
  np.testing.assert_array_equal(one[~mask], other[~mask])
  assert name == 'sgd' or np.all(one[mask] != other[mask])


@pytest.mark.slow
def test_state_that_is_not_one_value_a_parameter_is_kept_as_it_is():
  optimizer = optax.chain(optax.scale_by_lbfgs(), optax.scale(-0.1))
  params, mask = jnp.asarray(PARAMS), np.array([True, False] * (D // 2))
  state = optimizer.init(params)
  for update in UPDATES:
    params, state = server.apply_update(
      optimizer, params, state, jnp.asarray(update), mask
    )
  assert np.all(np.isfinite(params))
  np.testing.assert_array_equal(params[~mask], PARAMS[~mask])


@pytest.mark.parametrize('name', sorted({*NAMES} - {'sgd'}))
def test_momentum_would_move_pruned_entries_without_a_mask(name: str):
  optimizer = server.make_optimizer(name, LEARNING_RATE, MOMENTUM)
  params = jnp.asarray(PARAMS)
  state = optimizer.init(params)
  _, state = server.apply_update(
    optimizer, params, state, jnp.asarray(UPDATES[0]), None
  )
  zeros = jnp.zeros(D)
  moved, _ = server.apply_update(optimizer, zeros, state, zeros, None)
  assert np.all(moved != 0)
  mask = np.zeros(D, bool)
  kept, _ = server.apply_update(optimizer, zeros, state, zeros, mask)
  np.testing.assert_array_equal(kept, zeros)


@pytest.mark.parametrize('name', NAMES)
def test_every_optimizer_moves_along_the_update(name: str):
  moved = run(name, [None] * ROUNDS)[0] - PARAMS
  np.testing.assert_array_equal(np.sign(moved), np.sign(UPDATES[0]))


def test_unknown_name_raises_and_lists_the_known_ones():
  with pytest.raises(ValueError, match="'sdg' is not one of") as caught:
    server.make_optimizer('sdg', 1.0, 0.0)
  assert str(NAMES) in str(caught.value)
