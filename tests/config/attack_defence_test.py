"""Tests of the sections `attack` and `defence`: what does not fit."""

import pytest

from fps_jax.config.validate import validate
from tests.helpers import small
from tests.helpers.config_cases import make_config, problems

ATTACKED = (('attack.malicious', 0.2), ('attack.updates', 'alie'))
WEIGHED = (('cohort.weighting', 'clients'), ('defence.num_malicious', 20))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      (('attack.malicious', 0.2), ('attack.updates', 'wrap_around')),
      "attack.updates='wrap_around' needs sums in a field",
    ),
    (
      (*ATTACKED, ('pruning.mask', 'local')),
      "with pruning.mask='local' and pruning.tiers=(1.0,): use 'shared'",
    ),
    (
      (*WEIGHED, ('defence.name', 'median'), ('sharing.scheme', 'shamir')),
      "defence.name='median' needs every update in the clear",
    ),
    (
      (*WEIGHED, ('defence.name', 'krum'), ('sharing.scheme', 'ideal')),
      "defence.name='krum' selects a single client",
    ),
    (
      (
        *WEIGHED,
        ('defence.name', 'multi_krum'),
        ('defence.num_malicious', 49),
      ),
      'num_malicious=49',
    ),
    (
      (
        *WEIGHED,
        ('defence.name', 'multi_krum'),
        ('defence.pre_steps', ('nn',)),
      ),
      "'nn'",
    ),
    (
      (
        *WEIGHED,
        ('defence.name', 'norm_bound'),
        ('sharing.scheme', 'shamir'),
        ('sharing.threshold', 4),
        ('sharing.secrets_per_polynomial', 2),
        ('defence.sketch_size', 1023),
      ),
      'sketch_size=1023 must be a multiple of sharing.secrets_per_polynomial=2',
    ),
    (
      (
        ('attack.malicious', 0.2),
        ('attack.updates', 'ascent'),
        ('attack.knows_seed', True),
        *WEIGHED,
        ('defence.name', 'multi_krum'),
      ),
      "attack.knows_seed=True with attack.updates='ascent' and defence.name='m",
    ),
    (
      (
        *ATTACKED,
        ('attack.knows_seed', True),
        *WEIGHED,
        ('sharing.scheme', 'ideal'),
        ('defence.name', 'multi_krum'),
      ),
      "set it for one of ('ascent', 'hidden') against a defence that sees",
    ),
  ],
)
def test_attacks_and_defences_that_do_not_fit_are_refused(changes, message):
  scheme = (('sharing.scheme', 'none'),)
  found = problems(make_config(*scheme, *changes))
  assert any(message in problem for problem in found)


def test_multi_krum_of_too_few_clients_for_a_sum_is_refused():
  config = make_config(
    *WEIGHED,
    ('defence.name', 'multi_krum'),
    ('defence.num_malicious', 10),
    ('sharing.min_contributors', 90),
  )
  validate(config)
  config.sharing.min_contributors = 91
  config.defence.pre_steps = ('nnm',)
  validate(config)
  config.defence.pre_steps = ()
  with pytest.raises(ValueError, match=r'chooses 90 of cohort\.size=100'):
    validate(config)


@pytest.mark.parametrize('name', ['median', 'krum', 'multi_krum', 'fltrust'])
def test_defence_of_updates_in_the_clear_is_allowed(name: str):
  clear = (('sharing.scheme', 'none'), ('defence.name', name))
  validate(make_config(*ATTACKED, *WEIGHED, *clear))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      (('attack.malicious', 0.004), ('attack.updates', 'ipm')),
      'attack.malicious=0.004 of data.num_clients=100 is nobody: raise it abov',
    ),
    (
      (
        ('attack.malicious', 0.2),
        ('attack.data', 'backdoor'),
        ('attack.args.backdoor.fraction', 0.04),
      ),
      'backdoor.fraction=0.04 of client.batch_size=10 is no example: raise it',
    ),
    (
      (*ATTACKED, ('attack.args.alie.size', 1)),
      "attack.args.alie.size=1 is not an argument of 'alie', which takes ['d",
    ),
    (
      (
        ('attack.malicious', 0.2),
        ('attack.data', 'backdoor'),
        ('attack.args.backdoor.colour', 1),
      ),
      "backdoor.colour=1 is not an argument of 'backdoor', which takes ['size'",
    ),
    (
      (*WEIGHED, ('defence.name', 'fltrust'), ('defence.args.mean', {'a': 1})),
      "defence.args.mean.a=1 is not an argument of 'mean', which takes []",
    ),
  ],
)
def test_attacks_that_would_do_nothing_or_fail_later_are_refused(
  changes, message
):
  scheme = (('sharing.scheme', 'none'),)
  (found,) = problems(make_config(*scheme, *changes))
  assert message in found


def test_everything_wrong_with_a_defence_is_said_at_once():
  found = problems(
    make_config(
      ('defence.name', 'bulyan'),
      ('defence.pre_steps', ('nnm',)),
      ('defence.num_malicious', 30),
      ('defence.sketch_size', 1023),
      ('sharing.threshold', 4),
      ('sharing.secrets_per_polynomial', 2),
    )
  )
  expected = [
    "pre_steps=('nnm',) mix by inner products",
    "defence.name='bulyan' takes all clients to weigh the same",
    'sketch_size=1023 must be a multiple of',
    "defence.name='bulyan' needs every update in the clear",
  ]
  assert len(found) == len(expected)
  for message, problem in zip(expected, found, strict=True):
    assert message in problem


def test_more_root_examples_than_there_are_are_refused():
  config = small.make_config(
    cohort__weighting='clients',
    defence__name='fltrust',
    defence__root_examples=10**6,
  )
  validate(config)
  with pytest.raises(
    ValueError, match=r'root_examples=1000000 must be at most'
  ):
    small.make(config)


def test_what_a_rule_cannot_bear_and_what_it_does_not_take_are_both_said():
  config = small.make_config(
    cohort__weighting='clients',
    defence__name='geometric_median',
    defence__num_malicious=7,
  )
  del config.defence.args.geometric_median.iterations
  found = problems(config)
  assert any('num_malicious=7' in line for line in found)
  assert any('iterations' in line for line in found)
