"""Runs that end as they are accurate enough, and the best model of a run."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from fps_jax.config.validate import validate
from fps_jax.core.interruption import Interruption
from fps_jax.jobs import study
from fps_jax.results import metrics_file, recorded, summary
from fps_jax.results.html import page as html_page
from fps_jax.runs import checkpoints, train
from fps_jax.runs.checkpoints import BestModel, better
from tests.helpers import small
from tests.helpers.runs import killed_after, make_row

pytestmark = pytest.mark.usefixtures('no_figures')

_RUN = 'study/seed_0'


def _config(**overrides):
  return small.make_config(
    **{
      'num_rounds': 6,
      'pruning__schedule': 'none',
      'sharing__scheme': 'none',
      'data__validation_fraction': 0.25,
      **overrides,
    }
  )


def _run(config, workdir):
  console = Console(file=io.StringIO(), width=100)
  study.run_study(config, workdir, ['launch.py'], console=console)
  return console.file.getvalue()


def _rows(workdir):
  return [
    {**row, 'round_seconds': 0.0}
    for row in metrics_file.read_metrics(workdir / _RUN / 'metrics.jsonl')
  ]


def _stop_at(accuracies):
  """Returns the highest accuracy that is first reached before the last."""
  return max(accuracies[:4])


@pytest.fixture(scope='module')
def whole():
  """The model after each round, and the rows, of a run that nothing ends."""
  models = []

  def measure(row, params):
    models.append(np.array(params))
    return {}

  rows = []
  config = _config()
  train.train(
    small.make(config),
    config.num_rounds,
    1,
    rows.append,
    extras=train.Extras(measure=measure),
  )
  return models, [{**row, 'round_seconds': 0.0} for row in rows]


@pytest.fixture(scope='module')
def stopped(whole, tmp_path_factory):
  """The folder of the same run, with an accuracy to stop at, and its output."""
  _, rows = whole
  target = _stop_at([row['validation_accuracy'] for row in rows])
  workdir = tmp_path_factory.mktemp('stopped') / 'work'
  return workdir, target, _run(_config(eval__stop_at_accuracy=target), workdir)


@pytest.mark.slow
def test_run_ends_with_the_first_round_that_reaches_the_accuracy(
  whole, stopped
):
  models, expected = whole
  workdir, target, _ = stopped
  rows = _rows(workdir)
  assert 0 < len(rows) < 6
  assert rows[-1].pop('reached_accuracy')
  assert not expected[len(rows) - 1].pop('reached_accuracy')
  assert rows == expected[: len(rows)]
  expected[len(rows) - 1]['reached_accuracy'] = False
  assert all(row['validation_accuracy'] < target for row in rows[:-1])
  assert rows[-1]['validation_accuracy'] >= target
  params = checkpoints.read(workdir / _RUN / 'checkpoints')['params']
  np.testing.assert_array_equal(params, models[len(rows) - 1])


@pytest.mark.slow
def test_run_that_stopped_early_is_finished_everywhere(
  stopped, monkeypatch, tmp_path
):
  workdir, target, output = stopped
  num_rounds = len(_rows(workdir))
  assert metrics_file.is_finished(workdir / _RUN / 'metrics.jsonl', 6)
  line = f'study, seed 0: reached eval.stop_at_accuracy in round {num_rounds}'
  assert line in output
  assert f'up to {num_rounds} round' in output
  assert line in (workdir / 'report.md').read_text()
  (of_study,) = json.loads((workdir / 'report.json').read_text())['variants']
  assert of_study['reached'] == [{'seed': 0, 'round': num_rounds}]
  assert of_study['rounds'] == num_rounds
  last = _rows(workdir)[-1]
  assert of_study['final_test_accuracy_fraction_mean'] == last['test_accuracy']
  (read,) = recorded.read_studies([workdir])
  assert len(read.complete) == 1
  assert not read.variants[0].incomplete
  page = html_page.write([workdir], tmp_path / 'page.html').read_text()
  assert line in page
  assert 'Not finished' not in page
  monkeypatch.delattr(study, 'train')
  _run(_config(eval__stop_at_accuracy=target), workdir)


@pytest.mark.slow
@pytest.mark.parametrize('every_rounds', [0, 1, 10])
def test_run_that_is_killed_as_it_stops_stops_there_again(
  stopped, tmp_path, every_rounds
):
  workdir, target, _ = stopped
  config = _config(
    eval__stop_at_accuracy=target, checkpoint__every_rounds=every_rounds
  )
  with killed_after(lambda row: row['reached_accuracy']):
    _run(config, tmp_path)
  _run(config, tmp_path)
  assert _rows(tmp_path) == _rows(workdir)


class _Stop(Interruption):
  """Has asked to stop, whenever it is asked."""

  def is_asked(self):
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
  ('change', 'ended_by'),
  [
    ({'eval__stop_at_accuracy': 0.01}, 'reached_accuracy'),
    ({'client__learning_rate': 1e38}, 'diverged'),
  ],
)
def test_run_that_ends_as_it_is_asked_to_stop_has_ended(change, ended_by):
  rows = []
  config = _config(**change)
  extras = train.Extras(interruption=_Stop())
  simulation = small.make(config)
  trained = train.train(simulation, 6, 1, rows.append, extras=extras)
  assert int(trained.state.round) == len(rows) == 1
  assert rows[0][ended_by]


@pytest.mark.slow
def test_without_validation_the_test_set_decides(whole):
  config = _config(data__validation_fraction=0.0)
  _, rows = small.run(config)
  target = _stop_at([row['test_accuracy'] for row in rows])
  config.eval.stop_at_accuracy = target
  _, stopped = small.run(config)
  assert stopped[-1]['test_accuracy'] >= target
  assert [row['reached_accuracy'] for row in stopped] == [
    *[False] * (len(stopped) - 1),
    True,
  ]


def test_means_are_of_the_last_round_of_runs_that_stopped_early(tmp_path):
  path = '{}/seed_{}/metrics.jsonl'
  for seed, accuracies in enumerate(([0.5, 0.75], [0.5, 0.5, 0.5, 1.0])):
    with metrics_file.MetricsWriter(
      tmp_path / path.format('mine', seed)
    ) as writer:
      for number, accuracy in enumerate(accuracies, start=1):
        writer.write(
          make_row(
            number,
            test_accuracy=accuracy,
            validation_accuracy=accuracy,
            reached_accuracy=number == len(accuracies),
          )
        )
  runs = summary.collect(tmp_path, ['mine'])
  (found,) = summary.summarise(runs, 'mine')
  assert found.middle('test_accuracy') == 0.875
  assert found.rounds == 4
  assert [(each.seed, each.round) for each in found.reached] == [(0, 2), (1, 4)]


def test_stopping_that_can_only_come_with_the_last_round_is_refused():
  config = _config(eval__stop_at_accuracy=0.5, eval__every_rounds=6)
  with pytest.raises(ValueError, match=r'stop_at_accuracy=0.5 with eval.every'):
    validate(config)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'data__validation_fraction': 0.0}, 'never on test data; set a fraction'),
    ({'checkpoint__every_rounds': 0}, 'is kept in checkpoints'),
  ],
)
def test_keeping_the_best_needs_validation_and_checkpoints(change, message):
  with pytest.raises(ValueError, match=message):
    validate(_config(checkpoint__keep_best=True, **change))


def test_of_equally_good_rounds_the_earlier_is_the_best():
  best = None
  for number, accuracy in enumerate((0.5, None, 0.75, 0.75, 0.25), start=1):
    row = make_row(number, validation_accuracy=accuracy)
    best = better(best, row, np.float32([number]))
  assert best == BestModel(3, 0.75, np.float32([3]))


def test_round_in_which_a_run_diverged_is_not_its_best():
  row = make_row(1, validation_accuracy=0.5, diverged=True)
  assert better(None, row, np.float32([1])) is None


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('kept') / 'work'
  config = _config(checkpoint__keep_best=True, checkpoint__every_rounds=2)
  return workdir, _run(config, workdir)


@pytest.mark.slow
def test_best_model_is_that_of_the_best_round_and_in_the_report(whole, kept):
  models, rows = whole
  workdir, output = kept
  assert _rows(workdir) == rows
  accuracies = [row['validation_accuracy'] for row in rows]
  best = checkpoints.read_best(workdir / _RUN / 'checkpoints')
  assert best.round == 1 + int(np.argmax(accuracies))
  assert best.accuracy == max(accuracies)
  np.testing.assert_array_equal(best.params, models[best.round - 1])
  of_round = rows[best.round - 1]
  (of_study,) = json.loads((workdir / 'report.json').read_text())['variants']
  assert of_study['at_best'] == {
    'round': best.round,
    'validation_accuracy': best.accuracy,
    'test_accuracy': of_round['test_accuracy'],
  }
  for text in (output, (workdir / 'report.md').read_text()):
    assert 'The round with the best validation accuracy' in text
    assert f'{100 * best.accuracy:.2f}' in text


@pytest.mark.slow
@pytest.mark.parametrize('row_number', [1, 3, 4, 6])
def test_best_model_survives_a_kill_bit_for_bit(kept, tmp_path, row_number):
  workdir, _ = kept
  config = _config(checkpoint__keep_best=True, checkpoint__every_rounds=2)
  with killed_after(lambda row: row['round'] == row_number):
    _run(config, tmp_path)
  _run(config, tmp_path)
  assert _rows(tmp_path) == _rows(workdir)
  whole, again = (
    checkpoints.read_best(folder / _RUN / 'checkpoints')
    for folder in (workdir, tmp_path)
  )
  assert again[:2] == whole[:2]
  np.testing.assert_array_equal(again.params, whole.params)


@pytest.mark.slow
def test_best_model_that_is_not_there_or_damaged_is_named(
  kept, stopped, tmp_path
):
  workdir, _, _ = stopped
  with pytest.raises(checkpoints.CheckpointError, match='has no best model'):
    checkpoints.read_best(workdir / _RUN / 'checkpoints')
  folder = kept[0] / _RUN / 'checkpoints'
  (metadata,) = folder.glob('6/digest/metadata')
  digests = json.loads(metadata.read_text())
  metadata.write_text(json.dumps({**digests, 'best': '0' * 64}))
  with pytest.raises(checkpoints.CheckpointError, match='6 is damaged'):
    checkpoints.read_best(folder)
  assert checkpoints.read(folder)['round'] == 6
  metadata.write_text(json.dumps(digests))
