"""Tests of schedules of learning rates, against optax's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fps_jax.config.validate import validate
from fps_jax.federated import learning_rates, optimizers, server
from fps_jax.federated.learning_rates import factors, scheduled
from tests.helpers import small

ROUNDS, WARMUP = 12, 3
REST = ROUNDS - WARMUP
# Name, arguments, and optax's schedule of the rounds that are no warm-up.
SCHEDULES = [
  ('constant', {}, optax.constant_schedule(1.0)),
  (
    'cosine',
    {'final': 0.1},
    optax.cosine_decay_schedule(1.0, REST, alpha=0.1),
  ),
  ('linear', {'final': 0.2}, optax.linear_schedule(1.0, 0.2, REST)),
  (
    'step',
    {'every': 2, 'factor': 0.3},
    optax.exponential_decay(1.0, 2, 0.3, staircase=True),
  ),
  ('exponential', {'factor': 0.9}, optax.exponential_decay(1.0, 1, 0.9)),
]


@pytest.mark.parametrize(('name', 'args', 'expected'), SCHEDULES)
def test_factors_are_those_of_optax_after_a_linear_warm_up(
  name, args, expected
):
  warm = optax.linear_schedule(1 / (WARMUP + 1), 1.0, WARMUP)
  whole = optax.join_schedules([warm, expected], [WARMUP])
  np.testing.assert_allclose(
    factors(name, args, ROUNDS, WARMUP),
    [whole(r) for r in range(ROUNDS)],
    rtol=1e-5,
  )


def test_every_schedule_is_compared_to_optax():
  assert {name for name, *_ in SCHEDULES} == set(learning_rates.SCHEDULES)


def test_cosine_with_warm_up_is_optax_schedule_of_that_name():
  expected = optax.warmup_cosine_decay_schedule(
    1 / (WARMUP + 1), 1.0, WARMUP, ROUNDS
  )
  np.testing.assert_allclose(
    factors('cosine', {}, ROUNDS, WARMUP),
    [expected(r) for r in range(ROUNDS)],
    rtol=1e-5,
  )


def test_constant_schedule_is_the_optimiser_itself():
  optimizer = optax.sgd(0.1)
  assert factors('constant', {}, ROUNDS) is None
  assert scheduled(optimizer, None) is optimizer


def _steps(optimizer, round_of):
  """Returns four steps of an optimiser on made-up gradients."""
  params = jnp.float32([0.5, -2.0, 1.0])
  state, found = optimizer.init(params), []
  update = optax.with_extra_args_support(optimizer).update
  for i in range(4):
    gradient = jnp.cos(params + i)
    updates, state = update(gradient, state, params, round=round_of(i))
    params = optax.apply_updates(params, updates)
    found.append(updates)
  return np.array(found)


@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_factor_of_a_round_is_another_learning_rate(name):
  make = functools.partial(optimizers.make, name, args={})
  factors_R = np.float32([1.0, 0.25])
  np.testing.assert_allclose(
    _steps(scheduled(make(0.1), factors_R), lambda i: 1),
    _steps(make(0.025), lambda i: 1),
    rtol=1e-4,
    atol=1e-7,
  )


@pytest.mark.parametrize('name', ['sgd', 'momentum', 'adam', 'yogi'])
def test_server_schedule_is_optax_schedule_of_the_learning_rate(name):
  factors_R = np.float32([1.0, 0.5, 0.7, 0.1])
  own = server.make_optimizer(name, 0.1, 0.9)
  theirs = server.OPTIMIZERS[name](
    lambda count: 0.1 * jnp.asarray(factors_R)[count], 0.9
  )
  np.testing.assert_allclose(
    _steps(scheduled(own, factors_R), lambda i: i),
    _steps(theirs, lambda i: i),
    rtol=1e-5,
    atol=1e-7,
  )


@pytest.mark.parametrize('name', ['fedadagrad', 'fedadam', 'fedyogi'])
def test_own_server_optimisers_end_with_the_learning_rate(name):
  one, half = (server.make_optimizer(name, rate, 0.9) for rate in (0.1, 0.05))
  gradient = jnp.float32([0.5, -2.0])
  state = one.init(gradient)
  _, state = one.update(gradient, state)
  np.testing.assert_allclose(
    one.update(gradient, state)[0] / 2, half.update(gradient, state)[0]
  )


@pytest.mark.parametrize(
  ('name', 'args', 'warmup', 'message'),
  [
    ('cosin', {}, 0, "'cosin' is not one of"),
    ('cosine', {'last': 1}, 0, "'cosine' takes the arguments .*'final'"),
    ('cosine', {'final': 2.0}, 0, 'final=2.0 must be in'),
    ('step', {'every': 0}, 0, 'every=0 must be a whole number'),
    ('exponential', {'factor': 1e-30}, 0, 'is 0.0 in round 3 of 12'),
    ('exponential', {'factor': 1e30}, 0, 'is inf in round 3 of 12'),
    ('step', {'every': 1, 'factor': 10**30}, 2, 'is inf in round 5 of 12'),
    ('constant', {}, 12, 'warmup_rounds=12 must be below num_rounds=12'),
  ],
)
def test_what_is_wrong_is_said_with_the_value(name, args, warmup, message):
  with pytest.raises(ValueError, match=message):
    factors(name, args, ROUNDS, warmup)


@pytest.mark.parametrize('factor', [10.0, 10])
@pytest.mark.parametrize('schedule', ['exponential', 'step'])
def test_factor_beyond_pythons_floats_is_refused_before_a_run(schedule, factor):
  args = f'client__schedule_args__{schedule}'
  changes = {'num_rounds': 400, 'client__schedule': schedule}
  changes[f'{args}__factor'] = factor
  if schedule == 'step':
    changes[f'{args}__every'] = 1
  config = small.make_config(**changes)
  with pytest.raises(ValueError, match=r"schedule '\w+' is inf in round 40 of"):
    validate(config)


@pytest.mark.slow
def test_schedules_of_a_run_are_those_of_its_rounds():
  """A rate that is halved for the last round is seen there alone."""
  changes = {
    'schedule': 'step',
    'schedule_args__step__every': 2,
    'schedule_args__step__factor': 0.5,
  }
  fields = {
    f'{section}__{name}': value
    for section in ('client', 'server')
    for name, value in changes.items()
  }
  clear = {'sharing__scheme': 'none', 'pruning__schedule': 'none'}
  runs = [
    small.make(small.make_config(**clear, **some)) for some in ({}, fields)
  ]
  states = [[run.init_state()] for run in runs]
  for r in range(3):
    for run, found in zip(runs, states, strict=True):
      before = jax.tree.map(jnp.copy, found[-1])
      found.append(small.step(run, before, run.plan(r))[0])
  for plain, changed in list(zip(*states, strict=True))[:3]:
    np.testing.assert_array_equal(plain.params, changed.params)
  # The clients' rate is half, and so is what the server makes of their mean.
  slow = small.make(small.make_config(**clear, client__learning_rate=0.05))
  last = jax.tree.map(jnp.copy, states[0][2])
  expected, _, _ = small.step(slow, last, slow.plan(2))
  before = np.asarray(states[0][2].params)
  np.testing.assert_allclose(
    states[1][3].params - before,
    (expected.params - before) / 2,
    rtol=1e-4,
    atol=1e-7,
  )
