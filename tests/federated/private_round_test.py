"""Rounds with central privacy: what is bounded, what noise, what is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.federated import client
from fps_jax.privacy.central import CentralPrivacy
from tests.helpers import small

pytestmark = pytest.mark.slow


def make_config(**overrides):
  return small.make_config(
    **{
      'cohort__weighting': 'clients',
      'num_rounds': 2,
      'pruning__schedule': 'constant',
      'privacy__mode': 'central',
      'privacy__noise_multiplier': 1.0,
      'privacy__clip': 0.05,
      'privacy__clip_quantile': 0.5,
      'privacy__count_deviation': 1.0,
      'sharing__value_bits': 16,
      **overrides,
    }
  )


@pytest.fixture(scope='module')
def shared_run():
  return small.run(make_config())


def test_ideal_and_shamir_give_identical_models_with_noise(shared_run):
  params, rows = small.run(make_config(sharing__scheme='ideal'))
  np.testing.assert_array_equal(params, shared_run[0])
  assert [row['clip_norm'] for row in rows] == [
    row['clip_norm'] for row in shared_run[1]
  ]


def test_rows_tell_what_is_spent_and_nothing_that_clients_measure(shared_run):
  rows = shared_run[1]
  ledger = small.make(make_config()).accounts.ledger
  assert [row['epsilon'] for row in rows] == [
    ledger.epsilon(1),
    ledger.epsilon(2),
  ]
  for row in rows:
    assert row['train_loss'] is None
    assert row['clipped_fraction'] is None
  first, second = (row['clip_norm'] for row in rows)
  assert first == np.float32(0.05)
  assert second != first
  without = small.run(small.make_config(num_rounds=1))[1][0]
  assert without['epsilon'] is without['clip_norm'] is None
  assert without['train_loss'] is not None


def one_round(simulation):
  """Returns how far a round moves the model, and its metrics."""
  state = simulation.init_state()
  before = np.array(state.params)
  after, metrics, _ = small.step(simulation, state, simulation.plan(0))
  return np.asarray(after.params) - before, metrics


def test_noise_of_a_round_has_its_deviation_whoever_is_missing():
  """Nobody moves the mean by more than clip / cohort; all else is noise."""
  config = make_config(
    sharing__scheme='none',
    pruning__schedule='none',
    privacy__clip_quantile=0.0,
    privacy__clip=1e-3,
    privacy__noise_multiplier=50.0,
    faults__client_dropout_probability=0.5,
  )
  simulation = small.make(config)
  reporting = np.sum(simulation.plan(0).cohort.client_ids >= 0)
  assert 0 < reporting < 8
  moved, _ = one_round(simulation)
  # The denominator is the cohort's size, not who reports.
  assert np.std(moved) == pytest.approx(50 * 1e-3 / 8, rel=0.1)


def test_update_that_is_not_finite_is_one_of_nothing_and_not_told(monkeypatch):
  """The model is that of a run in which this client trains nothing."""
  monkeypatch.setattr(
    CentralPrivacy, 'noise', lambda self, clip, num, key, size: jnp.zeros(size)
  )
  make_local_update = client.make_local_update

  def with_client_3(value):
    def make(*args, **kwargs):
      local_update = make_local_update(*args, **kwargs)

      def update(params, mask, examples, work):
        result = local_update(params, mask, examples, work)
        is_it = work.client_id == 3
        return result._replace(
          delta=jax.tree.map(
            lambda leaf: jnp.where(is_it, value, leaf), result.delta
          )
        )

      return update

    monkeypatch.setattr(client, 'make_local_update', make)
    config = make_config(sharing__scheme='ideal', privacy__clip_quantile=0.0)
    return one_round(small.make(config))

  (nothing, _), (broken, metrics) = with_client_3(0.0), with_client_3(jnp.nan)
  np.testing.assert_array_equal(broken, nothing)
  assert np.abs(broken).max() > 0
  assert np.asarray(metrics.is_finite).all()


def test_malicious_client_is_held_to_the_range_of_values_as_all_are(
  monkeypatch,
):
  """Its values could make the sum wrap, by more than noise hides."""
  monkeypatch.setattr(
    CentralPrivacy, 'noise', lambda self, clip, num, key, size: jnp.zeros(size)
  )
  config = make_config(
    pruning__schedule='none',
    attack__data='label_flip',
    attack__malicious=0.5,
    sharing__scheme='ideal',
    sharing__clip=1e-3,
    privacy__clip=10.0,
    privacy__clip_quantile=0.0,
  )
  moved, _ = one_round(small.make(config))
  assert 0.5e-3 < np.abs(moved).max() < 1.001e-3


def test_other_noise_for_every_round_and_attempt():
  simulation = small.make(make_config())
  keys = {
    tuple(simulation.plan(*where).noise_8) for where in ((0, 0), (1, 0), (0, 1))
  }
  assert len(keys) == 3
  private = simulation.round.method.terms.privacy
  assert dataclasses.replace(private) == private
  assert small.make(small.make_config()).plan(0).noise_8 is None


@pytest.mark.parametrize(
  ('entropy', 'is_same'), [('seed', True), ('os', False)]
)
def test_noise_of_two_runs_of_a_seed_is_the_same_unless_the_system_draws_it(
  entropy, is_same
):
  one, other = (
    small.make(
      make_config(sharing__entropy=entropy, pruning__sparsity=sparsity)
    ).plan(0)
    for sparsity in (0.5, 0.7)
  )
  assert np.array_equal(one.noise_8, other.noise_8) == is_same
