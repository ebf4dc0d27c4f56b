"""Tests of rounds in which updates are attacked or weighed by a defence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fps_jax import data, models
from fps_jax.attacks.knowledge import Craft, Knowledge, mean
from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.config import defaults as configs
from fps_jax.results.metrics import MetricsRow
from fps_jax.sharing.codec import levels_of
from tests.helpers import small
from tests.helpers.cases import thorough
from tests.helpers.guarded_rounds import (
  ATTACKED,
  IDEAL,
  KRUM,
  ROUNDS,
  guarded_config,
  run,
  without_bounds,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def defended() -> tuple[np.ndarray, list[MetricsRow]]:
  """A run under attack whose defence sees sketches that nobody shares."""
  return run(**ATTACKED, **KRUM, **IDEAL)


def test_a_defence_that_weighs_all_the_same_gives_the_undefended_model():
  plain, _ = run(**IDEAL)
  weighed, rows = run(**IDEAL, defence__name='mean')
  np.testing.assert_allclose(weighed, plain, rtol=1e-6, atol=1e-7)
  assert [row['malicious_weight'] for row in rows] == [0.0] * ROUNDS


@pytest.mark.parametrize(
  ('num_servers', 'threshold', 'secrets', 'rule'),
  [
    thorough(5, 3, 1, 'multi_krum'),
    thorough(5, 4, 2, 'multi_krum'),
    (5, 4, 2, 'fltrust'),
  ],
)
def test_defence_on_shares_is_that_of_the_ideal_sum_bit_for_bit(
  num_servers: int, threshold: int, secrets: int, rule: str
):
  numbers = {
    'sharing__num_servers': num_servers,
    'sharing__threshold': threshold,
    'sharing__secrets_per_polynomial': secrets,
    'defence__name': rule,
    'defence__pre_steps': ('nnm',) if rule == 'multi_krum' else (),
    'defence__num_malicious': 2,
  }
  shared, rows = run(**ATTACKED, **numbers)
  ideal, ideal_rows = run(**ATTACKED, **numbers, **IDEAL)
  np.testing.assert_array_equal(shared, ideal)
  assert without_bounds(rows) == without_bounds(ideal_rows)


@pytest.mark.parametrize('attack', ['ipm', 'gaussian'])
def test_fltrust_on_shares_trusts_whom_it_trusts_in_the_clear(attack: str):
  """By products, which are exact, while 16 sums say little of any norm."""
  settings = {
    'attack__malicious': 0.25,
    'attack__updates': attack,
    'attack__args__ipm__epsilon': 5.0,
    'defence__name': 'fltrust',
    'defence__sketch_size': 16,
    'sharing__value_bits': 12,
    'client__steps': 10,
  }
  weights_of = []
  for scheme in ('quantised', 'ideal'):
    config = guarded_config(**settings, sharing__scheme=scheme)
    simulation = small.make(config)
    _, metrics, _ = small.step(
      simulation, simulation.init_state(), simulation.plan(0)
    )
    weights_of.append(np.asarray(metrics.weights))
  clear_C, shared_C = weights_of
  assert np.sum(clear_C > 0) > 2
  np.testing.assert_array_equal(shared_C > 0, clear_C > 0)


def _whisper(step: float) -> Craft:
  """Each malicious client sends one value, as small as a codec can."""

  def craft(known: Knowledge, key: jax.Array) -> jax.Array:
    del key
    mean_M = mean(known)
    is_largest_M = jnp.abs(mean_M) == jnp.max(jnp.abs(mean_M))
    return jnp.where(is_largest_M, step * jnp.sign(mean_M), 0.0)

  return craft


def test_clients_that_send_next_to_nothing_leave_the_others_their_weights(
  monkeypatch,
):
  """Servers have few integers for weights where two secrets are packed."""
  config = guarded_config(
    attack__malicious=0.25,
    attack__updates='whisper',
    defence__name='fltrust',
    client__steps=10,
    pruning__schedule='none',
    faults__client_dropout_probability=0.0,
  )
  configs.share_in_short_words(config)
  # Rounding at random turns one and a half steps into one or two.
  step = 1.5 * config.sharing.clip / levels_of(config.sharing.value_bits)
  monkeypatch.setitem(UPDATE_ATTACKS, 'whisper', lambda: _whisper(step))
  moves = []
  for scheme in ('quantised', 'ideal'):
    config.sharing.scheme = scheme
    simulation = small.make(config)
    state = simulation.init_state()
    before = np.asarray(state.params)
    state, metrics, _ = small.step(simulation, state, simulation.plan(0))
    malicious_C = np.asarray(simulation.plan(0).cohort.malicious)
    assert np.any(np.asarray(metrics.weights)[malicious_C] > 0)
    moves.append(np.asarray(state.params) - before)
  clear, shared = moves
  assert np.linalg.norm(shared - clear) < 0.1 * np.linalg.norm(clear)


def test_defence_leaves_out_who_sends_noise(defended):
  _, rows = defended
  assert all(row['clients_malicious'] for row in rows)
  assert [row['malicious_weight'] for row in rows] == [0.0] * ROUNDS
  _, plain = run(**ATTACKED, **KRUM, sharing__scheme='none')
  assert [row['malicious_weight'] for row in plain] == [0.0] * ROUNDS


def test_what_is_opened_of_each_update_is_counted(defended):
  _, rows = defended
  # A sketch and the sums of the range check.
  assert {row['opened_values_per_client'] for row in rows} == {128 + 32}
  config = guarded_config(**ATTACKED, **KRUM, sharing__reveal='updates')
  simulation = small.make(config)
  assert simulation.accounts.opened_values(77, 2) == 77
  config = guarded_config(**ATTACKED)
  assert small.make(config).accounts.opened_values(77, 2) == 0
  packed = {
    'sharing__threshold': 4,
    'sharing__secrets_per_polynomial': 2,
  }
  config = guarded_config(**packed, **IDEAL, defence__name='fltrust')
  # One sum of products, for each of two secrets and of both.
  assert (
    small.make(config).accounts.opened_values(77, 2) == 128 + 2 * 32 + 2 * 2
  )


@pytest.mark.parametrize('reveal', ['sum', 'updates'])
def test_of_a_round_with_too_few_clients_nothing_is_opened_of_any(reveal: str):
  config = guarded_config(
    **KRUM,
    **IDEAL,
    sharing__min_contributors=6,
    pruning__schedule='none',
    sharing__reveal=reveal,
    server__optimizer='momentum',
  )
  simulation = small.make(config)
  assert (
    simulation.accounts.opened_values(77, 5)
    == 0
    < simulation.accounts.opened_values(77, 6)
  )
  plan = simulation.plan(1)
  client_ids = plan.cohort.client_ids.copy()
  client_ids[np.flatnonzero(client_ids >= 0)[5:]] = -1
  plan = dataclasses.replace(
    plan, cohort=dataclasses.replace(plan.cohort, client_ids=client_ids)
  )
  # Momentum would move a model whose update is 0.
  state, _, _ = small.step(
    simulation, simulation.init_state(), simulation.plan(0)
  )
  before = np.asarray(state.params)
  state, metrics, _ = small.step(simulation, state, plan)
  assert not np.any(metrics.weights)
  assert metrics.is_sound is None or np.all(metrics.is_sound)
  np.testing.assert_array_equal(np.asarray(state.params), before)


def test_median_of_updates_that_are_revealed_is_that_without_shares():
  settings = {
    **ATTACKED,
    'defence__name': 'median',
    'defence__num_malicious': 2,
    'sharing__reveal': 'updates',
  }
  shared, rows = run(**settings)
  ideal, ideal_rows = run(**settings, **IDEAL)
  np.testing.assert_array_equal(shared, ideal)
  assert without_bounds(rows) == without_bounds(ideal_rows)
  assert all(
    row['opened_values_per_client'] == row['kept_parameters'] for row in rows
  )


def test_words_that_wrap_around_are_left_out():
  wrapped = {**ATTACKED, 'attack__updates': 'wrap_around'}
  _, rows = run(**wrapped, **KRUM, **IDEAL)
  assert [row['malicious_weight'] for row in rows] == [0.0] * ROUNDS


def test_words_that_wrap_around_are_scaled_to_nothing_by_fltrust():
  """No sum is beyond their norm, whatever it comes to."""
  wrapped = {**ATTACKED, 'attack__updates': 'wrap_around'}
  _, rows = run(**wrapped, **IDEAL, defence__name='fltrust')
  assert all(row['clients_malicious'] for row in rows)
  assert all(row['malicious_weight'] < 1e-6 for row in rows)


@pytest.mark.parametrize('rule', ['multi_krum', 'fltrust'])
def test_words_that_cancel_out_in_a_sketch_have_no_weight(monkeypatch, rule):
  """Halves of the prime in two full blocks of columns, the rest as trained."""

  def halves(limit: float):
    return lambda known, key: known.updates_CxM.at[:, :32].set(limit)

  monkeypatch.setitem(UPDATE_ATTACKS, 'wrap_around', halves)
  settings = {
    'attack__malicious': 0.25,
    'attack__updates': 'wrap_around',
    'defence__name': rule,
    'defence__num_malicious': 2,
    'defence__sketch_size': 16,
    'pruning__schedule': 'none',
  }
  _, rows = run(**settings, **IDEAL)
  assert [row['malicious_weight'] for row in rows] == [0.0] * ROUNDS
  for row in rows:
    assert row['clients_out_of_range'] == row['clients_malicious'] > 0


def test_central_server_that_sees_updates_weighs_them_exactly():
  revealed, _ = run(
    **ATTACKED, **KRUM, sharing__reveal='updates', sharing__audit='none'
  )
  quantised, _ = run(**ATTACKED, **KRUM, sharing__scheme='quantised')
  np.testing.assert_allclose(revealed, quantised, rtol=1e-6, atol=1e-7)


def test_clipped_values_are_counted_whoever_sees_the_updates():
  clip = {'sharing__clip': 0.001}
  _, plain = run(**clip, **IDEAL)
  expected = [row['clipped_fraction'] for row in plain[:1]]
  assert expected[0] > 0
  for settings in (IDEAL, {'sharing__scheme': 'quantised'}):
    _, rows = run(**clip, **settings, defence__name='mean')
    # Later rounds start from models that are averaged otherwise.
    assert [row['clipped_fraction'] for row in rows[:1]] == expected


@pytest.mark.parametrize('rule', ['median', 'trimmed_mean'])
def test_coordinate_rule_is_the_one_of_numpy(rule: str):
  """Holds one round to NumPy's order statistics of what clients trained."""
  config = guarded_config(
    defence__name=rule,
    defence__num_malicious=2,
    sharing__scheme='none',
    pruning__schedule='none',
    faults__client_dropout_probability=0.0,
    client__steps=1,
  )
  simulation = small.make(config)
  state, plan = simulation.init_state(), simulation.plan(0)
  examples = simulation.put_data()
  trained = simulation.start(state, plan, examples)
  before = np.asarray(state.params)
  num_clients = int(np.sum(np.asarray(plan.cohort.client_ids) >= 0))
  updates = np.asarray(trained.updates_CxM)[:num_clients, : len(before)]
  after, _, _ = simulation.finish(state, plan, examples, trained)
  ordered = np.sort(updates, axis=0)
  middle = ordered[2:-2] if rule == 'trimmed_mean' else ordered[3:5]
  np.testing.assert_allclose(
    after.params - before, middle.mean(axis=0), rtol=1e-4, atol=1e-6
  )


def test_aggregate_of_too_few_clients_is_not_opened():
  """Multi-Krum chooses five of seven clients, where six are needed."""
  few = {'defence__name': 'multi_krum', 'defence__num_malicious': 2}
  config = guarded_config(
    **few,
    **IDEAL,
    cohort__size=7,
    faults__client_dropout_probability=0.0,
    sharing__min_contributors=6,
    pruning__schedule='none',
  )
  simulation = small.make(config)
  state = simulation.init_state()
  before = np.asarray(state.params)
  after, metrics, _ = small.step(simulation, state, simulation.plan(0))
  assert np.sum(np.asarray(metrics.weights) > 0) == 5
  np.testing.assert_array_equal(after.params, before)


def test_backdoor_is_measured_on_images_of_other_classes_with_the_trigger():
  config = guarded_config(
    **IDEAL,
    attack__malicious=0.25,
    attack__data='backdoor',
    attack__updates='scaling',
    attack__args__backdoor__target=1,
  )
  simulation = small.make(config)
  params, rows = small.run_simulation(simulation, config)
  dataset = data.load(config.data.source)
  others = dataset.test_inputs[dataset.test_targets != 1].copy()
  others[:, -4:-1, -4:-1] = 255
  model = models.make('mlp', dataset.num_classes, widths=(16,))
  variables = model.init(jax.random.key(0), jnp.zeros(others[:1].shape))
  _, unravel = ravel_pytree(variables['params'])
  logits = model.apply({'params': unravel(jnp.asarray(params))}, others / 255)
  expected = np.mean(np.argmax(logits, axis=1) == 1)
  assert rows[-1]['attack_success'] == pytest.approx(expected)
  assert (
    len(others)
    == simulation.evaluation.num_backdoor
    < len(dataset.test_targets)
  )


def test_root_trains_by_the_clients_optimiser_and_schedule_unaugmented():
  def train_root(**fields):
    config = guarded_config(
      defence__name='fltrust',
      client__steps=1,
      sharing__scheme='none',
      pruning__schedule='none',
      **fields,
    )
    simulation = small.make(config)
    trained = simulation.start(
      simulation.init_state(), simulation.plan(0), simulation.put_data()
    )
    return np.asarray(trained.root_M)

  plain = train_root()
  np.testing.assert_array_equal(
    train_root(client__augmentation='crop_flip'), plain
  )
  # The first of two rounds is one of warm-up, at half the learning rate.
  np.testing.assert_allclose(
    train_root(client__warmup_rounds=1), plain / 2, rtol=1e-4, atol=1e-7
  )
  signs = train_root(client__optimizer='sign_sgd')
  np.testing.assert_allclose(signs, 0.1 * np.sign(plain), atol=1e-6)
