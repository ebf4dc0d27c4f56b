"""Settings that do not come to what they seem to are said before a run."""

import dataclasses
import re

import numpy as np
import pytest

from fps_jax.jobs import notices, notices_privacy
from fps_jax.results import kept_warnings
from fps_jax.runs.by_client import ByClient
from tests.helpers import small
from tests.helpers.notices import assert_said, config_of, lines
from tests.helpers.runs import make_row


def test_nothing_is_said_of_the_defaults():
  assert lines(config_of()) == []


@pytest.mark.parametrize(
  ('counts', 'said'),
  [
    ([30, 40, 26] * 4 + [0], []),
    (
      [30, 0, 0, 90, 40] * 4 + [0],
      ['up to 8 of 20 honest clients have no test'],
    ),
    (
      [24, 24, 90] * 4 + [0],
      ['half of the clients are tested on 24 targets or'],
    ),
    ([30] * 11 + [0, 30], ['up to 1 of 12 honest']),
    (
      [30] * 10 + [0, 30],
      ['up to 1 of 11 honest', '10 honest clients are tested, whose worst ten'],
    ),
  ],
)
def test_clients_with_few_tests_are_reported_but_for_malicious_ones(
  counts, said
):
  config = config_of()
  simulation = small.make(config)
  # The last one is malicious.
  malicious = np.arange(len(counts)) == len(counts) - 1
  tests = ByClient(1, lambda _: None, None, np.array(counts), malicious)
  evaluation = simulation.evaluation._replace(by_client=tests)
  simulation = dataclasses.replace(simulation, evaluation=evaluation)
  found = list(notices.before_run(config, [simulation]))
  assert len(found) == len(said)
  for line, part in zip(found, said, strict=True):
    assert part in line


@pytest.mark.parametrize(
  ('pruning', 'said'),
  [
    ({}, []),
    ({'regrow_every': 2, 'regrow_end_round': 3}, []),
    (
      {'end_round': 9},
      [
        'the last of 3 rounds has a sparsity of 0.3',
        'and end_round=9, or raise',
      ],
    ),
    ({'schedule': 'none', 'end_round': 9, 'regrow_every': 5}, []),
    ({'trained_fraction': 0.5}, []),
    (
      {'schedule': 'constant', 'trained_fraction': 0.9},
      ['trained_fraction=0.9 is as much as is kept, or more, in each of 3'],
    ),
    (
      {'trained_fraction': 0.2},
      ['trains 242 weights a round, of which 186 are exempt'],
    ),
    (
      {'regrow_every': 3, 'regrow_end_round': 9},
      ['in none of 3 rounds does anything grow', 'pruning.regrow_every=3'],
    ),
  ],
)
def test_schedule_that_does_not_come_to_what_is_set_is_reported(pruning, said):
  config = small.make_config()
  config.pruning.update(pruning)
  found = lines(config)
  assert len(found) == bool(said)
  for part in said:
    assert part in found[0]


@pytest.mark.parametrize(
  ('rule', 'steps', 'num_malicious', 'is_said'),
  [
    ('multi_krum', (), 0, True),
    ('multi_krum', ('nnm',), 1, True),
    ('multi_krum', (), 2, False),
    ('mean', ('nnm',), 0, True),
    ('fltrust', (), 0, False),
    ('none', (), 0, False),
  ],
)
def test_defence_that_bears_fewer_than_are_malicious_is_reported(
  rule, steps, num_malicious, is_said
):
  config = small.make_config(cohort__weighting='clients')
  config.attack.update({'malicious': 0.25, 'updates': 'ipm'})
  config.defence.update(
    {'name': rule, 'pre_steps': steps, 'num_malicious': num_malicious}
  )
  found = lines(config)
  assert len(found) == is_said
  for line in found:
    assert 'of cohort.size=8 about 2 are malicious' in line


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    # t = k - l = 0.
    (
      {'sharing': {'threshold': 1}},
      'sharing.threshold=1 with secrets_per_polynomial=1 leaves t = k - l = 0 '
      'servers that learn nothing: each of them alone learns all of every upd',
    ),
    (
      {'sharing': {'threshold': 2, 'secrets_per_polynomial': 2}},
      'alone learns part of every update; raise the threshold',
    ),
    ({'sharing': {'scheme': 'ideal', 'threshold': 1}}, 't = k - l = 0'),
    ({'sharing': {'reveal': 'updates', 'threshold': 1}}, 't = k - l = 0'),
    ({'sharing': {'threshold': 2}}, ''),
    ({'sharing': {'scheme': 'none', 'threshold': 1}}, ''),
    ({'sharing': {'scheme': 'quantised', 'threshold': 1}}, ''),
    # A sum of one client.
    (
      {'sharing': {'min_contributors': 1}, 'cohort': {'size': 1}},
      'min_contributors=1 opens the update of a client that reports alone',
    ),
    ({'sharing': {'min_contributors': 1}}, ''),
    # Who reports.
    (
      {
        'sharing': {'min_contributors': 5},
        'faults': {'client_dropout_probability': 0.5},
      },
      'leaves 4.0 of cohort.size=8 clients on average, fewer than sharing.min_',
    ),
    (
      {
        'sharing': {'min_contributors': 4},
        'faults': {'client_dropout_probability': 0.5},
      },
      '',
    ),
    (
      {
        'cohort': {'weighting': 'clients'},
        'defence': {'name': 'geometric_median', 'num_malicious': 3},
        'faults': {'client_dropout_probability': 0.25},
      },
      "8 clients on average: 'geometric_median' bears num_malicious=3 of 7",
    ),
    # The integers that servers multiply shares by.
    (
      {
        'cohort': {'weighting': 'clients'},
        'defence': {'name': 'mean'},
        'sharing': {'prime': 2**19 - 1, 'value_bits': 13},
      },
      'add up to 64 at most: of cohort.size=8 clients, each is rounded by '
      'up to 12 % of an equal part',
    ),
    (
      {
        'cohort': {'weighting': 'clients'},
        'defence': {'name': 'mean'},
        'sharing': {'prime': 2**19 - 1},
      },
      '',
    ),
    # Rounding.
    (
      {'sharing': {'value_bits': 3}},
      'rounds values to multiples of 0.083: in every round the mean of',
    ),
    (
      {'sharing': {'scheme': 'quantised', 'clip': 10.0}},
      'sharing.value_bits=8 with sharing.clip=10.0 rounds values to multiples',
    ),
    ({'sharing': {'scheme': 'none', 'value_bits': 3}}, ''),
    ({'sharing': {'value_bits': 6}}, ''),
    # Work beyond the data: each client has 64 examples.
    (
      {'client': {'steps': 641}},
      'client.steps=641 take a client 100 times or more through its examples',
    ),
    ({'client': {'steps': 640}}, ''),
    ({'client': {'epochs': 101}}, 'client.epochs=101 take a client 101 times'),
    (
      {'client': {'batch_size': 641}},
      'no client has more than 64 examples; lower it',
    ),
    ({'client': {'batch_size': 640}}, ''),
    # Faults of servers that there are not.
    (
      {'sharing': {'scheme': 'ideal'}, 'faults': {'lying_servers': (2,)}},
      "faults.lying_servers=(2,) does nothing with sharing.scheme='ideal'",
    ),
  ],
)
def test_setting_that_does_not_come_to_what_it_seems_is_said(changes, said):
  assert_said(changes, said)


def test_line_is_said_once_of_all_methods_it_is_about():
  said = {name: ['both'] for name in 'abcdef'}
  said['a'] = ['both', 'mine']
  assert notices.gather(said) == ['all 6 methods: both', 'a: mine']
  said['f'] = []
  assert notices.gather(said) == ['a, b, c, d and 1 more: both', 'a: mine']
  assert notices.gather({'a': ['mine']}) == ['a: mine']
  assert notices.gather({'a': []}) == []


def test_kept_warnings_are_read_again(tmp_path):
  assert kept_warnings.read(tmp_path) == []
  kept_warnings.keep(tmp_path, ['one', 'two'])
  assert kept_warnings.read(tmp_path) == ['one', 'two']
  (tmp_path / 'warnings.json').write_text('{"a')
  with pytest.raises(ValueError, match=r'warnings.json is damaged .*remove it'):
    kept_warnings.read(tmp_path)


def test_what_a_run_lost_is_said_after_it():
  lost = make_row(
    1,
    clipped_fraction=0.0234,
    clients_not_finite=3,
    capped_weight=0.256,
    clients_reporting=0,
    clients_too_slow=4,
    failed_attempts=1,
  )
  rows = [make_row(0), lost]
  assert list(notices.after_run(rows[:1], [])) == []
  found = list(notices.after_run(rows, ['a/kernel', 'b/kernel']))
  for line, said in zip(
    found,
    (
      'nothing is left of a/kernel, b/kernel: prune later, or choose',
      'up to 2.3 % of the values of a round were clipped: raise sharing.clip',
      '3 updates were not finite and left out',
      'up to 26 % of the weight of a round was taken from clients',
      'in 1 of 2 rounds no client was in time: raise profiles.deadline_seconds',
      '1 of 2 rounds failed and were tried again or skipped',
    ),
    strict=True,
  ):
    assert line.startswith(said)


def test_what_a_private_run_promises_is_said_and_what_undermines_it():
  promised = small.make_config(
    data__partition='iid',
    cohort__weighting='clients',
    privacy__mode='central',
    privacy__epsilon=4.0,
    privacy__neighbours='zero_out',
    sharing__value_bits=16,
  )
  assert lines(promised) == []
  said = notices_privacy.promise(promised, small.make(promised))
  assert 'for delta 1e-05 after 3 rounds, with noise multiplier' in said
  assert 3.99 < float(said.split('epsilon ')[1].split()[0]) <= 4
  assert 'against those alone who have neither the seed' in said
  promised.sharing.entropy = 'os'
  said = notices_privacy.promise(promised, small.make(promised))
  assert 'seed' not in said
  promised.sharing.entropy = 'seed'
  by_clients = small.change(
    promised.copy_and_resolve_references(),
    privacy__mode='distributed',
    # Which nothing reads there, and would be said to round too much.
    sharing__clip=1e6,
    faults__client_dropout_probability=0.25,
  )
  said = notices_privacy.promise(by_clients, small.make(by_clients))
  assert 'rounding makes it 1 times what that needs' in said
  assert re.search(
    r'wraps is below 2\*\*-\d+, and all draws are within 2', said
  )
  (missing,) = lines(by_clients)
  assert 'leaves about 6 clients of 8, and a sum of fewer than 8 is' in missing
  undermined = small.change(promised, privacy__delta=0.2, privacy__clip=0.001)
  for line, part in zip(
    lines(undermined),
    [
      'rounding to sharing.value_bits=16 of sharing.clip=0.25 may make',
      'privacy.delta=0.2 is not below 1 / data.num_clients=0.125',
    ],
    strict=True,
  ):
    assert part in line
  assert notices_privacy.promise(config_of(), small.make(config_of())) is None
