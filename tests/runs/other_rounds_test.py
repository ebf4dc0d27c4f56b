"""A study that goes on to more rounds is one that had them from the start."""

import io
import itertools
import json

import numpy as np
import pytest
from rich.console import Console

from fps_jax.config.sections import pruning
from fps_jax.jobs import other_rounds, study
from fps_jax.jobs.options import Options
from fps_jax.jobs.study_run import StudyRun
from fps_jax.results import metrics, metrics_file
from fps_jax.runs import checkpoints, train
from fps_jax.runs.hooks import ON_ROUND
from tests.helpers import small

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('no_figures')]


def _config(num_rounds, **overrides):
  config = small.make_config(
    **{
      'num_rounds': num_rounds,
      # So that every number of rounds ends with another plan.
      'pruning__end_round': 8,
      'checkpoint__every_rounds': 2,
      'eval__every_rounds': 3,
      **overrides,
    }
  )
  config.variants.update({'fps': {}})
  return config


def _both(num_rounds):
  config = _config(num_rounds)
  config.variants.update({'clear': {'sharing': {'scheme': 'none'}}})
  return config


def _run(config, workdir, **options):
  console = Console(file=io.StringIO(), width=100)
  study.run_study(config, workdir, [], Options(**options), console)
  return console.file.getvalue()


def _kept(workdir):
  """Returns the rows and the final arrays of every run."""
  return {
    str(path.parent.relative_to(workdir)): (
      [
        {**row, 'round_seconds': 0.0} for row in metrics_file.read_metrics(path)
      ],
      {
        name: (array.dtype, array.tobytes())
        for name, array in checkpoints.read(path.parent / 'checkpoints').items()
      },
    )
    for path in workdir.rglob('metrics.jsonl')
  }


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole') / 'work'
  _run(_both(7), workdir)
  return workdir


def test_finished_study_goes_on_to_what_it_would_have_been(whole, tmp_path):
  _run(_both(4), tmp_path)
  before = _kept(tmp_path)
  # Evaluated as the last, which it would not have been of 7.
  assert before['fps/seed_0'][0][3]['test_accuracy'] is not None
  output = _run(_both(7), tmp_path)
  assert _kept(tmp_path) == _kept(whole)
  assert '7 rounds, seed 0' in output
  recorded = json.loads((tmp_path / 'environment.json').read_text())
  assert recorded['resumed'][0]['num_rounds'] == [4, 7]
  for folder in (tmp_path, tmp_path / 'fps'):
    assert json.loads((folder / 'config.json').read_text())['num_rounds'] == 7


@pytest.mark.thorough
def test_study_that_was_killed_may_go_on_to_more_rounds_or_fewer(
  whole, tmp_path, monkeypatch
):
  write = metrics_file.MetricsWriter.write

  def write_or_die(self, row):
    write(self, row)
    if row['round'] == 3:
      self._file.write('{"round": 4, "te')
      raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(metrics_file.MetricsWriter, 'write', write_or_die)
    for name, before in (('more', 5), ('fewer', 9)):
      with pytest.raises(KeyboardInterrupt):
        _run(_config(before), tmp_path / name)
  for name in ('more', 'fewer'):
    _run(_config(7), tmp_path / name)
    found = _kept(tmp_path / name)
    assert found == {'fps/seed_0': _kept(whole)['fps/seed_0']}


def test_fewer_rounds_than_have_run_are_refused(whole):
  with pytest.raises(
    study.StudyError, match=r'num_rounds=7 there, 5 now: 7 rounds have run'
  ):
    _run(_both(5), whole)


def test_any_other_change_is_refused_as_ever(whole):
  with pytest.raises(study.StudyError, match=r'num_rounds: 7 there, 9 now'):
    changed = _both(9)
    changed.client.learning_rate = 0.5
    _run(changed, whole)


def test_study_without_checkpoints_does_not_go_on_to_more_rounds(tmp_path):
  _run(_config(2, checkpoint__every_rounds=0), tmp_path)
  rows = (tmp_path / 'fps' / 'seed_0' / 'metrics.jsonl').read_text()
  with pytest.raises(
    study.StudyError, match=r'checkpoint.every_rounds=0 has left no checkpoint'
  ):
    _run(_config(5, checkpoint__every_rounds=0), tmp_path)
  assert (tmp_path / 'fps' / 'seed_0' / 'metrics.jsonl').read_text() == rows


@pytest.fixture(scope='module')
def short(tmp_path_factory):
  """A study of two rounds, that keeps the best models."""
  workdir = tmp_path_factory.mktemp('short') / 'work'
  _run(_short(2), workdir)
  return workdir


def _short(num_rounds):
  return _config(
    num_rounds, data__validation_fraction=0.25, checkpoint__keep_best=True
  )


def test_best_model_of_a_round_evaluated_as_the_last_is_in_the_way(short):
  with pytest.raises(
    study.StudyError, match=r'eval.every_rounds=3 has round 2 evaluated only'
  ):
    _run(_short(5), short)
  assert json.loads((short / 'config.json').read_text())['num_rounds'] == 2


def _of_accuracy(context):
  accuracy = context.row['test_accuracy']
  clients = context.row['client_accuracy']
  return {'twice': None if accuracy is None else 2 * accuracy, 'own': clients}


def _own(num_rounds, **overrides):
  return _config(num_rounds, eval__on_round=('of_accuracy',), **overrides)


@pytest.mark.parametrize(
  ('every', 'message'),
  [
    ((3, 0), r'eval\.every_rounds=3 has .*of which columns of your own, twice'),
    ((2, 3), r'eval\.by_client_every_rounds=3 has round 2 evaluated only as'),
    ((2, 0), ''),
  ],
)
def test_columns_of_ones_own_are_those_of_as_many_rounds_or_in_the_way(
  every, message, tmp_path, monkeypatch
):
  monkeypatch.setitem(ON_ROUND, 'of_accuracy', _of_accuracy)
  fields = {
    'eval__every_rounds': every[0],
    'eval__by_client_every_rounds': every[1],
  }
  _run(_own(2, **fields), tmp_path / 'more')
  if message:
    with pytest.raises(study.StudyError, match=message):
      _run(_own(4, **fields), tmp_path / 'more')
    return
  for name in ('more', 'whole'):
    _run(_own(4, **fields), tmp_path / name)
  assert _kept(tmp_path / 'more') == _kept(tmp_path / 'whole')


def test_plan_that_depends_on_the_number_of_rounds_is_named(whole, monkeypatch):
  make, calls = pruning.make_schedule, itertools.count(1)

  def make_schedule(settings):
    divisor = next(calls)
    return lambda r: make(settings)(r) / divisor

  monkeypatch.setattr(pruning, 'make_schedule', make_schedule)
  with pytest.raises(
    study.StudyError,
    match=r"pruning.schedule='cubic' would have made round \d another, and it",
  ):
    _run(_both(9), whole)


def test_learning_rate_that_depends_on_the_number_of_rounds_is_named(tmp_path):
  _run(_config(2, client__schedule='cosine'), tmp_path)
  with pytest.raises(
    study.StudyError,
    match=r"client.schedule='cosine' would have made round 2 another, and it",
  ):
    _run(_config(5, client__schedule='cosine'), tmp_path)


@pytest.mark.parametrize(
  ('noise', 'message'),
  [
    ({'mode': 'central', 'epsilon': 2.0}, r'privacy\.epsilon=2, from which'),
    (
      {'mode': 'distributed', 'noise_multiplier': 1.0},
      r'privacy\.wrap_probability=.*, from which noise follows, would have',
    ),
    ({'mode': 'central', 'noise_multiplier': 1.0}, ''),
  ],
)
def test_noise_that_depends_on_the_number_of_rounds_is_named(
  noise, message, tmp_path
):
  """Epsilon would be counted as if rounds that ran had the new noise."""
  config = _config(
    40,
    cohort__weighting='clients',
    sharing__scheme='ideal',
    # So few bits that levels, too, depend on how many words may wrap.
    sharing__prime=65521,
    privacy__neighbours='zero_out',
    **{f'privacy__{name}': value for name, value in noise.items()},
  )
  run = StudyRun('fps', 0, config, small.make(config))
  (tmp_path / 'metrics.jsonl').write_text('{"round": 1}\n')
  if not message:
    other_rounds.check(run, tmp_path, before=2)
    return
  with pytest.raises(ValueError, match=message):
    other_rounds.check(run, tmp_path, before=2)


def test_sketches_that_the_last_round_cuts_are_named(tmp_path):
  defended = {
    'sharing__scheme': 'ideal',
    'defence__name': 'multi_krum',
    'defence__num_malicious': 1,
    'cohort__weighting': 'clients',
  }
  _run(_config(2, **defended), tmp_path)
  with pytest.raises(study.StudyError, match=r'pruning.end_round=8, by which'):
    _run(_config(5, **defended), tmp_path)


def test_every_column_of_evaluations_alone_is_forgotten():
  config = small.make_config(
    num_rounds=2,
    eval__every_rounds=2,
    eval__by_client_every_rounds=2,
    eval__personal_epochs=1,
    data__validation_fraction=0.25,
    attack__malicious=0.25,
    attack__data='backdoor',
  )
  _, (not_due, due) = small.run(config)
  assert {
    name for name in due if not_due[name] is None and due[name] is not None
  } == {*metrics.EVALUATED, *metrics.BY_CLIENT}


@pytest.mark.thorough
def test_best_models_are_those_of_as_many_rounds_from_the_start(tmp_path):
  found = []
  for name, rounds in (('whole', (6,)), ('more', (3, 6))):
    for num_rounds in rounds:
      _run(_short(num_rounds), tmp_path / name)
    folder = tmp_path / name / 'fps' / 'seed_0' / 'checkpoints'
    found.append(checkpoints.read_best(folder))
  assert found[0][:2] == found[1][:2]
  np.testing.assert_array_equal(found[0].params, found[1].params)


def test_runs_that_ended_stay_as_they_are(tmp_path, monkeypatch):
  config = _config(3, client__learning_rate=1e30)
  _run(config, tmp_path)
  before = _kept(tmp_path)
  config.num_rounds = 5
  monkeypatch.setattr(train, 'train', None)
  _run(config, tmp_path)
  assert _kept(tmp_path) == before
