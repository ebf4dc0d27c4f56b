"""The training loop: reproducible, complete, and ended where it diverges."""

import dataclasses
import functools
import json
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.federated import evaluation
from fps_jax.federated.round import Round
from fps_jax.runs import train
from tests.helpers import small

pytestmark = pytest.mark.slow


class Stepped(Round):
  """A round whose step is no program."""

  def programs(self, inputs):
    """Returns those before the step."""
    return self.gathering.programs(inputs)[0]


@jax.jit
def judge(num_right, params):
  """Returns an evaluation that finds as many right in every model."""
  del params
  return evaluation.Tested(num_right, jnp.float32(jnp.nan))


def with_step(simulation, step):
  before = simulation.round
  round_ = Stepped(before.gathering, step, before.method)
  return dataclasses.replace(simulation, round=round_)


def test_one_seed_run_twice_gives_identical_metrics_and_model():
  params, rows = small.run(small.make_config())
  again, rows_again = small.run(small.make_config())
  np.testing.assert_array_equal(params, again)
  assert rows == rows_again


def test_another_seed_gives_another_run():
  params, _ = small.run(small.make_config(), seed=0)
  other, _ = small.run(small.make_config(), seed=1)
  assert np.any(params != other)


def test_last_round_is_always_evaluated():
  config = small.make_config()
  config.num_rounds, config.eval.every_rounds = 5, 2
  _, rows = small.run(config)
  evaluated = [r['round'] for r in rows if r['test_accuracy'] is not None]
  assert evaluated == [2, 4, 5]


def test_every_program_of_a_run_is_compiled_once_and_before_its_rounds():
  config, compiled, at_rows = small.make_config(), [], []

  def on_duration(event: str, duration: float, **facts) -> None:
    if event == '/jax/core/compile/backend_compile_duration':
      compiled.append(facts['fun_name'])

  jax.monitoring.register_event_duration_secs_listener(on_duration)
  try:
    # The check of a model is one function for all runs.
    train._is_finite.clear_cache()
    simulation = small.make(config)
    built = len(compiled)
    train.train(simulation, 3, 1, lambda _: at_rows.append(len(compiled)))
  finally:
    jax.monitoring.unregister_event_duration_listener(on_duration)
  # The run's key, where no run before has made one.
  assert built <= 1
  names = ('_init_state', 'collect_updates', 'step', 'evaluate', '_is_finite')
  assert Counter(compiled[built:]) == {f'jit({name})': 1 for name in names}
  assert at_rows == [len(compiled)] * 3


def test_a_model_begins_with_a_program_that_is_the_same_for_all_seeds():
  config = small.make_config()
  texts = {
    make.func.lower(*make.args).as_text()
    for make in (small.make(config, seed).init_state for seed in (0, 1))
  }
  assert len(texts) == 1


def test_fedavg_learns_the_fake_data():
  config = small.make_config(pruning__schedule='none', num_rounds=10)
  _, rows = small.run(config)
  assert rows[-1]['test_accuracy'] > 0.9
  assert rows[-1]['train_loss'] < rows[0]['train_loss'] / 2


@pytest.mark.parametrize('scheme', ['none', 'shamir'])
def test_updates_that_are_not_finite_are_counted_until_all_are_and_it_ends(
  scheme,
):
  config = small.make_config(sharing__scheme=scheme, num_rounds=5)
  simulation = small.make(config)
  rows = []

  def step(state, *rest):
    state, metrics = simulation.round.step(state, *rest)
    is_finite = metrics.is_finite
    if int(state.round) == 2:
      is_finite = is_finite.at[2].set(False)
    if int(state.round) == 3:
      is_finite = jnp.zeros_like(is_finite)
    metrics = dataclasses.replace(metrics, is_finite=is_finite)
    return state, metrics

  poisoned = with_step(simulation, step)
  train.train(poisoned, 5, 1, rows.append)
  assert [row['clients_not_finite'] for row in rows] == [0, 1, 8]
  assert [row['clients_reporting'] for row in rows] == [8, 7, 0]
  assert [row['diverged'] for row in rows] == [False, False, True]


@pytest.mark.parametrize('section', ['client', 'server'])
def test_run_that_diverges_ends_with_a_row_that_json_holds(section):
  config = small.make_config()
  config[section].learning_rate = 1e38
  _, rows = small.run(config)
  assert [row['diverged'] for row in rows] == [True]
  assert rows[-1]['test_loss'] is None or section == 'client'
  json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize('bad_round', [2, 4])
def test_model_that_is_not_finite_ends_the_run_although_its_loss_is(bad_round):
  config = small.make_config(num_rounds=4)
  simulation = small.make(config)
  rows = []

  def step(state, *rest):
    state, metrics = simulation.round.step(state, *rest)
    if int(state.round) == bad_round:
      # The bias of a hidden unit, which is 0 after its ReLU.
      params = state.params.at[0].set(-jnp.inf)
      state = dataclasses.replace(state, params=params)
    return state, metrics

  poisoned = with_step(simulation, step)
  state, _ = train.train(poisoned, 4, 4, rows.append)
  assert [row['diverged'] for row in rows] == [False] * (bad_round - 1) + [True]
  assert int(state.round) == bad_round
  if bad_round == 4:
    assert rows[-1]['test_loss'] is not None


def test_attack_that_makes_training_diverge_is_a_result_and_no_error():
  config = small.make_config(
    sharing__scheme='none',
    attack__malicious=0.25,
    attack__updates='sign_flip',
    attack__args__sign_flip__scale=1e38,
  )
  params, rows = small.run(config)
  assert [row['clients_not_finite'] for row in rows[1:]] == [8, 8]
  assert not any(row['diverged'] for row in rows)
  assert rows[-1]['test_accuracy'] is not None
  assert np.all(np.isfinite(params))


def test_run_under_attack_ends_where_it_has_neither_accuracy_nor_loss():
  config = small.make_config(
    sharing__scheme='ideal', attack__malicious=0.25, attack__updates='sign_flip'
  )
  simulation = small.make(config)
  has_accuracy, has_none = (
    dataclasses.replace(
      simulation,
      evaluation=simulation.evaluation._replace(
        test=functools.partial(judge, right)
      ),
    )
    for right in (jnp.int32(0), None)
  )
  _, rows = small.run_simulation(has_accuracy, config)
  assert [row['diverged'] for row in rows] == [False] * 3
  assert [row['test_accuracy'] for row in rows] == [0.0] * 3
  _, rows = small.run_simulation(has_none, config)
  assert [row['diverged'] for row in rows] == [True]
  assert rows[0]['test_accuracy'] is rows[0]['test_loss'] is None
