"""Tests of `fps_jax.results.published`, and of what is published."""

import json
import pathlib
import re

import pytest

from fps_jax.results.published import __main__ as command
from fps_jax.results.published import lines, rows, tables
from fps_jax.results.reported import REPORTED
from fps_jax.results.summary import collect, summarise
from fps_jax.results.tables import Table, page
from tests.helpers.runs import write_run, write_study

_EXPERIMENTS = pathlib.Path(__file__).parents[2] / 'experiments'
_ENVIRONMENT = {
  'argv': ['launch.py', '--config=experiments/b.py', '--workdir=/home/me/x'],
  'cpu_logical_cores': 2,
  'cpu_model': 'AMD EPYC',
  'jax_backend': 'cpu',
  'packages': {'jax': '0.10.2'},
  'code_sha256': 'a' * 64,
  'started_utc': '2026-11-30T02:52:24+00:00',
}


def _study(folder, accuracies, num_rounds=2, **fields):
  """Writes a study whose runs have an accuracy after the last round."""
  variants = {name: {} for name, _ in accuracies}
  seeds = sorted({seed for _, seed in accuracies})
  write_study(folder, variants, seeds, num_rounds, **fields)
  (folder / 'environment.json').write_text(json.dumps(_ENVIRONMENT))
  for place, ((name, seed), accuracy) in enumerate(accuracies.items()):
    before = [None] * (num_rounds - 1)
    uplinks = [100 * (place + 1), *[50] * (num_rounds - 1)]
    write_run(folder, name, seed, [*before, accuracy], uplinks)
  return folder


_ACCURACIES = {
  ('pruning', 0): 0.9,
  ('pruning', 1): 0.8,
  ('fedavg', 0): 0.95,
  ('fedavg', 1): 0.9,
}


@pytest.fixture
def study(tmp_path):
  return _study(tmp_path / 'study', _ACCURACIES, baseline='fedavg')


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'results' / 'mine.csv'


def test_rows_come_to_what_the_report_of_the_study_says(study, path):
  rows.add(study, path)
  made = {each.variant: each for each in tables.summaries_of(rows.read(path))}
  assert list(made) == ['fedavg', 'pruning']
  for each in summarise(collect(study, ['fedavg', 'pruning']), 'fedavg'):
    of_rows = made[each.variant].numbers
    for name in set(REPORTED) - {'round_seconds'}:
      expected, found = each.numbers[name], of_rows[name]
      assert (found and found.middle) == (expected and expected.middle), name
      assert (found and found.margin) == (expected and expected.margin), name


def test_row_says_how_when_and_where_it_was_measured_and_of_no_folder(
  study, path
):
  rows.add(study, path)
  (first, *_) = rows.read(path)
  assert first['command'] == 'python launch.py --config=experiments/b.py'
  assert first['hardware'] == '2 cores of AMD EPYC'
  assert (first['date'], first['jax']) == ('2026-11-30', '0.10.2')


def test_runs_that_are_added_again_replace_their_rows_and_others_stay(
  study, path, tmp_path
):
  rows.add(study, path)
  again = {('top_k', 1): 0.7, ('pruning', 1): 0.85}
  rows.add(_study(tmp_path / 'again', again), path)
  assert [
    (row['variant'], row['seed'], row['test_accuracy'])
    for row in rows.read(path)
  ] == [
    ('fedavg', 0, 0.95),
    ('fedavg', 1, 0.9),
    ('pruning', 0, 0.9),
    ('pruning', 1, 0.85),
    ('top_k', 1, 0.7),
  ]


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'smoke_test': True}, 'its numbers are no results'),
    (
      {'seeds': [0, 1, 7]},
      r'not finished \(top_k/seed_1, top_k/seed_7\): run its',
    ),
    ({'num_rounds': 3}, r'runs of \[2, 3\] rounds.*give another --name'),
  ],
)
def test_what_is_no_result_or_of_other_rounds_is_refused(
  study, path, tmp_path, fields, message
):
  rows.add(study, path)
  before = path.read_text()
  num_rounds = fields.get('num_rounds', 2)
  other = _study(tmp_path / 'other', {('top_k', 0): 0.9}, num_rounds)
  for file in other.rglob('config.json'):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
  with pytest.raises(ValueError, match=message):
    rows.add(other, path)
  assert path.read_text() == before


def test_document_has_what_its_marks_ask_for(tmp_path):
  by_pair = {
    ('none--fedavg', 0): 0.9,
    ('none--median', 0): 0.8,
    ('ipm--fedavg', 0): 0.1,
  }
  results = tmp_path / 'results'
  rows.add(_study(tmp_path / 'a', _ACCURACIES), results / 'mine.csv')
  rows.add(_study(tmp_path / 'b', by_pair), results / 'attacks.csv')
  written = tables.update(
    """
It loses <!-- value: mine pruning uplink_saving_factor -->none<!-- end -->.
<!-- rows: mine, columns test_accuracy test_accuracy_difference -->

| Method | None |
| --- | ---: |
| Called otherwise (`fedavg`) | 0 |
<!-- end --> and <!-- rows: attacks, grid --><!-- end -->
""",
    results,
  )
  assert written == (
    """
It loses <!-- value: mine pruning uplink_saving_factor -->1.00x<!-- end -->.
<!-- rows: mine, columns test_accuracy test_accuracy_difference -->

| Method | Test accuracy (%) | Difference (points) |
| --- | ---: | ---: |
| Pruning only | 85.00±63.53 | - |
| Called otherwise (`fedavg`) | 92.50±31.77 | +7.50±31.77 |

Seeds 0, 1; 2 cores of AMD EPYC; JAX 0.10.2; 2026-11-30.

<!-- end --> and <!-- rows: attacks, grid -->

| Attack | FedAvg | Median |
| --- | ---: | ---: |
| No attack | 90.00 | 80.00 |
| IPM | 10.00 | - |

Seed 0; 2 cores of AMD EPYC; JAX 0.10.2; 2026-11-30.

<!-- end -->
"""
  )
  assert tables.update(written, results) == written


def test_lines_of_a_benchmark_stand_as_it_reports_them(tmp_path):
  folder, path = tmp_path / 'bench', tmp_path / 'results' / 'bench.csv'
  folder.mkdir()
  for name, content in (
    ('environment.json', _ENVIRONMENT),
    ('config.json', {}),
    ('results.json', {}),
  ):
    (folder / name).write_text(json.dumps(content))
  other = Table('Other', ('View', 'Images'), [('Plain', '3')], 'A note.')
  old = Table('1 image', ('View', 'PSNR (dB)'), [('Plain', '1'), ('Sum', '7')])
  (folder / 'report.md').write_text(page(old, other))
  assert lines.add(folder, path) == 3
  new = old._replace(lines=[('Plain', '2')])
  (folder / 'report.md').write_text(page(new))
  assert lines.add(folder, path) == 1
  text = tables.update(
    '<!-- lines: bench, 1 image --><!-- end -->', path.parent
  )
  assert text == (
    """<!-- lines: bench, 1 image -->

| View | PSNR (dB) |
| --- | ---: |
| Plain | 2 |
| Sum | 7 |

2 cores of AMD EPYC; JAX 0.10.2; 2026-11-30.

<!-- end -->"""
  )
  with pytest.raises(ValueError, match=r"there is not \('None'\)"):
    tables.update('<!-- lines: bench, None --><!-- end -->', path.parent)
  (folder / 'config.json').write_text('{"smoke_test": true}')
  with pytest.raises(ValueError, match='Publish a whole benchmark'):
    lines.add(folder, path)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', r'no mark names the rows of mine'),
    ('<!-- rows: none_such --><!-- end -->', r"name one of \['mine'\]"),
    ('<!-- value: mine top_k sparsity -->1<!-- end -->', r"not \('top_k'\)"),
    ('<!-- rows: mine, columns mine -->1<!-- end -->', r"not \('mine'\)"),
    ('<!-- value: mine fedavg -->1<!-- end -->', r'asks for what there is not'),
    (
      '<!-- rows: mine --> <!-- rows: mine --><!-- end -->',
      r'only 1 of 2 marks have their <!-- end -->',
    ),
  ],
)
def test_mark_of_what_there_is_not_is_refused(study, path, text, message):
  rows.add(study, path)
  with pytest.raises(ValueError, match=message):
    tables.update(text, path.parent)


def test_command_adds_rows_and_writes_the_document(study, tmp_path, capsys):
  (tmp_path / 'README.md').write_text(
    '<!-- value: mine fedavg test_accuracy --><!-- end -->'
  )
  options = [f'--experiments={tmp_path}']
  command.main([*options, 'add', str(study), '--name=mine'])
  assert '4 rows added' in capsys.readouterr().out
  command.main([*options, 'write'])
  assert '>92.50±31.77<' in (tmp_path / 'README.md').read_text()
  with pytest.raises(SystemExit, match=r"'M' must consist of lower case"):
    command.main([*options, 'add', str(study), '--name=M'])
  with pytest.raises(SystemExit, match='is not a folder'):
    command.main([*options, 'add', str(tmp_path / 'none'), '--name=mine'])


def test_published_tables_are_what_their_rows_make():
  text = (_EXPERIMENTS / 'README.md').read_text()
  assert tables.update(text, _EXPERIMENTS / 'results') == text, (
    'run python -m fps_jax.results.published write'
  )


@pytest.mark.parametrize(
  'path', sorted((_EXPERIMENTS / 'results').glob('*.csv')), ids=lambda p: p.stem
)
def test_every_published_row_has_a_command_of_the_repository(path):
  for row in rows.read(path):
    assert all(row[name] for name in rows.HOW)
    (config,) = re.findall(r'--config=(experiments/\w+\.py)', row['command'])
    assert (_EXPERIMENTS.parent / config).exists()
    assert ' /' not in row['command'] and '=/' not in row['command']
