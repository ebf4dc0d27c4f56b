"""Accuracy by client in a run's rows: when, over whom, and at what price."""

import io

import numpy as np
import pytest
from rich.console import Console

from fps_jax.config.validate import validate
from fps_jax.jobs import study
from fps_jax.results import metrics_file
from fps_jax.runs.by_client import NOT_ASKED, ByClient, Counted, over_clients
from tests.helpers import small

pytestmark = pytest.mark.usefixtures('no_figures')

ASKED = {'eval__by_client_every_rounds': 2, 'eval__personal_epochs': 1}


def test_mean_worst_tenth_and_spread_by_hand():
  accuracies = np.array([0.9] * 10 + [0.1, 0.2] + [0.5] * 8)
  mean, worst, spread = over_clients(
    np.random.default_rng(0).permutation(accuracies)
  )
  assert mean == pytest.approx((9 + 0.3 + 4) / 20)
  assert worst == pytest.approx(0.15)
  assert spread == pytest.approx(np.sqrt(np.mean((accuracies - mean) ** 2)))


def test_tenth_of_clients_is_rounded_up():
  assert over_clients(np.arange(1, 12) / 16)[1] == 1.5 / 16
  assert over_clients(np.array([0.25, 1.0]))[1] == 0.25


def test_malicious_clients_and_those_without_tests_are_in_no_accuracy():
  tests = ByClient(
    every_rounds=1,
    global_right=None,
    own_right=None,
    num_targets=np.array([4, 0, 10, 8, 0]),
    malicious=np.array([False, False, True, False, True]),
  )
  row = tests.summarise(Counted(np.array([1, 0, 10, 4, 0]), None))
  assert row['client_accuracy'] == (0.25 + 0.5) / 2
  assert row['client_accuracy_worst_tenth'] == 0.25
  assert row['client_accuracy_spread'] == 0.125
  assert row['clients_untested'] == 1
  assert row['personal_accuracy'] is None


def test_personal_epochs_without_tests_of_clients_are_refused():
  with pytest.raises(ValueError, match=r'personal_epochs=2 does nothing with'):
    validate(small.make_config(eval__personal_epochs=2))


@pytest.mark.slow
def test_clients_are_tested_every_so_many_rounds_and_after_the_last():
  config = small.make_config(**ASKED)
  simulation = small.make(config)
  params, rows = small.run_simulation(simulation, config)
  asked = [row['client_accuracy'] is not None for row in rows]
  assert asked == [False, True, True]
  assert {key: rows[0][key] for key in NOT_ASKED} == NOT_ASKED
  # Weighed by their tests, clients have the accuracy of the whole test set.
  tests = simulation.evaluation.by_client
  right = tests.global_right(params)
  assert right.sum() / tests.num_targets.sum() == rows[-1]['test_accuracy']
  # These have few classes each, which a pass over their examples shows.
  assert rows[-1]['personal_accuracy'] > rows[-1]['client_accuracy']


@pytest.mark.thorough
def test_round_that_ends_a_run_early_has_tests_of_clients_and_keeps_them(
  tmp_path,
):
  config = small.make_config(
    num_rounds=6,
    eval__by_client_every_rounds=10,
    eval__stop_at_accuracy=0.01,
    pruning__schedule='none',
    sharing__scheme='none',
  )
  simulation = small.make(config)
  params, (row,) = small.run_simulation(simulation, config)
  tests = simulation.evaluation.by_client
  counted = tests.start(params, 0, simulation.put_data())
  assert row['reached_accuracy']
  assert {key: row[key] for key in NOT_ASKED} == tests.summarise(counted)
  console = Console(file=io.StringIO())
  for num_rounds in (6, 9):
    config.num_rounds = num_rounds
    study.run_study(config, tmp_path, [], console=console)
    (kept,) = metrics_file.read_metrics(
      tmp_path / 'study' / 'seed_0' / 'metrics.jsonl'
    )
    assert {**kept, 'round_seconds': 0.0} == row


@pytest.mark.slow
def test_tests_of_clients_change_no_bit_of_the_model():
  params, rows = small.run(small.make_config())
  tested, rows_tested = small.run(small.make_config(**ASKED))
  np.testing.assert_array_equal(params, tested)
  for row, other in zip(rows, rows_tested, strict=True):
    assert {**other, **NOT_ASKED} == row


@pytest.mark.slow
def test_malicious_clients_make_the_model_their_own_honestly():
  attacked = small.make_config(
    attack__malicious=0.5, attack__data='label_flip', **ASKED
  )
  simulation = small.make(attacked)
  state = simulation.init_state()
  data = simulation.put_data()
  tests = simulation.evaluation.by_client
  honest = small.make(small.make_config(**ASKED)).evaluation.by_client
  np.testing.assert_array_equal(
    tests.own_right(state.params, 0, data),
    honest.own_right(state.params, 0, data),
  )
  assert tests.malicious.sum() == 4
