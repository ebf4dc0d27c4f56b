"""Tests of `fps_jax.config.validate`: one bad value for every bound."""

import math
from typing import Any

import pytest

from fps_jax.config import defaults as configs
from fps_jax.config.validate import validate
from fps_jax.pruning.schedules import SCHEDULES
from fps_jax.sharing.schemes import SCHEMES
from tests.helpers.config_cases import make_config, problems

AT_LEAST_ONE = (
  'num_rounds',
  'data.num_clients',
  'client.batch_size',
  'client.epochs',
  'cohort.size',
  'sharing.min_contributors',
  'eval.every_rounds',
  'eval.batch_size',
)
ABOVE_ZERO = (
  'client.learning_rate',
  'server.learning_rate',
  'sharing.clip',
)
AT_LEAST_ZERO = (
  'client.weight_decay',
  'client.proximal',
  'profiles.deadline_seconds',
)
ZERO_TO_ONE = (
  'target_accuracy',
  'client.momentum',
  'server.momentum',
  'faults.client_dropout_probability',
  'faults.server_dropout_probability',
  'faults.server_corruption_probability',
  'attack.malicious',
)
FLOATS = (*ABOVE_ZERO, *AT_LEAST_ZERO, *ZERO_TO_ONE, 'profiles.compute_saved')

# (field, bad value, what the message says of field, value and bound)
BAD = [
  *((name, 0, f'{name}=0 must be at least 1') for name in AT_LEAST_ONE),
  *((name, -2, f'{name}=-2 must be at least 1') for name in AT_LEAST_ONE),
  ('client.steps', -1, 'client.steps=-1 must be at least 0'),
  ('checkpoint.every_rounds', -1, 'every_rounds=-1 must be at least 0'),
  ('checkpoint.keep', 0, 'checkpoint.keep=0 must be at least 1'),
  ('faults.max_retries', 0, 'faults.max_retries=0 must be at least 1'),
  ('faults.on_failed_round', 'go', "on_failed_round='go' is not one of ['ret"),
  ('sharing.min_answers', -1, 'sharing.min_answers=-1 must be at least 0'),
  ('sharing.min_answers', 2, 'min_answers=2 must be 0 or from sharing.thre'),
  ('sharing.min_answers', 6, 'min_answers=6 must be 0 or from sharing.thre'),
  *((name, 0.0, f'{name}=0.0 must be above 0') for name in ABOVE_ZERO),
  *((name, -0.5, f'{name}=-0.5 must be above 0') for name in ABOVE_ZERO),
  *(
    (name, -0.01, f'{name}=-0.01 must be at least 0') for name in AT_LEAST_ZERO
  ),
  *(
    (name, value, f'{name}={value} must be in [0, 1)')
    for name in ZERO_TO_ONE
    for value in (-0.01, 1.0, 1.5)
  ),
  *((name, math.nan, f'{name}=nan must be finite') for name in FLOATS),
  *((name, math.inf, f'{name}=inf must be finite') for name in FLOATS),
  ('defence.num_malicious', -1, 'num_malicious=-1 must be at least 0'),
  ('cohort.weighting', 'size', "weighting='size' is not one of ['clients'"),
  ('attack.malicious', 0.2, 'malicious=0.2 with attack.data='),
  ('attack.data', 'flip', "attack.data='flip' is not one of ['backdoor'"),
  ('attack.data', 'backdoor', 'attack.malicious=0.0 with attack.data='),
  ('attack.updates', 'noise', "attack.updates='noise' is not one of ['alie'"),
  ('defence.name', 'trust', "defence.name='trust' is not one of ['bulyan'"),
  ('defence.name', 'multi_krum', "weigh the same, with cohort.weighting='exa"),
  ('data.pixel_mean', (), 'pixel_mean=() must hold at least 1 of them'),
  ('data.pixel_mean', (math.inf,), 'the entry inf, which must be finite'),
  ('data.pixel_std', (0.0,), 'has the entry 0.0, which must be above 0'),
  ('data.partition', 'idd', "data.partition='idd' is not one of ['dirichlet'"),
  ('model.name', 'mpl', "model.name='mpl' is not one of ['char_lstm'"),
  ('server.optimizer', 'sdg', "server.optimizer='sdg' is not one of ['adam'"),
  ('sharing.scheme', 'shamr', "sharing.scheme='shamr' is not one of ['ideal'"),
  ('sharing.reveal', 'all', "sharing.reveal='all' is not one of ['sum'"),
  ('cohort.size', 101, 'cohort.size=101 must be at most data.num_clients=100'),
  ('data.num_clients', 99, 'must be at most data.num_clients=99'),
  ('seeds', (), 'seeds=() must be distinct and at least one'),
  ('seeds', (1, 2, 1), 'seeds=(1, 2, 1) must be distinct'),
  ('seeds', (1, -1), r'seeds=(1, -1) must be in [0, 4294967295]'),
  ('perf.chunk_size', -1, 'chunk_size=-1 must be at least 0'),
  ('perf.execution', 'pmap', "execution='pmap' is not one of"),
  ('pruning.schedule', 'cubc', "'cubc' is not one of ['constant', 'cubic'"),
  ('pruning.sparsity', 1.0, 'sparsity=1.0 must be in [0, 1)'),
  ('pruning.sparsity', -0.1, 'sparsity=-0.1 must be in [0, 1)'),
  ('pruning.sparsity', math.nan, 'sparsity=nan must be finite, in [0, 1)'),
  ('pruning.begin_round', -1, 'begin_round=-1'),
  ('pruning.begin_round', 21, '0 <= begin_round <= end_round'),
  ('pruning.end_round', -1, 'end_round=-1'),
  ('pruning.num_steps', 0, 'num_steps=0 must be at least 1'),
  ('pruning.scope', 'local', "scope='local' is not one of"),
  ('pruning.server', 'lazy', "server='lazy' is not one of"),
  ('pruning.regrow_every', -1, 'regrow_every=-1 must be at least 0'),
  ('pruning.regrow_fraction', 0.6, 'regrow_fraction=0.6 must be in (0, 0.5]'),
  ('pruning.regrow_end_round', -1, 'regrow_end_round=-1 must be at least 0'),
  ('pruning.candidates_per_regrown', 0.5, 'candidates_per_regrown=0.5 must'),
  ('pruning.mask', 'own', "mask='own' is not one of"),
  ('pruning.mask', 'top_k', "mask='top_k' with sharing.scheme='shamir'"),
  ('pruning.tiers', (), 'tiers=() must be above 0 and end with 1'),
  ('pruning.tiers', (0.0, 1.0), 'tiers=(0.0, 1.0) must be above 0'),
  ('pruning.tiers', (0.5,), 'tiers=(0.5,) must be above 0 and end with 1'),
  ('pruning.tiers', (0.5, 0.5, 1.0), 'must ascend strictly'),
  ('pruning.tiers', (0.5, 1.0), 'deadline_seconds=0 lets every client train'),
  ('profiles.distribution', 'normal', "distribution='normal' is not one of"),
  ('profiles.deadline_seconds', 3.0, 'deadline_seconds=3.0 needs profiles'),
  ('profiles.compute_saved', 1.5, 'compute_saved=1.5 must be in [0, 1]'),
  ('sharing.min_contributors', 101, 'must be at most cohort.size=100'),
  ('sharing.num_servers', 2, 'threshold=3 must be in [1, num_servers=2]'),
  ('sharing.num_servers', 0, 'num_servers=0 must be at least 1'),
  ('sharing.threshold', 0, 'threshold=0 must be at least 1'),
  ('sharing.threshold', 6, 'threshold=6 must be in [1, num_servers=5]'),
  ('sharing.prime', 2**31 - 3, '=2147483645 is not a prime'),
  ('sharing.prime', 2**61 - 1, f'={2**61 - 1} is not a prime in [2, 2**31)'),
  ('sharing.prime', 5, 'need 6 points, more than the field prime 5'),
  ('sharing.secrets_per_polynomial', 0, 'polynomial=0 must be at least 1'),
  ('sharing.secrets_per_polynomial', 4, 'must be in [1, threshold=3]'),
  ('sharing.entropy', 'sead', "sharing.entropy='sead' is not one of ['os'"),
  ('sharing.audit', 'all', "sharing.audit='all' is not one of ['clients'"),
  (
    'faults.lying_servers',
    (6,),
    'lying_servers=(6,) must be distinct numbers',
  ),
  ('faults.lying_servers', (2, 2), 'lying_servers=(2, 2) must be distinct'),
  ('faults.inconsistent_clients', (100,), '(100,) must be in [0, 100)'),
  ('sharing.value_bits', 1, 'value_bits=1 must be at least 2'),
  ('sharing.value_bits', 17, 'value_bits=17 must be at most 16'),
  ('faults.missing_servers', (6,), '(6,) must be distinct numbers from 1 to'),
  ('faults.missing_servers', (2, 2), '(2, 2) must be distinct numbers'),
  ('faults.missing_servers', (1, 2, 3), 'at most 2 may be missing'),
]

# The values right at each bound, on the side that is allowed.
GOOD = [
  *(
    (name, 1)
    for name in AT_LEAST_ONE
    if name not in ('data.num_clients', 'cohort.size')
  ),
  ('cohort.size', 2),
  ('sharing.min_contributors', 100),
  ('client.steps', 0),
  *((name, 1e-9) for name in ABOVE_ZERO),
  *((name, 0.0) for name in AT_LEAST_ZERO),
  # Without an attack, nobody may be malicious.
  *((name, 0.999) for name in ZERO_TO_ONE if name != 'attack.malicious'),
  ('cohort.size', 100),
  ('seeds', (0,)),
  ('seeds', (5, 0, 2)),
  ('perf.chunk_size', 1),
  ('pruning.sparsity', 0.0),
  ('pruning.begin_round', 20),
  ('sharing.threshold', 1),
  ('sharing.threshold', 5),
  # 100 clients, 127 levels of either sign.
  ('sharing.prime', 25409),
  ('sharing.value_bits', 2),
  ('sharing.value_bits', 16),
  ('faults.missing_servers', (1, 5)),
  ('sharing.secrets_per_polynomial', 3),
  ('faults.lying_servers', (1, 5)),
  ('faults.inconsistent_clients', (0, 99)),
]


@pytest.mark.parametrize(('name', 'value', 'message'), BAD)
def test_bad_value_is_named_with_its_bound(name: str, value: Any, message: str):
  found = problems(make_config((name, value)))
  assert any(message in problem for problem in found)
  # Nothing else is wrong: what is reported is about this field.
  field = name.split('.')[-1]
  about = {'prime': ('modulus', 'prime'), 'missing_servers': ('missing',)}.get(
    field, (field,)
  )
  for problem in found:
    assert any(word in problem for word in about)


@pytest.mark.parametrize(('name', 'value'), GOOD)
def test_value_at_its_bound_is_allowed(name: str, value: Any):
  validate(make_config((name, value)))


def test_smallest_number_of_clients_is_allowed():
  validate(
    make_config(
      ('data.num_clients', 1),
      ('cohort.size', 1),
      ('sharing.min_contributors', 1),
    )
  )


def test_default_is_valid():
  validate(configs.default())


@pytest.mark.parametrize('scheme', SCHEMES)
@pytest.mark.parametrize('schedule', list(SCHEDULES))
def test_every_scheme_and_schedule_is_allowed(scheme: str, schedule: str):
  validate(
    make_config(('sharing.scheme', scheme), ('pruning.schedule', schedule))
  )


def test_all_problems_are_reported_at_once_one_a_line():
  found = problems(
    make_config(
      ('num_rounds', 0),
      ('client.learning_rate', -1.0),
      ('client.momentum', 1.5),
      ('model.name', 'mpl'),
      ('cohort.size', 200),
      ('seeds', (1, 1, -2)),
      ('perf.chunk_size', -1),
      ('pruning.sparsity', 2.0),
      ('sharing.threshold', 9),
    )
  )
  expected = [
    'seeds=(1, 1, -2) must be distinct',
    'seeds=(1, 1, -2) must be in [0, 4294967295]',
    'num_rounds=0 must be at least 1',
    "model.name='mpl' is not one of",
    'client.learning_rate=-1.0 must be above 0',
    'client.momentum=1.5 must be in [0, 1)',
    'sparsity=2.0 must be in [0, 1)',
    'chunk_size=-1 must be at least 0',
    'cohort.size=200 must be at most data.num_clients=100',
    'threshold=9 must be in [1, num_servers=5]',
  ]
  assert len(found) == len(expected)
  for message, problem in zip(expected, found, strict=True):
    assert message in problem


def test_config_is_not_changed():
  config = configs.default()
  validate(config)
  assert config == configs.default()


def test_masks_of_clients_own_are_opened_as_sums_alone():
  config = configs.default('local_masks')
  validate(config)
  config.sharing.reveal = 'updates'
  with pytest.raises(ValueError, match=r"mask='local' with sharing.reveal="):
    validate(config)
  config.sharing.scheme = 'none'
  validate(config)


def test_tiers_need_a_deadline_and_sums():
  config = configs.default()
  config.pruning.tiers = (0.5, 1.0)
  config.profiles.distribution = 'lognormal'
  config.profiles.deadline_seconds = 3.0
  validate(config)
  config.faults.client_dropout_probability = 0.1
  validate(config)
  config.pruning.scope = 'layer_normalised'
  with pytest.raises(ValueError, match=r"use one of \['global', 'erk'\]"):
    validate(config)
  config.pruning.scope = 'erk'
  config.sharing.reveal = 'updates'
  with pytest.raises(ValueError, match=r"use sharing\.reveal='sum'"):
    validate(config)
  config.sharing.scheme = 'none'
  validate(config)


def test_saliency_needs_a_first_round_that_prunes_nothing():
  config = make_config(
    ('pruning.score', 'saliency'), ('pruning.schedule', 'constant')
  )
  configs.prune_by_single_threshold(config)
  with pytest.raises(ValueError, match=r"'saliency'.*set begin_round=1"):
    validate(config)
  config.pruning.begin_round = 1
  validate(config)
  config.pruning.schedule, config.pruning.begin_round = 'cubic', 0
  validate(config)


def test_methods_without_pruning_do_not_read_the_tiers():
  config = configs.default()
  config.pruning.tiers = (0.5, 1.0)
  config.pruning.schedule = 'none'
  validate(config)


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('pruning.scope', 'erk'),
    ('pruning.server', 'dense'),
    ('pruning.regrow_every', 2),
  ],
)
def test_masks_of_clients_exclude_what_needs_a_shared_one(name, value):
  config = configs.default('top_k')
  validate(config)
  config.update_from_flattened_dict({name: value})
  with pytest.raises(ValueError, match=r"belong to mask='shared'"):
    validate(config)


def test_masks_of_clients_cannot_be_packed():
  config = configs.default('local_masks')
  validate(config)
  config.sharing.secrets_per_polynomial = 2
  with pytest.raises(ValueError, match=r'cannot be added; set it to 1'):
    validate(config)


@pytest.mark.parametrize(
  ('num_servers', 'missing', 'threshold'), [(5, (1, 4), 3), (3, (), 3)]
)
def test_clients_are_checked_where_there_are_spare_servers(
  num_servers: int, missing: tuple[int, ...], threshold: int
):
  config = make_config(
    ('sharing.audit', 'clients'),
    ('sharing.num_servers', num_servers),
    ('sharing.threshold', threshold),
    ('faults.missing_servers', missing),
  )
  (problem,) = problems(config)
  for part in (
    f"audit='clients' with sharing.num_servers={num_servers}, ",
    f'missing_servers={missing} and sharing.threshold={threshold}: any 3 ',
    'lower the threshold',
  ):
    assert part in problem
  for name, value in (
    ('sharing.threshold', threshold - 1),
    ('sharing.num_servers', num_servers + 1),
    ('sharing.audit', 'servers'),
    ('sharing.scheme', 'ideal'),
  ):
    allowed = config.copy_and_resolve_references()
    allowed.update_from_flattened_dict({name: value})
    validate(allowed)


def test_clients_that_drop_out_need_a_deadline():
  config = make_config(
    ('profiles.distribution', 'same'),
    ('faults.client_dropout_probability', 0.1),
  )
  with pytest.raises(ValueError, match=r'would wait for ever'):
    validate(config)


def test_rules_over_sound_fields_are_reported_beside_fields_that_are_wrong():
  found = problems(
    make_config(
      ('num_rounds', 0),
      ('cohort.size', 200),
      ('sharing.threshold', 7),
      ('sharing.secrets_per_polynomial', 9),
      ('sharing.min_contributors', 300),
      ('pruning.begin_round', 30),
      ('pruning.scope', 'erk'),
      ('pruning.server', 'sparse'),
      ('pruning.regrow_every', 3),
      ('profiles.deadline_seconds', 2.0),
      ('attack.malicious', 0.1),
      ('attack.updates', 'sign_flip'),
      ('attack.args.sign_flip.scale', -1.0),
    )
  )
  expected = [
    'num_rounds=0 must be at least 1',
    'attack.args.sign_flip.scale=-1.0 must be above 0',
    'cohort.size=200 must be at most data.num_clients=100',
    'begin_round=30 and end_round=20 must satisfy',
    "regrow_every=3 with regrow_rule='movement' needs a scope of",
    'profiles.deadline_seconds=2.0 needs profiles',
    'threshold=7 must be in [1, num_servers=5]',
    'secrets_per_polynomial=9 must be in [1, threshold=7]',
    'min_contributors=300 must be at most cohort.size=200',
  ]
  assert len(found) == len(expected)
  for message, problem in zip(expected, found, strict=True):
    assert message in problem


def test_sums_of_values_that_would_wrap_are_refused_before_data_is_loaded():
  config = make_config(('sharing.prime', 25391))
  with pytest.raises(ValueError, match=r'100 clients x 127 levels .* wrap'):
    validate(config)
  config.sharing.scheme = 'none'
  validate(config)


@pytest.mark.parametrize(
  ('choice', 'name', 'value', 'message'),
  [
    ('model.name', 'model.args.resnet8.width', 12, '12 channels (or width)'),
    ('model.name', 'model.args.cifar_cnn.channels', (8, 9), '9 channels (or'),
  ],
)
def test_arguments_that_do_not_fit_are_refused_where_they_are_used(
  choice: str, name: str, value: Any, message: str
):
  config = make_config((name, value))
  validate(config)
  chosen = make_config((name, value), (choice, name.split('.')[-2]))
  found = problems(chosen)
  assert any(message in problem for problem in found)
