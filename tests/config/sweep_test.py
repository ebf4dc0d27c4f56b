"""Sweeps: every combination once, and mistakes named."""

import pytest

from fps_jax.config import defaults as configs
from fps_jax.config import sweep
from fps_jax.config.validate import validate
from fps_jax.config.variants import resolve_variants
from fps_jax.results.titles import title_of


def _config():
  config = configs.default()
  configs.compare_methods(config, 'fedavg+fedpruneshare')
  config.lock()
  return config


def test_every_variant_becomes_one_for_each_combination():
  config = _config()
  sweep.expand(
    config, ['client.learning_rate=0.05,0.1', 'data.partition=iid,shards']
  )
  variants = resolve_variants(config)
  assert list(variants) == [
    f'{method}--client.learning_rate={rate}--data.partition={partition}'
    for method in ('fedavg', 'fedpruneshare')
    for rate in (0.05, 0.1)
    for partition in ('iid', 'shards')
  ]
  assert config.baseline == next(iter(variants))
  for name, variant in variants.items():
    validate(variant)
    assert f'learning_rate={variant.client.learning_rate}--' in name
    assert name.endswith(f'partition={variant.data.partition}')
    assert (variant.sharing.scheme == 'none') == name.startswith('fedavg')


def test_config_without_variants_is_swept_over_by_its_name():
  config = configs.default()
  sweep.expand(config, ['pruning.tiers=(1.0,),(0.5,1.0)', 'client.epochs=2'])
  variants = resolve_variants(config)
  assert [variant.pruning.tiers for variant in variants.values()] == [
    (1.0,),
    (0.5, 1.0),
  ]
  assert all(name.startswith('study--') for name in variants)


def test_without_sweeps_nothing_changes():
  config = _config()
  before = config.to_json()
  sweep.expand(config, [])
  assert config.to_json() == before


@pytest.mark.parametrize(
  ('sweeps', 'message'),
  [
    (['client.learning_rate'], 'must be FIELD=VALUE,VALUE'),
    (['client.learning_rate='], 'must be FIELD=VALUE,VALUE'),
    (['=1,2'], 'must be FIELD=VALUE,VALUE'),
    (['client.epochs=2,3,2'], 'names a value twice'),
    (['client.epochs=2', 'client.epochs=3'], 'client.epochs is given twice'),
    (['client.learning=0.1'], 'client.learning: the config has no such field'),
    (
      ['client.epochs.more=1'],
      'client.epochs.more: the config has no such field',
    ),
    (['cohort=1'], r"cohort is a section: name one of \['size', 'weighting'"),
    (['sharing.scheme=none'], 'fedavg: sharing.scheme is swept over, but is'),
  ],
)
def test_mistake_is_named(sweeps, message):
  with pytest.raises(ValueError, match=message):
    sweep.expand(_config(), sweeps)


@pytest.mark.parametrize('field', configs.STUDY_FIELDS)
def test_field_of_the_study_is_refused(field):
  message = f'--sweep={field} is of the study, .*: give --config.{field}=VALUE'
  with pytest.raises(ValueError, match=message):
    sweep.expand(_config(), [f'{field}=1,2'])


def test_baseline_that_is_no_variant_is_named():
  config = _config()
  config.baseline = 'fedavgg'
  with pytest.raises(ValueError, match="baseline='fedavgg' is not one of"):
    sweep.expand(config, ['client.epochs=2'])


def test_value_of_another_type_is_named():
  config = _config()
  sweep.expand(config, ['client.epochs=2,many'])
  with pytest.raises(ValueError, match=r'client.epochs=.* must be of type int'):
    resolve_variants(config)


def test_variant_that_reads_no_swept_field_runs_once():
  config = _config()
  sweep.expand(config, ['pruning.sparsity=0.5,0.9', 'sharing.value_bits=6,8'])
  assert list(resolve_variants(config)) == [
    'fedavg',
    *(
      f'fedpruneshare--pruning.sparsity={sparsity}--sharing.value_bits={bits}'
      for sparsity in (0.5, 0.9)
      for bits in (6, 8)
    ),
  ]
  assert config.baseline == 'fedavg'
  assert title_of('fedavg') == 'FedAvg'


def test_variant_that_reads_some_swept_fields_runs_for_these():
  config = _config()
  sweep.expand(
    config, ['client.learning_rate=0.05,0.1', 'pruning.sparsity=0.5,0.9']
  )
  names = list(resolve_variants(config))
  assert names[:2] == [
    'fedavg--client.learning_rate=0.05',
    'fedavg--client.learning_rate=0.1',
  ]
  assert len(names) == 6
  assert config.baseline == names[0]


def test_whether_a_field_is_read_depends_on_the_others_that_are_swept():
  config = configs.default()
  sweep.expand(
    config, ['pruning.schedule=none,cubic', 'pruning.sparsity=0.5,0.9']
  )
  assert list(resolve_variants(config)) == [
    'study--pruning.schedule=none',
    'study--pruning.schedule=cubic--pruning.sparsity=0.5',
    'study--pruning.schedule=cubic--pruning.sparsity=0.9',
  ]


def test_sweep_that_would_change_nothing_is_refused():
  config = configs.default()
  configs.compare_methods(config, 'fedavg+sharing')
  with pytest.raises(
    ValueError,
    match=r'--sweep=pruning\.sparsity would change nothing, as no variant '
    'reads it: in sharing nothing is pruned',
  ):
    sweep.expand(config, ['pruning.sparsity=0.5,0.9'])
