"""Audits: what is promised is not refuted, and noise that is off is seen."""

import jax.numpy as jnp
import pytest

from fps_jax.runs import canaries
from tests.helpers import small

pytestmark = pytest.mark.slow


def make(**overrides):
  return small.make(
    small.make_config(
      **{
        'data__num_clients': 64,
        'cohort__size': 64,
        'cohort__weighting': 'clients',
        'client__steps': 1,
        'pruning__schedule': 'constant',
        'sharing__scheme': 'ideal',
        'sharing__value_bits': 16,
        'privacy__mode': 'central',
        'privacy__epsilon': 2.0,
        'privacy__delta': 1e-4,
        'privacy__neighbours': 'zero_out',
        'privacy__clip': 0.5,
        **overrides,
      }
    )
  )


@pytest.fixture(scope='module')
def simulation():
  return make()


def test_audit_does_not_refute_what_is_promised(simulation):
  found = canaries.run_audit(simulation, 3, num_guesses=40, seed=1)
  assert 1.99 < found.claimed <= 2
  assert found.lower_bound <= found.claimed
  # Canaries are found more often than not, or it would be no audit.
  assert found.num_right > 22


def test_audit_catches_noise_that_is_switched_off(simulation, monkeypatch):
  monkeypatch.setattr(
    'fps_jax.privacy.central.normal',
    lambda key_8, num_values, first_block=0: jnp.zeros(num_values),
  )
  found = canaries.run_audit(simulation, 3, num_guesses=40, seed=1)
  assert found.num_right == 40
  assert found.lower_bound > found.claimed


def test_audit_catches_noise_that_clients_do_not_add(monkeypatch):
  monkeypatch.setattr(
    'fps_jax.privacy.discrete_gaussian.DiscreteGaussian.draw',
    lambda self, key_8, first, size: jnp.zeros(size, jnp.int32),
  )
  run = make(privacy__mode='distributed', privacy__rotate=True)
  found = canaries.run_audit(run, 1, num_guesses=40, seed=1)
  assert found.num_right == 40
  assert found.lower_bound > found.claimed


def test_audit_of_what_promises_something_else_is_refused():
  with pytest.raises(ValueError, match=r"privacy\.neighbours='zero_out'"):
    canaries.run_audit(make(privacy__neighbours='replace_one'), 1, 2, 0)
  with pytest.raises(ValueError, match=r'cohort\.size=32 of 64 clients'):
    canaries.run_audit(make(cohort__size=32), 1, 2, 0)
