"""Numbers of one's own about every round: columns, kept and checked."""

import csv
import io
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from fps_jax.config.validate import validate
from fps_jax.core.interruption import Interruption, StoppedError
from fps_jax.jobs import study
from fps_jax.jobs.keeping import InMemory
from fps_jax.jobs.options import Options
from fps_jax.results import metrics_file, tensorboard
from fps_jax.results.rows import read_rows
from fps_jax.runs import checkpoints, hooks
from fps_jax.runs.hooks import ON_ROUND, HookError, Hooks
from tests.helpers import small
from tests.helpers.runs import make_row

pytestmark = pytest.mark.usefixtures('no_figures')


def _call(hook, row=None, before=()):
  called = Hooks({'mine': hook}, 'fedavg', 3, lambda params: params, before)
  return called(row or make_row(2), np.zeros(4, np.float32))


def test_numbers_become_columns_of_pythons_own_types():
  found = _call(
    lambda context: {
      'whole': np.int64(3),
      'half': np.float32(0.5),
      'scalar': jax.numpy.float32(0.25),
      'none': None,
    }
  )
  assert found == {'whole': 3, 'half': 0.5, 'scalar': 0.25, 'none': None}
  assert [type(found[name]) for name in ('whole', 'half', 'scalar')] == [
    int,
    float,
    float,
  ]


@pytest.mark.parametrize(
  'value',
  [
    np.float16(0.5),
    np.longdouble(0.5),
    np.array(0.5),
    jax.numpy.bfloat16(0.5),
    np.int64(3),
    np.uint8(3),
    np.array(3),
  ],
)
def test_every_kind_of_number_is_taken(value):
  found = _call(lambda context: {'x': value})['x']
  assert found == value
  assert type(found) is (float if found == 0.5 else int)


def test_hook_is_told_row_variant_and_seed_and_may_return_nothing():
  told = []
  assert _call(told.append) == {}
  assert told[0].row == make_row(2)
  assert (told[0].variant, told[0].seed) == ('fedavg', 3)


def test_what_a_hook_does_to_its_row_is_neither_recorded_nor_told():
  told = []

  def change(context):
    context.row['clients_per_tier'].append(7)
    context.row['mine'] = context.row['test_accuracy'] = 2.0
    return {'mine': 1.0}

  row = make_row(2)
  hooks = {'change': change, 'next': lambda context: told.append(context.row)}
  found = Hooks(hooks, 'fedavg', 0, lambda params: params)(row, np.zeros(1))
  assert found == {'mine': 1.0}
  assert row == make_row(2)
  assert told == [{**row, 'mine': 1.0}]


def test_parameters_are_a_copy_fetched_when_asked_for():
  params = np.zeros(4, np.float32)
  fetched = []

  def unravel(params_D):
    fetched.append(1)
    return {'layer': params_D}

  def change(context):
    if fetched:
      raise AssertionError('fetched before it was asked for')
    context.params()['layer'][:] = 7

  Hooks({'mine': change}, 'fedavg', 0, unravel)(make_row(1), params)
  assert fetched
  assert not params.any()


def test_name_that_is_missing_in_a_later_round_is_none():
  called = Hooks(
    {'mine': lambda context: {f'of_{context.row["round"]}': 1.0}},
    'fedavg',
    0,
    lambda params: params,
    before=[{**make_row(1), 'of_1': 1.0}],
  )
  assert called(make_row(2), np.zeros(1)) == {'of_2': 1.0, 'of_1': None}
  assert called(make_row(3), np.zeros(1)) == {
    'of_3': 1.0,
    'of_1': None,
    'of_2': None,
  }


@pytest.mark.parametrize(
  ('returned', 'message'),
  [
    (3.0, 'it returned a float: return a dict'),
    ({'two words': 1.0}, "the name 'two words' must be a Python identifier"),
    ({1: 1.0}, 'the name 1 must be'),
    ({'test_accuracy': 1.0}, "there is a column 'test_accuracy' already"),
    ({'seed': 1.0}, "there is a column 'seed' already"),
    ({'x': float('nan')}, 'x=nan must be a finite number, or None'),
    ({'x': 'much'}, "x='much' must be a finite number"),
    ({'x': True}, r'x=True must be a .* is a bool: return int\(x\)'),
    ({'x': np.bool_(False)}, r'x=False must be a .* is a bool: return int'),
    ({'x': jax.numpy.array(True)}, r'x=True must be a .* is a bool: return'),
    ({'x': np.zeros(2)}, r'x=array\(\[0., 0.\]\) must be a finite number'),
  ],
)
def test_what_no_row_may_have_is_refused_by_hook_and_round(returned, message):
  with pytest.raises(
    HookError,
    match=rf"^on_round 'mine' in round 2 of fedavg, seed 3: .*{message}",
  ):
    _call(lambda context: returned)


def test_two_hooks_may_not_return_one_name():
  both = {'one': lambda context: {'x': 1}, 'two': lambda context: {'x': 2}}
  called = Hooks(both, 'fedavg', 0, lambda params: params)
  with pytest.raises(HookError, match=r"'two' .*there is a column 'x' already"):
    called(make_row(1), np.zeros(1))


def test_error_in_a_hook_is_named_with_its_place():
  def divide(context):
    return {'x': 1 / 0}

  with pytest.raises(
    HookError,
    match=r"'mine' in round 2 .*: ZeroDivisionError: .*hooks_test.py:\d+\)",
  ):
    _call(divide)


def test_hook_that_is_not_registered_is_named():
  config = small.make_config(eval__on_round=('mine',))
  with pytest.raises(ValueError, match=r"entry 'mine', which is not one of \["):
    validate(config)


def _norm(context):
  params = context.params()
  squares = sum(np.sum(leaf**2) for leaf in jax.tree.leaves(params))
  return {'norm': float(np.sqrt(squares))}


def _config(every_rounds=2):
  config = small.make_config(
    eval__on_round=('norm',), checkpoint__every_rounds=every_rounds
  )
  config.variants.update({'with': {}, 'without': {'eval': {'on_round': ()}}})
  return config


def _run(config, workdir, **options):
  console = Console(file=io.StringIO(), width=100)
  study.run_study(config, workdir, [], Options(**options), console)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
  monkeypatch.setitem(ON_ROUND, 'norm', _norm)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole') / 'work'
  ON_ROUND['norm'] = _norm
  _run(_config(), workdir)
  del ON_ROUND['norm']
  return workdir


def _rows(workdir):
  return [{**row, 'round_seconds': 0.0} for row in read_rows(workdir)]


@pytest.mark.thorough
def test_columns_are_in_every_table_and_none_where_no_hook_was(whole):
  path = whole / 'with' / 'seed_0'
  rows = metrics_file.read_metrics(path / 'metrics.jsonl')
  model = checkpoints.read(path / 'checkpoints')['params']
  assert rows[-1]['norm'] == pytest.approx(np.linalg.norm(model), rel=1e-6)
  assert tensorboard.scalars(rows[0])['norm'] == rows[0]['norm']
  read = list(read_rows(whole))
  assert [row['norm'] for row in read] == [
    *(row['norm'] for row in rows),
    None,
    None,
    None,
  ]
  with (whole / 'metrics.csv').open(newline='') as file:
    table = list(csv.DictReader(file))
  assert list(table[0]).count('norm') == 1
  assert [row['norm'] for row in table] == [
    *(str(row['norm']) for row in rows),
    '',
    '',
    '',
  ]


@pytest.mark.slow
def test_hook_changes_no_bit_of_a_run(whole):
  of_with, of_without = (
    [
      {**row, 'round_seconds': 0.0, 'variant': '', 'norm': None}
      for row in read_rows(whole)
      if row['variant'] == name
    ]
    for name in ('with', 'without')
  )
  assert of_with == of_without


@pytest.mark.thorough
def test_columns_are_kept_when_a_study_goes_on(whole, tmp_path, monkeypatch):
  interruption = Interruption()

  def stop(context):
    interruption.signal = signal.SIGTERM
    return _norm(context)

  with monkeypatch.context() as patched:
    patched.setitem(ON_ROUND, 'norm', stop)
    with pytest.raises(StoppedError):
      _run(_config(), tmp_path, interruption=interruption)
  _run(_config(), tmp_path)
  assert _rows(tmp_path) == _rows(whole)


@pytest.mark.slow
def test_error_in_a_hook_ends_the_run_with_everything_so_far_saved(
  whole, tmp_path, monkeypatch
):
  def fail(context):
    if context.row['round'] == 2:
      raise RuntimeError('no connection')
    return _norm(context)

  with monkeypatch.context() as patched:
    patched.setitem(ON_ROUND, 'norm', fail)
    with pytest.raises(
      study.StudyError, match=r"^on_round 'norm' in round 2 .*no connection"
    ):
      _run(_config(every_rounds=10), tmp_path)
  folder = tmp_path / 'with' / 'seed_0'
  assert checkpoints.read(folder / 'checkpoints')['round'] == 2
  _run(_config(every_rounds=10), tmp_path)
  expected = _rows(whole)
  expected[1]['norm'] = None
  assert _rows(tmp_path) == expected


@pytest.mark.slow
def test_callable_from_python_is_called_after_every_round_of_every_run():
  called = []

  def watch(context):
    called.append((context.variant, context.seed, context.row['round']))
    return {'seen': len(called)}

  config = small.make_config(num_rounds=2, seeds=(1, 0))
  options = Options(on_round=watch)
  quiet = Console(file=io.StringIO())
  results = study.run(config, InMemory(options), options, quiet)
  assert called == [('study', s, r) for s in (1, 0) for r in (1, 2)]
  assert [[row['seen'] for row in each.rows] for each in results] == [
    [1, 2],
    [3, 4],
  ]


@pytest.mark.slow
def test_hook_from_python_replaces_none_of_the_config_with_its_name():
  def norm(context):
    return {'seen': 1}

  config = small.make_config(eval__on_round=('norm',))
  run = study.StudyRun('mine', 0, config, small.make(config))
  called = study._hooks(run, [], Options(on_round=norm))
  params = jnp.ones(run.simulation.accounts.num_params)
  assert called(make_row(1), params).keys() == {'norm', 'seen'}


@pytest.mark.slow
def test_only_process_0_calls_hooks(monkeypatch):
  run = study.StudyRun('mine', 0, small.make_config(), None)
  options = Options(on_round=_norm)
  monkeypatch.setattr(hooks.jax, 'process_index', lambda: 1)
  assert study._hooks(run, [], options) is None
