"""Tests of means over runs: their intervals, and differences seed by seed."""

import pathlib

import numpy as np
import pytest
from scipy import stats

from fps_jax.results import summary
from fps_jax.results.reported import DIFFERENCE
from fps_jax.results.spread import mean_over_rounds, mean_over_runs
from tests.helpers.runs import write_run


@pytest.mark.parametrize('number', [2, 3, 5, 9])
def test_margin_is_half_the_confidence_interval_of_scipy(number: int):
  values = np.random.default_rng(number).normal(0.9, 0.01, number)
  spread = mean_over_runs(values.tolist())
  assert spread is not None and spread.margin is not None
  interval = stats.t.interval(
    0.95, number - 1, loc=values.mean(), scale=stats.sem(values)
  )
  found = spread.middle - spread.margin, spread.middle + spread.margin
  assert found == pytest.approx(interval)
  assert spread[1:3] == (values.min(), values.max())


def test_one_run_and_rounds_of_one_run_have_no_interval():
  one = mean_over_runs([0.5])
  assert one is not None and one.margin is None
  # Rounds of a run are not independent of one another.
  rounds = mean_over_rounds([[1.0, 2.0], [3.0, 4.0]])
  assert rounds is not None and rounds.margin is None
  assert mean_over_runs([]) is None


def test_difference_is_paired_by_seed(tmp_path: pathlib.Path):
  ours = {0: 0.90, 1: 0.95, 2: 0.86, 7: 0.5}
  baseline = {0: 0.91, 1: 0.97, 2: 0.86, 8: 0.1}
  for name, accuracies in (('ours', ours), ('fedavg', baseline)):
    for seed, accuracy in accuracies.items():
      write_run(tmp_path, name, seed, [accuracy], [100])
  runs = {
    name: [
      summary.Run(name, seed, summary.read_metrics(path))
      for seed, path in summary.metrics_paths(tmp_path / name).items()
    ]
    for name in ('ours', 'fedavg')
  }
  of_ours, of_baseline = summary.summarise(runs, 'fedavg')
  difference = of_ours.numbers[DIFFERENCE]
  assert difference is not None and difference.margin is not None
  paired = [0, 1, 2]
  test = stats.ttest_rel(
    [ours[seed] for seed in paired], [baseline[seed] for seed in paired]
  )
  interval = test.confidence_interval(0.95)
  assert difference.middle == pytest.approx(-0.01)
  assert difference.middle - difference.margin == pytest.approx(interval.low)
  assert difference.middle + difference.margin == pytest.approx(interval.high)
  assert of_baseline.numbers[DIFFERENCE] is None
  written = of_ours.to_json()
  assert written['test_accuracy_difference_fraction_mean'] == difference.middle
  assert written['final_test_accuracy_fraction_margin'] > 0


def test_without_a_baseline_there_is_no_difference(tmp_path: pathlib.Path):
  write_run(tmp_path, 'ours', 0, [0.5], [100])
  runs = summary.collect(tmp_path, ['ours'])
  (alone,) = summary.summarise(runs, None)
  assert alone.numbers[DIFFERENCE] is None
