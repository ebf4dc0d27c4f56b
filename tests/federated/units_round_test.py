"""Whole rounds whose updates are shared in units of the learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import small
from tests.helpers.cases import thorough

pytestmark = pytest.mark.slow
_ON_SHARES = {
  'cohort__weighting': 'clients',
  'sharing__min_contributors': 1,
  'attack__malicious': 0.25,
  'attack__updates': 'scaling',
  'defence__name': 'fltrust',
  'defence__root_examples': 20,
  'defence__sketch_size': 64,
}
_REVEALED = {
  **_ON_SHARES,
  'sharing__reveal': 'updates',
  'sharing__audit': 'none',
  'defence__name': 'centred_clipping',
  'defence__root_examples': 0,
}
_CLEAR = {'sharing__scheme': 'none'}


def _rounds(*configs):
  """Returns the model after each round, which has a config each."""
  simulations = [small.make(config) for config in configs]
  state, models = simulations[0].init_state(), []
  for r, simulation in enumerate(simulations):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    models.append(np.array(state.params))
  return models


# Halves are exact: but for how programs are fused, the same is computed.
@pytest.mark.parametrize(
  'changes',
  [
    {'sharing__scheme': 'quantised'},
    thorough(_ON_SHARES),
    thorough(_REVEALED),
    thorough({'sharing__scheme': 'ideal', 'pruning__mask': 'local'}),
    thorough({'sharing__scheme': 'ideal', 'pruning__mask': 'top_k'}),
    thorough({'pruning__trained_fraction': 0.2}),
  ],
)
def test_half_the_learning_rate_is_rounded_half_as_far(changes):
  """A round of warm-up is one with half the learning rate and half the clip."""
  warming_up = small.make_config(client__warmup_rounds=1, **changes)
  usual = small.make_config(**changes)
  halves = small.make_config(
    client__learning_rate=usual.client.learning_rate / 2,
    sharing__clip=usual.sharing.clip / 2,
    **changes,
  )
  found = _rounds(warming_up, warming_up)
  # A value rounded elsewhere would be 1e-4 away.
  np.testing.assert_allclose(found, _rounds(halves, usual), rtol=0, atol=1e-6)
  assert np.max(np.abs(found[0] - _rounds(usual)[0])) > 1e-4


def test_rounding_shrinks_as_the_learning_rate_does():
  """The mean is off by less than a step in the round's unit."""
  usual = {
    'client__schedule': 'step',
    'client__schedule_args__step': {'every': 1, 'factor': 0.1},
    'cohort__weighting': 'clients',
    'pruning__schedule': 'none',
  }
  # None is beyond this clip.
  config = small.make_config(
    sharing__scheme='ideal', sharing__clip=1.0, **usual
  )
  rounded = small.make(config)
  exact = small.make(small.make_config(**_CLEAR, **usual))
  state = exact.init_state()
  for r, unit in enumerate((1.0, 0.1, 0.01)):
    copied = jax.tree.map(jnp.copy, state)
    found, _, _ = small.step(rounded, copied, rounded.plan(r))
    state, _, _ = small.step(exact, state, exact.plan(r))
    step = rounded.round.method.protocol.codec.step * unit
    assert 0.1 * step < np.max(np.abs(found.params - state.params)) < step


def test_updates_in_the_clear_and_under_privacy_have_no_unit():
  private = {
    'privacy__mode': 'central',
    'privacy__noise_multiplier': 1.0,
    'cohort__weighting': 'clients',
    'sharing__value_bits': 16,
  }
  for changes in (_CLEAR, private):
    config = small.make_config(client__schedule='cosine', **changes)
    assert small.make(config).round.method.units_R is None
