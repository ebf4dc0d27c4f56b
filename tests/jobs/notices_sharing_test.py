"""What settings of sharing come to is said before a run."""

import re
import types
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.jobs import notices
from fps_jax.jobs.notices_sharing import (
  effective_contributors,
  shorter_words,
)
from fps_jax.jobs.study_run import StudyRun
from fps_jax.sharing.field import largest_prime
from tests.helpers import small
from tests.helpers.notices import assert_said, config_of, lines


def _servers(
  scheme: tuple[int, int],
  dropout: float = 0.0,
  min_answers: int = 0,
  audit: str = 'servers',
  **faults: Any,
) -> dict[str, Any]:
  num_servers, threshold = scheme
  return {
    'sharing': {
      'num_servers': num_servers,
      'threshold': threshold,
      'min_answers': min_answers,
      'audit': audit,
    },
    'faults': {'server_dropout_probability': dropout, **faults},
  }


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    # Opened from k answers, nothing can be noticed, whoever lies.
    (_servers((5, 5)), 'from 5, as many as sharing.threshold: add servers'),
    (_servers((5, 4), missing_servers=(1,)), 'threshold: add servers or lower'),
    (_servers((5, 4), 0.1), 'set sharing.min_answers=5'),
    (_servers((5, 3), 0.1), 'set sharing.min_answers=4, or 5 to correct one'),
    (_servers((5, 3), 0.1, min_answers=3), 'set sharing.min_answers=4, or 5'),
    (_servers((5, 3), 0.1, min_answers=4), ''),
    (_servers((5, 3)), ''),
    (_servers((5, 4)), ''),
    # Nobody lies, and nobody looks.
    (_servers((5, 5), audit='none'), ''),
    (_servers((5, 3), 0.1, audit='none'), ''),
    (
      _servers((5, 3), audit='none', lying_servers=(2,)),
      "sharing.audit='none' with faults.lying_servers=(2,)",
    ),
    # 2 * wrong + missing <= N - k are corrected, wrong + missing noticed.
    (_servers((5, 3), lying_servers=(2,)), ''),
    (
      _servers((5, 3), lying_servers=(2, 4)),
      '2 wrong answers of 5 are noticed, but not corrected, and rounds fail',
    ),
    (
      _servers((5, 3), lying_servers=(2, 4, 5)),
      '3 wrong answers of 5 may have a wrong sum accepted: it takes 6 to',
    ),
    (
      _servers((5, 3), lying_servers=(2,), missing_servers=(1,)),
      '1 wrong answers of 4 are noticed, but not corrected',
    ),
    (_servers((7, 3), 0.1, min_answers=5, lying_servers=(1,)), ''),
    (
      _servers((7, 3), 0.1, min_answers=4, lying_servers=(1,)),
      '1 wrong answers of 4 are noticed, but not corrected',
    ),
    (_servers((7, 4), server_corruption_probability=0.1), ''),
    (
      _servers((7, 4), server_corruption_probability=0.3),
      '2 wrong answers of 7 are noticed, but not corrected',
    ),
    # Fewer answers than a sum is opened from.
    (
      _servers((5, 3), 0.5, min_answers=4),
      'leaves 2.5 answers on average, fewer than the 4',
    ),
  ],
)
def test_lies_that_cannot_be_noticed_or_corrected_are_said(changes, said):
  assert_said(changes, said)


def test_nothing_is_said_of_sums_where_there_are_none():
  changes = _servers((5, 5))
  changes['sharing']['reveal'] = 'updates'
  assert lines(config_of(**changes)) == []


@pytest.mark.parametrize(
  ('counts', 'cohort_size', 'contributors'),
  [
    ([7] * 10, 10, 10.0),
    ([7] * 10, 4, 4.0),
    ([5], 1, 1.0),
    ([10, 1, 1], 3, 1.02),
    ([10, 5, 5], 3, 1.5),
    ([10, 10, 1], 3, 2.01),
    # Cohorts of the largest client and one of 10 and 1.
    ([10, 10, 1], 2, 1 + (1 + 0.01) / 2),
  ],
)
def test_contributors_are_those_that_are_like_the_largest(
  counts, cohort_size, contributors
):
  found = effective_contributors(counts, cohort_size)
  assert found == pytest.approx(contributors)
  scaled = effective_contributors(3 * np.array(counts), cohort_size)
  assert scaled == pytest.approx(contributors)


def test_client_with_most_of_the_examples_is_said_to_give_itself_away():
  config = config_of()
  config.seeds = (0, 1)
  config.data.partition = 'quantity_skew'
  config.data.partition_args.quantity_skew.alpha = 0.05
  (line,) = lines(config)
  assert "cohort.weighting='examples' weighs it by them" in line
  assert 'fewer than sharing.min_contributors=2' in line
  for section, change in (
    ('cohort', {'weighting': 'clients'}),
    ('sharing', {'min_contributors': 1}),
    ('sharing', {'scheme': 'none'}),
    ('sharing', {'reveal': 'updates'}),
  ):
    other = ConfigDict(config.to_dict())
    other[section].update(change)
    assert lines(other) == []


@pytest.mark.parametrize(
  ('size', 'value_bits'), [(8, 8), (8, 4), (8, 14), (2, 2)]
)
def test_words_that_could_be_shorter_are_named_and_shorter_ones_are_refused(
  size, value_bits
):
  config = config_of(
    cohort={'size': size},
    sharing={'value_bits': value_bits, 'num_servers': 5},
  )
  said = shorter_words(config, [small.make(config)])
  named = re.search(r'have 31 bits, and (\d+) hold every sum: .*=(\d+) ', said)
  bits, config.sharing.prime = map(int, named.groups())
  assert shorter_words(config, [small.make(config)]) is None
  config.sharing.prime = largest_prime(bits - 1)
  with pytest.raises(ValueError, match='would wrap'):
    small.make(config)


def test_words_that_are_longer_by_less_than_a_tenth_are_left_alone():
  # Sums of eight clients' values need 17 bits.
  config = config_of(sharing={'value_bits': 14, 'prime': largest_prime(18)})
  run = small.make(config)
  assert shorter_words(config, [run]) is None
  config.sharing.prime = largest_prime(19)
  assert 'and 17 hold every sum' in shorter_words(config, [run])


def test_prime_is_printed_once_for_all_methods_that_share_alike():
  config, clear = config_of(), config_of(sharing={'scheme': 'none'})
  runs = [
    StudyRun(name, seed, variant, small.make(variant, seed))
    for name, variant in (
      ('fedavg', clear),
      ('sharing', config),
      ('fedpruneshare', config),
    )
    for seed in (0, 1)
  ]
  console = Console(record=True, width=200)
  notices.print_shorter_words(runs, console)
  (line,) = console.export_text().splitlines()
  about, _ = line.split(': words have 31 bits, and ')
  assert about == 'Secret sharing only, FedPruneShare'


def test_words_are_as_long_as_the_largest_client_of_any_seed_needs():
  config = config_of(data={'num_clients': 20}, cohort={'size': 20})
  runs = [
    types.SimpleNamespace(planner=types.SimpleNamespace(max_count=most))
    for most in (30, 600, 40)
  ]
  expected = '14 hold every sum: sharing.prime=16381 makes shares 55 % shorter'
  assert expected in shorter_words(config, runs)


@pytest.mark.parametrize(
  'changes',
  [
    {'sharing': {'scheme': 'none'}},
    {'sharing': {'scheme': 'quantised'}},
    {
      'defence': {'name': 'multi_krum', 'num_malicious': 1},
      'cohort': {'weighting': 'clients'},
    },
  ],
)
def test_nothing_is_said_of_words_that_hold_more_than_sums(changes):
  config = config_of(**changes)
  assert shorter_words(config, [small.make(config)]) is None
