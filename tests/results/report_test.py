"""Tests of the report, on studies whose numbers are worked out by hand."""

import io
import json
import pathlib

import numpy as np
import pytest
from matplotlib import image as mpl_image
from rich import console as rich_console
from rich import table as rich_table

from fps_jax.results import (
  figures,
  metrics,
  metrics_file,
  report,
  reported,
  study_tables,
)
from fps_jax.results import summary as summaries
from fps_jax.results.column import Column
from fps_jax.results.spread import mean_over_rounds
from tests.helpers.runs import make_row, write_run

_FIGURES = (
  'accuracy_rounds.png',
  'accuracy_rounds.pdf',
  'accuracy_uplink.png',
  'accuracy_uplink.pdf',
)


@pytest.fixture(name='workdir')
def _workdir(tmp_path: pathlib.Path) -> pathlib.Path:
  """Three rounds of two variants under seeds 1, 2 and 10."""
  for seed, final in ((1, 0.96), (2, 0.97), (10, 0.9875)):
    write_run(tmp_path, 'fedavg', seed, [0.5, final, None], [3000] * 3)
    write_run(tmp_path, 'sharing', seed, [0.5, final, None], [15000] * 3)
  return tmp_path


def _summarise(workdir: pathlib.Path) -> list[summaries.Summary]:
  return summaries.summarise(
    summaries.collect(workdir, ['sharing', 'fedavg']), baseline='fedavg'
  )


def _summarise_one(
  workdir: pathlib.Path, accuracy: float, name: str = 'mine'
) -> list[summaries.Summary]:
  """Writes and summarises a study of one run of one round."""
  write_run(workdir, name, 0, [accuracy], [100])
  return summaries.summarise(summaries.collect(workdir, [name]), name)


def _print(table: rich_table.Table, width: int) -> str:
  console = rich_console.Console(file=io.StringIO(), width=width)
  with console.capture() as capture:
    console.print(table)
  return capture.get()


def test_runs_keep_the_order_of_variants_and_sort_seeds(
  workdir: pathlib.Path,
) -> None:
  (workdir / 'fedavg' / 'seed_old').mkdir()
  runs = summaries.collect(workdir, ['sharing', 'fedavg'])
  assert list(runs) == ['sharing', 'fedavg']
  assert [run.seed for run in runs['fedavg']] == [1, 2, 10]
  assert [len(run.rows) for run in runs['fedavg']] == [3, 3, 3]


def test_summary_of_three_seeds(workdir: pathlib.Path) -> None:
  sharing, fedavg = _summarise(workdir)
  assert sharing.title == 'Secret sharing only'
  assert (fedavg.seeds, fedavg.rounds) == ([1, 2, 10], 3)
  # (0.96 + 0.97 + 0.9875) / 3
  assert fedavg.numbers['test_accuracy'].middle == pytest.approx(0.9725)
  assert fedavg.numbers['test_accuracy'].least == 0.96
  assert fedavg.numbers['test_accuracy'].most == 0.9875
  assert fedavg.middle('uplink_bytes_per_client') == 3000
  # 1000 * (1 + 2 + 10) / 3
  assert fedavg.middle('downlink_bytes_per_client') == pytest.approx(13000 / 3)
  assert fedavg.middle('server_to_central_bytes') == 500
  assert fedavg.middle('sparsity') == 0.5


def test_saving_below_one_means_more_uplink_than_the_baseline(
  workdir: pathlib.Path,
) -> None:
  sharing, fedavg = _summarise(workdir)
  assert sharing.middle('uplink_saving_factor') == pytest.approx(3000 / 15000)
  assert fedavg.middle('uplink_saving_factor') == 1.0


def test_uplink_is_a_mean_over_rounds_and_seeds(
  tmp_path: pathlib.Path,
) -> None:
  write_run(tmp_path, 'pruning', 0, [0.5, 0.9], [800, 200])
  write_run(tmp_path, 'pruning', 1, [0.5, 0.9], [800, 600])
  runs = summaries.collect(tmp_path, ['pruning'])
  (summary,) = summaries.summarise(runs, baseline='pruning')
  assert summary.middle('uplink_bytes_per_client') == 600


def test_median_round_excludes_round_one_when_there_are_more(
  workdir: pathlib.Path,
) -> None:
  # Rounds 2 and 3 take 0.25 * (1 + seed) and 0.25 * (2 + seed):
  # 0.5, 0.75, 0.75, 1, 2.75, 3.
  assert _summarise(workdir)[0].middle('round_seconds') == 0.875


def test_median_of_a_single_round_is_that_round(tmp_path: pathlib.Path) -> None:
  (summary,) = _summarise_one(tmp_path, 0.9)
  assert summary.middle('round_seconds') == 60.0


def test_variant_without_runs_is_an_error(workdir: pathlib.Path) -> None:
  with pytest.raises(ValueError, match="run variant 'pruning', or leave it"):
    summaries.collect(workdir, ['fedavg', 'pruning'])


def test_run_without_evaluation_is_an_error(tmp_path: pathlib.Path) -> None:
  write_run(tmp_path, 'fedavg', 0, [None, None], [1, 1])
  with pytest.raises(ValueError, match='none of its 2 rounds was evaluated'):
    summaries.collect(tmp_path, ['fedavg'])


@pytest.mark.parametrize(
  ('seed', 'accuracies', 'message'),
  [
    (2, [0.5, 0.5], r"differ in seeds: {'fedavg': \[1\], 'sharing': \[2\]}"),
    (1, [0.5], r"'fedavg/seed_1': \(2, 2\), 'sharing/seed_1': \(1, 1\)"),
    (1, [0.5, None], r"seed_1': \(2, 2\), 'sharing/seed_1': \(2, 1\)"),
  ],
  ids=['seeds', 'rounds', 'last_evaluated_round'],
)
def test_runs_whose_means_are_incomparable_are_an_error(
  tmp_path: pathlib.Path,
  seed: int,
  accuracies: list[float | None],
  message: str,
) -> None:
  write_run(tmp_path, 'fedavg', 1, [0.5, 0.5], [1, 1])
  write_run(tmp_path, 'sharing', seed, accuracies, [1] * len(accuracies))
  with pytest.raises(ValueError, match=message):
    summaries.collect(tmp_path, ['fedavg', 'sharing'])


def test_unknown_baseline_is_an_error(workdir: pathlib.Path) -> None:
  runs = summaries.collect(workdir, ['sharing'])
  with pytest.raises(ValueError, match="baseline 'fedavg' is not among"):
    summaries.summarise(runs, baseline='fedavg')


def test_variant_that_sent_nothing_is_an_error(tmp_path: pathlib.Path) -> None:
  write_run(tmp_path, 'fedavg', 0, [0.5], [0])
  runs = summaries.collect(tmp_path, ['fedavg'])
  with pytest.raises(ValueError, match="'fedavg' sent 0 uplink bytes"):
    summaries.summarise(runs, baseline='fedavg')


def test_error_writes_nothing(workdir: pathlib.Path) -> None:
  with pytest.raises(ValueError, match='baseline'):
    report.write_report(workdir, ['sharing'], baseline='fedavg')
  assert {path.name for path in workdir.iterdir()} == {'fedavg', 'sharing'}


def test_rows_take_one_line_on_100_columns(workdir: pathlib.Path) -> None:
  table = report.make_table(_summarise(workdir), 'FedAvg')
  lines = _print(table, width=100).splitlines()
  assert '3 rounds, seeds 1, 2, 10' in lines[0]
  (row,) = (line.split() for line in lines if 'Secret sharing only' in line)
  assert row[3:] == [
    '97.25±3.46',
    '+0.00±0.00',
    '15.0',
    'kB',
    '4.33',
    'kB',
    '500',
    'B',
    '0.20x',
    '50.0',
    '0.875',
  ]


def test_all_numbers_show_on_80_columns(workdir: pathlib.Path) -> None:
  table = report.make_table(_summarise(workdir), 'FedAvg')
  text = _print(table, width=80)
  assert '…' not in text
  for number in ('97.25±3.46', '+0.00', '15.0 kB', '0.20x', '0.875'):
    assert number in text


def test_one_seed_shows_no_interval(tmp_path: pathlib.Path) -> None:
  summaries = _summarise_one(tmp_path, accuracy=0.9731)
  text = _print(report.make_table(summaries, 'mine'), width=100)
  assert '1 round, seed 0' in text
  assert '97.31' in text and '±' not in text and '[' not in text


def test_titles_are_shown_verbatim(tmp_path: pathlib.Path) -> None:
  summaries = _summarise_one(tmp_path, 0.9, '[b] mine')
  table = report.make_table(summaries, '[b] mine')
  assert _print(table, width=100).count('[b] mine') == 2
  assert '| [b] mine |' in report.make_markdown(summaries, '[b] mine')


def test_variant_without_a_title_keeps_its_name(tmp_path: pathlib.Path) -> None:
  (summary,) = _summarise_one(tmp_path, 0.9)
  assert summary.title == 'mine'


@pytest.mark.slow
def test_markdown_and_json_hold_the_summary(workdir: pathlib.Path) -> None:
  report.write_report(workdir, ['sharing', 'fedavg'], 'fedavg')
  page = (workdir / 'report.md').read_text()
  assert (
    '| FedAvg | 97.25±3.46 | - | 3.00 kB | 4.33 kB | 500 B | 1.00x '
    '| 50.0 | 0.875 |\n'
  ) in page
  assert 'without round 1, which compiles' in page
  written = json.loads((workdir / 'report.json').read_text())
  assert written['baseline'] == 'fedavg'
  names = [variant['variant'] for variant in written['variants']]
  assert names == ['sharing', 'fedavg']
  assert written['variants'][0]['uplink_saving_factor'] == pytest.approx(0.2)


@pytest.mark.slow
def test_figures_are_drawn_at_200_dots_per_inch(workdir: pathlib.Path) -> None:
  report.write_report(workdir, ['fedavg', 'sharing'], 'fedavg')
  for name in _FIGURES:
    assert (workdir / name).stat().st_size > 5000
  for name in _FIGURES[::2]:
    pixels_HxWxC = mpl_image.imread(workdir / name)
    assert pixels_HxWxC.shape[1] == 680  # 3.4 inches
    assert len(np.unique(pixels_HxWxC.reshape(-1, 4), axis=0)) > 100


def test_no_baseline_no_saving(workdir: pathlib.Path) -> None:
  runs = summaries.collect(workdir, ['fedavg'])
  (summary,) = summaries.summarise(runs, baseline=None)
  assert summary.middle('uplink_saving_factor') is None
  assert (
    study_tables.cells(summary)[study_tables.COLUMNS.index('Uplink saving')]
    == '-'
  )


def test_cost_to_target_is_that_of_the_rounds_until_it_is_reached(
  tmp_path: pathlib.Path,
) -> None:
  accuracies = [0.5, 0.8, 0.7, 0.9]
  write_run(tmp_path, 'fedavg', 0, accuracies, [10, 20, 30, 40], 60.0)
  write_run(tmp_path, 'fedavg', 1, [0.2, None, 0.8, 0.1], [5, 5, 5, 5], 30.0)
  write_run(tmp_path, 'never', 0, accuracies, [1, 1, 1, 1])
  write_run(tmp_path, 'never', 1, [0.79, 0.5, 0.5, 0.5], [1, 1, 1, 1])
  runs = summaries.collect(tmp_path, ['fedavg', 'never'])
  found, never = summaries.summarise(runs, 'fedavg', target_accuracy=0.8)
  assert found.to_target == summaries.CostToTarget(
    rounds=2.5, uplink_bytes_per_client=22.5, simulated_seconds=105.0
  )
  assert never.to_target is None
  without, _ = summaries.summarise(runs, 'fedavg')
  assert without.to_target is None


@pytest.mark.slow
def test_target_has_a_table_of_its_own(tmp_path: pathlib.Path) -> None:
  for variant, seconds in (('fedavg', 60.0), ('fedpruneshare_90', 30.0)):
    write_run(tmp_path, variant, 0, [0.5, 0.9], [10, 20], seconds)
  variants = ['fedavg', 'fedpruneshare_90']
  tables = report.write_report(
    tmp_path, variants, 'fedavg', target_accuracy=0.8
  )
  page = (tmp_path / 'report.md').read_text()
  assert '## What 80 % test accuracy took; means over seeds' in page
  assert '| FedPruneShare 90 % | 2 | 30 B | 1 |' in page
  assert '![Test accuracy over time](accuracy_time.png)' in page
  assert (tmp_path / 'accuracy_time.png').exists()
  console = rich_console.Console(file=io.StringIO(), width=80)
  console.print(tables)
  assert 'What 80 % test accuracy took' in console.file.getvalue()


@pytest.mark.slow
def test_no_profiles_no_figure_over_time(tmp_path: pathlib.Path) -> None:
  write_run(tmp_path, 'fedavg', 0, [0.5, 0.9], [10, 20], 60.0)
  write_run(tmp_path, 'sharing', 0, [0.5, 0.9], [10, 20])
  report.write_report(tmp_path, ['fedavg', 'sharing'], 'fedavg')
  assert not (tmp_path / 'accuracy_time.png').exists()
  assert 'accuracy_time' not in (tmp_path / 'report.md').read_text()


@pytest.mark.slow
def test_many_sparsities_have_a_figure_over_them(
  tmp_path: pathlib.Path,
) -> None:
  variants = ['fedavg', *(f'fedpruneshare_{p}' for p in (50, 80, 90))]
  for variant, sparsity in zip(variants, (0, 0.5, 0.8, 0.9), strict=True):
    write_run(tmp_path, variant, 0, [0.5, 0.9], [2, 1], sparsity=sparsity)
  report.write_report(tmp_path, variants[:3], 'fedavg')
  assert not (tmp_path / 'accuracy_sparsity.png').exists()
  report.write_report(tmp_path, variants, 'fedavg')
  page = (tmp_path / 'report.md').read_text()
  assert '![Test accuracy over sparsity](accuracy_sparsity.png)' in page
  assert (tmp_path / 'accuracy_sparsity.png').exists()


@pytest.fixture(name='diverged')
def _diverged(tmp_path: pathlib.Path) -> pathlib.Path:
  """Two variants, one diverged under one seed, one under both."""
  write_run(tmp_path, 'fedavg', 0, [0.5, 0.6, 0.7], [100] * 3)
  write_run(tmp_path, 'fedavg', 1, [0.5, 0.1], [900] * 2, diverged=True)
  write_run(tmp_path, 'sharing', 0, [0.4, 0.3, 0.1], [900] * 3, diverged=True)
  write_run(tmp_path, 'sharing', 1, [None], [900], diverged=True)
  return tmp_path


def test_run_that_diverged_is_in_no_mean(diverged: pathlib.Path) -> None:
  runs = summaries.collect(diverged, ['fedavg', 'sharing'])
  fedavg, sharing = summaries.summarise(runs, 'fedavg')
  assert (fedavg.seeds, fedavg.rounds) == ([0], 3)
  assert fedavg.diverged == [summaries.Diverged(seed=1, round=2)]
  assert fedavg.numbers['test_accuracy'].middle == 0.7
  assert fedavg.middle('uplink_bytes_per_client') == 100
  assert sharing.seeds == []
  assert [run.round for run in sharing.diverged] == [3, 1]
  assert sharing.numbers['test_accuracy'] is None
  assert sharing.middle('uplink_saving_factor') is None


@pytest.mark.slow
def test_run_that_diverged_is_shown_as_such_everywhere(
  diverged: pathlib.Path,
) -> None:
  tables = report.write_report(
    diverged, ['fedavg', 'sharing'], 'fedavg', target_accuracy=0.6
  )
  console = rich_console.Console(file=io.StringIO(), width=200)
  with console.capture() as capture:
    console.print(tables)
  page = (diverged / 'report.md').read_text()
  for text in (capture.get(), page):
    assert 'FedAvg (1 of 2 diverged)' in text
    assert 'Secret sharing only (2 of 2 diverged)' in text
    assert '3 rounds, seeds 0, 1' in text
    assert 'FedAvg, seed 1: training diverged in round 2' in text
    assert 'Secret sharing only, seed 0: training diverged in round 3' in text
  row = next(line for line in page.splitlines() if '(2 of 2' in line)
  assert row.count('| - ') == len(study_tables.COLUMNS) - 1
  of_sharing = json.loads((diverged / 'report.json').read_text())['variants'][1]
  assert of_sharing['diverged'][1] == {'seed': 1, 'round': 1}
  table = (diverged / 'metrics.csv').read_text()
  assert table.count(',True,') == 3


def test_curve_of_a_run_that_diverged_ends_before_and_says_so(
  diverged: pathlib.Path,
) -> None:
  runs = summaries.collect(diverged, ['fedavg', 'sharing'])
  drawn = [
    curve for name in runs for curve in report.make_curves(name, runs[name])
  ]
  assert [curve.title for curve in drawn] == [
    'fedavg',
    'fedavg, seed 1, diverged in round 2',
    'sharing, seed 0, diverged in round 3',
  ]
  np.testing.assert_allclose(drawn[0].mean, [50, 60, 70])
  np.testing.assert_allclose(drawn[1].mean, [50])
  np.testing.assert_allclose(drawn[2].mean, [40, 30])


def test_study_of_which_every_run_diverged_at_once_has_no_figure(
  tmp_path: pathlib.Path,
) -> None:
  write_run(tmp_path, 'fedavg', 0, [0.1], [100], diverged=True)
  report.write_report(tmp_path, ['fedavg'], 'fedavg')
  assert not list(tmp_path.glob('*.png'))
  assert '![' not in (tmp_path / 'report.md').read_text()


def test_column_that_is_declared_with_a_heading_is_in_reports(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  column = Column(mean_over_rounds, key='mean_loss', heading='Loss')
  for declared in (metrics.COLUMNS, reported.REPORTED):
    monkeypatch.setitem(declared, 'train_loss', column)
  (summary,) = _summarise_one(tmp_path, 0.9)
  assert summary.to_json()['mean_loss'] == 0.5
  assert study_tables.cells(summary)[-1] == '0.5'
  # A study of an earlier version has no such column.
  for row in (runs := summaries.collect(tmp_path, ['mine']))['mine'][0].rows:
    del row['train_loss']
  (summary,) = summaries.summarise(runs, 'mine')
  assert summary.to_json()['mean_loss'] is None
  assert study_tables.cells(summary)[-1] == '-'


def test_columns_keep_their_order_in_reports() -> None:
  assert study_tables.COLUMNS == (
    'Method',
    'Test accuracy (%)',
    'Uplink per client',
    'Downlink per client',
    'Servers to central server',
    'Uplink saving',
    'Sparsity (%)',
    'Time per round (s)',
  )


def test_loss_is_reported_where_there_is_no_accuracy(
  tmp_path: pathlib.Path,
) -> None:
  for seed, last in ((1, 0.25), (2, 0.75)):
    write_run(
      tmp_path, 'mine', seed, [None] * 3, [100] * 3, losses=[2.0, None, last]
    )
  runs = summaries.collect(tmp_path, ['mine'])
  (summary,) = summaries.summarise(runs, 'mine')
  assert study_tables.cells(summary)[1] == 'loss 0.5±3.177'
  assert summary.to_json()['final_test_accuracy_fraction_mean'] is None
  assert [len(run.evaluated) for run in runs['mine']] == [2, 2]
  (curve,) = report.make_curves('Mine', runs['mine'])
  assert curve.measure == 'loss'
  np.testing.assert_array_equal(curve.mean, [2.0, 0.5])
  # The first fifth of the rounds does not count, and a loss has no bound.
  low, high = figures.limits([curve])
  assert 0 <= low < 0.25
  assert high > 2.0


@pytest.mark.slow
def test_losses_are_drawn_by_themselves(tmp_path: pathlib.Path) -> None:
  write_run(tmp_path, 'fedavg', 1, [0.5, 0.9], [100] * 2, losses=[2.0, 1.0])
  write_run(tmp_path, 'mine', 1, [None] * 2, [100] * 2, losses=[2.0, 1.0])
  report.write_report(tmp_path, ['fedavg', 'mine'], 'fedavg')
  names = {path.stem for path in tmp_path.glob('*.png')}
  assert names == {
    f'{measure}_{cost}'
    for measure in ('accuracy', 'loss')
    for cost in ('rounds', 'uplink')
  }
  page = (tmp_path / 'report.md').read_text()
  assert '![Test loss over rounds](loss_rounds.png)' in page


@pytest.mark.slow
def test_clients_have_a_table_and_a_figure_where_they_were_tested(
  tmp_path: pathlib.Path,
) -> None:
  for variant, worst in (('fedavg', 0.25), ('sharing', None)):
    row = make_row(1, test_accuracy=0.5, client_accuracy_worst_tenth=worst)
    if worst:
      row |= {'client_accuracy': 0.375, 'clients_untested': 2}
    path = tmp_path / variant / 'seed_0' / 'metrics.jsonl'
    with metrics_file.MetricsWriter(path) as writer:
      writer.write(row)
  report.write_report(tmp_path, ['fedavg', 'sharing'], 'fedavg')
  page = (tmp_path / 'report.md').read_text()
  assert '| FedAvg | 37.50 | 25.00 | - | 2 |' in page
  assert 'personal models' not in page
  # Who was not tested is not in it, and has a line of the first table only.
  assert page.count('| Secret sharing only') == 1
  alt = 'Test accuracy of the worst tenth of clients over rounds'
  assert f'![{alt}](worst-tenth_rounds.png)' in page
  assert (tmp_path / 'worst-tenth_rounds.png').is_file()
  found, other = json.loads((tmp_path / 'report.json').read_text())['variants']
  assert found['by_client']['client_accuracy_worst_tenth'] == 0.25
  assert 'by_client' not in other


@pytest.mark.slow
def test_report_without_tests_of_clients_says_nothing_of_them(workdir):
  report.write_report(workdir, ['fedavg', 'sharing'], 'fedavg')
  assert 'Worst tenth' not in (workdir / 'report.md').read_text()
  assert not list(workdir.glob('worst*'))
