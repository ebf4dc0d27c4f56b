"""Tests of the section `privacy`: what nothing counts is refused."""

import pytest

from fps_jax.config.validate import validate
from tests.helpers import small
from tests.helpers.config_cases import problems

PRIVATE = {
  'cohort__weighting': 'clients',
  'privacy__mode': 'central',
  'privacy__noise_multiplier': 1.0,
}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'cohort__weighting': 'examples'},
      "cohort.weighting='examples' with privacy.mode='central'",
    ),
    ({'defence__name': 'norm_bound'}, "defence.name='norm_bound' with privacy"),
    (
      {'sharing__reveal': 'updates', 'sharing__audit': 'none'},
      "sharing.reveal='updates' with privacy.mode",
    ),
    (
      {'faults__on_failed_round': 'retry'},
      "faults.on_failed_round='retry' with privacy.mode",
    ),
    (
      {'eval__by_client_every_rounds': 2},
      'eval.by_client_every_rounds=2 with privacy.mode',
    ),
    (
      {'profiles__distribution': 'same'},
      "profiles.distribution='same' with privacy.mode",
    ),
    (
      {'pruning__mask': 'local', 'sharing__scheme': 'ideal'},
      "pruning.mask='local' with privacy.mode",
    ),
    (
      {
        'pruning__tiers': (0.5, 1.0),
        'profiles__distribution': 'same',
        'profiles__deadline_seconds': 1.0,
      },
      'pruning.tiers=(0.5, 1.0) with privacy.mode',
    ),
    (
      {'attack__updates': 'alie', 'attack__malicious': 0.2},
      "attack.updates='alie' with privacy.mode",
    ),
    ({'job': 'inversion'}, "job='inversion' with privacy.mode"),
    (
      {'privacy__noise_multiplier': 0.0},
      'privacy.epsilon=0.0 and privacy.noise_multiplier=0.0: set one',
    ),
    (
      {'privacy__epsilon': 3.0},
      'privacy.epsilon=3.0 and privacy.noise_multiplier=1.0: set one',
    ),
    (
      {'privacy__clip_quantile': 0.5},
      'a count with noise of deviation 0.4 spends more',
    ),
  ],
)
def test_what_nothing_counts_is_refused(changes, message):
  config = small.make_config(**{**PRIVATE, **changes})
  found = problems(config)
  assert any(message in line for line in found), found


def test_what_is_refused_is_allowed_where_nothing_is_promised():
  validate(small.make_config(faults__on_failed_round='retry'))
  validate(small.make_config(**PRIVATE))
