"""What is said to be read by nothing changes nothing."""

import functools

import numpy as np
import pytest

from fps_jax.config import defaults
from fps_jax.config.sections import fields_of
from fps_jax.config.unread import RULES, unread
from fps_jax.config.validate import validate
from tests.helpers import small
from tests.helpers.cases import thorough

_PLAIN = {'pruning__schedule': 'none', 'sharing__scheme': 'none'}
# A valid config of which each rule holds, and valid values of all its fields
# other than that config's.
_CASES = {
  'nothing is pruned': (
    {**_PLAIN, 'pruning__trained_fraction': 0.5},
    {
      'pruning.sparsity': 0.3,
      'pruning.begin_round': 1,
      'pruning.end_round': 9,
      'pruning.num_steps': 7,
      'pruning.score': 'random',
      'pruning.server': 'dense',
    },
  ),
  'all is trained': (
    _PLAIN,
    {
      'pruning.mask': 'local',
      'pruning.scope': 'erk',
      'pruning.regrow_every': 1,
      'pruning.regrow_fraction': 0.5,
      'pruning.regrow_end_round': 3,
      'pruning.candidates_per_regrown': 3.0,
      'pruning.regrow_rule': 'magnitude',
      'pruning.tiers': (0.5, 1.0),
    },
  ),
  'all is pruned at once': (
    {'pruning__schedule': 'constant'},
    {'pruning.end_round': 3, 'pruning.num_steps': 7},
  ),
  'no steps are taken': ({}, {'pruning.num_steps': 7}),
  'nothing grows back': (
    {},
    {
      'pruning.regrow_fraction': 0.5,
      'pruning.regrow_end_round': 3,
      'pruning.candidates_per_regrown': 3.0,
      'pruning.regrow_rule': 'magnitude',
    },
  ),
  'floats are sent': (
    {'sharing__scheme': 'none'},
    {
      'sharing.value_bits': 5,
      'sharing.clip': 1e-4,
      'sharing.prime': 4194301,
      'sharing.largest_weight': 7,
    },
  ),
  'all clients weigh the same': (
    {'cohort__weighting': 'clients'},
    {'sharing.largest_weight': 7},
  ),
  'no server holds a share': (
    {'sharing__scheme': 'quantised'},
    {
      'sharing.reveal': 'updates',
      'sharing.num_servers': 9,
      'sharing.threshold': 7,
      'sharing.secrets_per_polynomial': 2,
      'sharing.seeded': False,
      'sharing.min_contributors': 8,
      'sharing.min_answers': 8,
      'sharing.audit': 'clients',
      'faults.server_dropout_probability': 0.9,
      'faults.server_corruption_probability': 0.9,
      'faults.missing_servers': (1,),
      'faults.lying_servers': (2,),
      'faults.inconsistent_clients': (3,),
    },
  ),
  'nobody draws what has to be secret': (
    {'sharing__scheme': 'quantised'},
    {'sharing.entropy': 'os'},
  ),
  'no privacy is promised': (
    {},
    {
      'privacy.epsilon': 3.0,
      'privacy.delta': 0.1,
      'privacy.noise_multiplier': 2.0,
      'privacy.neighbours': 'zero_out',
      'privacy.clip': 0.1,
      'privacy.clip_quantile': 0.5,
      'privacy.clip_learning_rate': 0.1,
      'privacy.count_deviation': 1.0,
    },
  ),
  'clients add no noise': (
    {},
    {
      'privacy.min_honest': 3,
      'privacy.rotate': True,
      'privacy.wrap_probability': 0.5,
    },
  ),
  'steps follow from noise': (
    {
      'privacy__mode': 'distributed',
      'privacy__noise_multiplier': 0.01,
      'cohort__weighting': 'clients',
    },
    {'sharing.value_bits': 9, 'sharing.clip': 0.3},
  ),
  'the clip stays': (
    {
      'privacy__mode': 'central',
      'privacy__noise_multiplier': 0.01,
      'cohort__weighting': 'clients',
    },
    {'privacy.clip_learning_rate': 0.1, 'privacy.count_deviation': 1.0},
  ),
  'no round is tried again': ({}, {'faults.max_retries': 1}),
  'there is no defence': (
    {'attack__updates': 'sign_flip', 'attack__malicious': 0.25},
    {
      'defence.pre_steps': ('nnm',),
      'defence.num_malicious': 2,
      'defence.sketch_size': 64,
      'defence.root_examples': 10,
    },
  ),
  'devices have no profiles': (
    {},
    {'profiles.round_sigma': 1.0, 'profiles.compute_saved': 0.5},
  ),
  'clients take client.steps': ({'client__steps': 2}, {'client.epochs': 3}),
  'plain gradient descent has no momentum': ({}, {'server.momentum': 0.1}),
}


def test_every_rule_has_a_case_that_changes_all_its_fields():
  assert _CASES.keys() == RULES.keys()
  for reason, (overrides, changed) in _CASES.items():
    config = small.make_config(**overrides)
    validate(config)
    assert RULES[reason].holds(config)
    assert set(changed) == set(RULES[reason].fields)
    assert set(changed) <= set(unread(config))
    before = {field: _get(config, field) for field in changed}
    assert all(before[field] != changed[field] for field in changed), reason


def _get(config, field):
  for part in field.split('.'):
    config = config[part]
  return config


# Of noise, which takes long to compile.
_LONG = ('steps follow from noise', 'the clip stays')


@functools.cache
def _run(**overrides):
  return small.run(small.make_config(num_rounds=2, **overrides))


@pytest.mark.slow
@pytest.mark.parametrize(
  'reason', [thorough(one) if one in _LONG else one for one in RULES]
)
def test_what_nothing_reads_changes_not_a_bit(reason):
  overrides, changed = _CASES[reason]
  # Many cases change the same run.
  params, rows = _run(**overrides)
  other_params, other_rows = _run(**overrides, **changed)
  np.testing.assert_array_equal(params, other_params)
  assert rows == other_rows


def test_arguments_of_what_no_field_names_are_unread():
  config = defaults.default()
  found = unread(config)
  for field in (
    'model.args.cifar_cnn.hidden',
    'data.partition_args.shards.shards_per_client',
    'attack.args.ipm.epsilon',
    'defence.args.fltrust.max_scale',
    'profiles.args.same.gflops',
  ):
    assert field in found
  assert 'model.args.mlp.widths' not in found
  assert 'data.partition_args.dirichlet.alpha' not in found
  config.defence.pre_steps = ('bucketing',)
  assert 'defence.args.bucketing.size' not in unread(config)


def test_rules_name_fields_that_there_are():
  known = fields_of('study')
  for rule in RULES.values():
    assert set(rule.fields) <= set(known)


def test_config_of_wrong_types_has_what_is_certain_alone():
  config = defaults.default().to_dict()
  config['client']['steps'] = 'many'
  config['sharing']['scheme'] = ['none']
  found = unread(defaults.ConfigDict(config))
  assert 'client.epochs' not in found
  assert 'sharing.threshold' not in found
