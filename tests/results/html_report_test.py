"""The page about studies: what is on it, and what it refuses."""

import base64
import datetime
import html.parser
import json
import pathlib
import re
import subprocess
import sys

import pytest

from fps_jax.results.html import page as html_page
from fps_jax.results.recorded import read_studies
from tests.helpers.cases import thorough
from tests.helpers.runs import write_run, write_study

_TIME = datetime.datetime(2026, 1, 31, 12, 5, tzinfo=datetime.UTC)
_ROOT = pathlib.Path(__file__).parents[2]
_VOID = ('img', 'meta')


class _Reader(html.parser.HTMLParser):
  """Collects tables, images and headings, and checks that tags match."""

  def __init__(self, page: str):
    super().__init__()
    self.tables: dict[str, list[list[str]]] = {}
    self.marked: list[str] = []
    self.headings: list[str] = []
    self.images: list[dict[str, str | None]] = []
    self.resources: list[str] = []
    self._open: list[str] = []
    self.feed(page)
    assert not self._open

  def handle_starttag(self, tag, attrs):
    if tag not in _VOID:
      self._open.append(tag)
    if tag == 'img':
      self.images.append(dict(attrs))
    if tag == 'caption':
      self._rows = []
    if tag == 'tr':
      self._rows.append([])
    if tag in ('td', 'th'):
      self._rows[-1].append('')
    self.resources += [v for k, v in attrs if k in ('src', 'href', 'srcset')]

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    if 'caption' in self._open:
      self.tables[data] = self._rows
    elif 'tr' in self._open:
      self._rows[-1][-1] += data
    if self._open and self._open[-1] in ('h1', 'h2', 'h3'):
      self.headings.append(data)
    if 'mark' in self._open:
      self.marked.append(data)


def _page(*folders):
  return html_page.make_page(read_studies(folders), _TIME)


def _read(*folders):
  return _Reader(_page(*folders))


@pytest.fixture(name='running')
def _running(tmp_path):
  """A study with one variant complete, one on its way and one not begun."""
  workdir = tmp_path / 'running'
  write_study(
    workdir,
    {'fedavg': {}, 'fedpruneshare_90': {'lr': 0.2}, 'sharing': {}},
    seeds=(0, 1),
    baseline='fedavg',
    lr=0.1,
  )
  write_run(workdir, 'fedavg', 0, [None, 0.5, 0.91], [3000] * 3)
  write_run(workdir, 'fedavg', 1, [None, 0.5, 0.93], [3000] * 3)
  write_run(workdir, 'fedpruneshare_90', 0, [0.4, 0.7, 0.9], [1000] * 3)
  write_run(workdir, 'fedpruneshare_90', 1, [0.1, None], [2000] * 2)
  return workdir


def test_page_has_means_intervals_bytes_and_savings_of_complete_runs(running):
  heading, *rows = _read(running).tables['Complete runs']
  assert heading[:4] == [
    'Method',
    'Seeds',
    'Test accuracy (%)',
    'Difference (points)',
  ]
  assert rows[0][:5] == ['FedAvg', '0, 1', '92.00±12.71', '-', '3.00 kB']
  assert rows[0][7] == '1.00x'


@pytest.mark.slow
def test_incomplete_runs_are_shown_as_such_and_never_averaged(running):
  reader = _read(running)
  rows = reader.tables['Complete runs'][1:]
  # Of two seeds one is complete, and it alone counts.
  assert rows[1][:5] == [
    'FedPruneShare 90 %',
    '0 (1 of 2 complete)',
    '90.00',
    '-1.00',
    '1.00 kB',
  ]
  assert rows[1][7] == '3.00x'
  assert rows[2] == [
    'Secret sharing only',
    'none (0 of 2 complete)',
    *['-'] * 8,
  ]
  unfinished = reader.tables['Unfinished runs'][1:]
  assert [row[:5] for row in unfinished] == [
    ['FedPruneShare 90 %, seed 1', '2 of 3 rounds', '10.00', '1', '4.00 kB'],
    ['Secret sharing only, seed 0', '0 of 3 rounds', '-', '-', '0 B'],
    ['Secret sharing only, seed 1', '0 of 3 rounds', '-', '-', '0 B'],
  ]
  assert 'FedPruneShare 90 %, seed 1, 2 of 3 rounds' in reader.images[0]['alt']
  assert '3 of 6 runs complete' in _page(running)


@pytest.mark.slow
def test_runs_that_diverged_are_listed_and_never_averaged(running):
  write_run(running, 'sharing', 0, [0.3, 0.5, 0.1], [1000] * 3, diverged=True)
  write_run(running, 'sharing', 1, [0.2, 0.1], [1000] * 2, diverged=True)
  reader = _read(running)
  row = reader.tables['Complete runs'][3]
  assert row == ['Secret sharing only', 'none (0 of 2 complete)', *['-'] * 8]
  rows = [row[:2] for row in reader.tables['Runs that diverged'][1:]]
  assert rows == [
    ['Secret sharing only, seed 0', 'diverged in round 3 of 3'],
    ['Secret sharing only, seed 1', 'diverged in round 2 of 3'],
  ]
  unfinished = reader.tables['Unfinished runs'][1:]
  assert [row[0] for row in unfinished] == ['FedPruneShare 90 %, seed 1']
  assert '3 of 6 runs complete, 2 diverged, in' in _page(running)
  shown = reader.images[0]['alt']
  assert 'sharing only, seed 0, diverged in round 3 of 3 50.00 %' in shown


def test_rows_of_an_earlier_version_have_not_diverged(running):
  path = running / 'fedavg' / 'seed_0' / 'metrics.jsonl'
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  for row in rows:
    del row['diverged']
  path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
  assert _read(running).tables['Complete runs'][1][1] == '0, 1'


def test_last_line_that_is_being_written_is_left_out(running):
  path = running / 'fedpruneshare_90' / 'seed_1' / 'metrics.jsonl'
  with path.open('a') as file:
    file.write('{"round": 3, "test_acc')
  rows = _read(running).tables['Unfinished runs']
  assert rows[1][1] == '2 of 3 rounds'


def test_no_saving_before_the_baseline_is_complete(running):
  for seed in (0, 1):
    path = running / 'fedavg' / f'seed_{seed}' / 'metrics.jsonl'
    path.write_text(''.join(path.read_text().splitlines(True)[:2]))
  assert _read(running).tables['Complete runs'][2][6] == '-'


def test_study_without_a_round_is_shown(tmp_path):
  write_study(tmp_path / 'new', {'fedavg': {}})
  page = _page(tmp_path / 'new')
  assert 'No run has been evaluated yet.' in page
  assert _Reader(page).tables['Unfinished runs'][1][1] == '0 of 3 rounds'


def test_finished_study_has_nothing_unfinished(tmp_path):
  write_study(tmp_path, {'fedavg': {}})
  write_run(tmp_path, 'fedavg', 0, [None, None, 0.9], [10] * 3)
  assert 'Unfinished' not in _page(tmp_path)


def test_runs_that_the_config_does_not_name_are_shown(tmp_path):
  write_study(tmp_path, {'fedavg': {}, 'added': {}})
  config = json.loads((tmp_path / 'config.json').read_text())
  config['variants'] = {'fedavg': {}}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  write_run(tmp_path, 'fedavg', 0, [None, None, 0.9], [10] * 3)
  write_run(tmp_path, 'fedavg', 7, [None, None, 0.8], [10] * 3)
  write_run(tmp_path, 'added', 0, [None, None, 0.9], [10] * 3)
  rows = _read(tmp_path).tables['Complete runs']
  assert [row[:2] for row in rows[1:]] == [['FedAvg', '0, 7'], ['added', '0']]


def test_rows_of_another_version_are_read(tmp_path):
  write_study(tmp_path, {'fedavg': {}}, num_rounds=1)
  write_run(tmp_path, 'fedavg', 0, [0.9], [10])
  path = tmp_path / 'fedavg' / 'seed_0' / 'metrics.jsonl'
  row = json.loads(path.read_text())
  del row['attack_success']
  path.write_text(json.dumps({**row, 'new_column': 1}) + '\n')
  assert _read(tmp_path).tables['Complete runs'][1][2] == '90.00'


def test_target_has_its_cost_on_the_page(tmp_path):
  write_study(tmp_path / 'w', {'fedavg': {}}, target_accuracy=0.8)
  write_run(tmp_path / 'w', 'fedavg', 0, [0.5, 0.8, 0.9], [10] * 3, 60.0)
  reader = _read(tmp_path / 'w')
  (caption,) = (name for name in reader.tables if '80 % test' in name)
  assert reader.tables[caption][1] == ['FedAvg', '2', '20 B', '2']
  assert any('simulated time' in image['alt'] for image in reader.images)


def test_configs_show_what_differs_first_and_mark_it(running):
  reader = _read(running)
  (caption,) = (
    name for name in reader.tables if name.startswith('Fields that d')
  )
  # Three configs and one field: configs go down.
  assert reader.tables[caption] == [
    ['Config', 'lr'],
    ['FedAvg', '0.1'],
    ['FedPruneShare 90 %', '0.2'],
    ['Secret sharing only', '0.1'],
  ]
  assert reader.marked == ['0.2']
  same = reader.tables['Fields that are the same in all configs']
  assert ['num_rounds', '3'] in same
  assert '<details><summary>The whole config of running' in _page(running)


@pytest.mark.slow
def test_environments_stand_side_by_side_with_differences_marked(
  running, tmp_path
):
  write_study(tmp_path / 'other', {'fedavg': {}}, seeds=(0, 1), lr=0.1)
  (tmp_path / 'other' / 'environment.json').write_text(
    json.dumps({'python': '3.12', 'argv': ['launch.py', '--x'], 'cores': 2})
  )
  reader = _read(running, tmp_path / 'other')
  (caption,) = (name for name in reader.tables if 'ran on' in name)
  assert reader.tables[caption] == [
    ['Field', 'running', 'other'],
    ['python', '3.11', '3.12'],
    ['cores', 'not set', '2'],
  ]
  assert {'3.12', '2'} <= set(reader.marked)
  assert 'launch.py &#39;--config=a b.py&#39;</pre>' in _page(running)


def test_missing_environment_is_said_to_be_missing(running):
  (running / 'environment.json').unlink()
  assert 'not recorded' in _page(running)


@pytest.mark.slow
def test_several_studies_are_drawn_together_and_each_alone(running, tmp_path):
  write_study(tmp_path / 'other', {'fedavg': {}})
  write_run(tmp_path / 'other', 'fedavg', 0, [None, None, 0.9], [10] * 3)
  reader = _read(running, tmp_path / 'other')
  assert reader.headings[3:6] == ['Figures', 'All studies', 'running']
  alts = [image['alt'] for image in reader.images]
  assert len(alts) == 6
  assert 'running: FedAvg 92.00 % after round 3' in alts[0]
  assert 'other: FedAvg 90.00 % after round 3' in alts[0]


@pytest.mark.slow
def test_other_data_sets_and_models_have_figures_of_their_own(tmp_path):
  for label, data, model in (
    ('first', 'mnist', 'mlp'),
    ('second', 'mnist', 'mlp'),
    ('third', 'mnist', 'cnn'),
    ('fourth', 'text', 'mlp'),
  ):
    write_study(
      tmp_path / label,
      {'fedavg': {}},
      data={'source': data, 'num_clients': 9},
      model={'name': model},
    )
    write_run(tmp_path / label, 'fedavg', 0, [None, None, 0.9], [10] * 3)
  labels = ('first', 'second', 'third', 'fourth')
  page = _page(*(tmp_path / label for label in labels))
  reader = _Reader(page)
  assert [h for h in reader.headings if h in labels] == [*labels]
  assert 'Studies of mnist, mlp' in reader.headings
  alts = [image['alt'] for image in reader.images[::2]]
  assert ['first: ' in alt and 'second: ' in alt for alt in alts] == [
    True,
    *[False] * 4,
  ]
  assert not any('third: F' in alt or 'fourth: F' in alt for alt in alts)
  # Each study names its own, in the list and among the results.
  assert 'Data set: text. Model: mlp. Clients: 9.' in page
  assert ['third (mnist, cnn)'] in reader.tables['Complete runs']


@pytest.mark.slow
def test_variants_of_other_data_sets_are_not_drawn_together(tmp_path):
  sources = {'a': {'data': {'source': 'x'}}, 'b': {'data': {'source': 'y'}}}
  write_study(tmp_path / 'w', sources)
  for name in sources:
    write_run(tmp_path / 'w', name, 0, [None, None, 0.9], [10] * 3)
  alts = [image['alt'] for image in _read(tmp_path / 'w').images]
  assert [alt.count('90.00 %') for alt in alts] == [1] * 4


@pytest.mark.slow
def test_worst_tenth_of_clients_has_a_figure_on_the_page(tmp_path):
  write_study(tmp_path / 'w', {'fedavg': {}}, num_rounds=1)
  write_run(tmp_path / 'w', 'fedavg', 0, [0.9], [10])
  path = tmp_path / 'w' / 'fedavg' / 'seed_0' / 'metrics.jsonl'
  measured = {'client_accuracy': 0.8, 'client_accuracy_worst_tenth': 0.25}
  path.write_text(json.dumps(json.loads(path.read_text()) | measured) + '\n')
  reader = _read(tmp_path / 'w')
  alts = [image['alt'] for image in reader.images]
  assert 'worst tenth of clients over rounds, w.' in alts[2]
  assert 'FedAvg 25.00 % after round 1' in alts[2]
  (caption,) = (name for name in reader.tables if 'by client' in name)
  assert reader.tables[caption][1] == ['FedAvg', '80.00', '25.00', '-', '-']


@pytest.mark.slow
def test_many_variants_are_drawn_by_prefix_and_by_tens(tmp_path):
  names = ['a--x', 'a--y', 'b--x', *(f'v{i}' for i in range(11))]
  write_study(tmp_path / 'w', {name: {} for name in names}, num_rounds=1)
  for name in names:
    write_run(tmp_path / 'w', name, 0, [0.9], [10])
  reader = _read(tmp_path / 'w')
  assert [h for h in reader.headings if h.startswith('w')] == [
    'w: a',
    'w: b',
    'w',
  ]
  assert [image['alt'].count('90.00 %') for image in reader.images[::2]] == [
    2,
    1,
    10,
    1,
  ]


def test_everything_is_escaped(tmp_path):
  evil = '<script>alert("1")</script>&'
  workdir = tmp_path / '<b>'
  write_study(workdir, {'<i>"': {evil: evil}, 'x': {}}, name=evil)
  (workdir / 'environment.json').write_text(json.dumps({'argv': [evil]}))
  write_run(workdir, '<i>"', 0, [0.1, None, 0.5], [10] * 3)
  write_run(workdir, 'x', 0, [0.1], [10])
  page = _page(workdir)
  for text in ('<script', '<i>', '<b>'):
    assert text not in page
  # No attribute was left early, either.
  assert 'Results: <b>' in _Reader(page).headings
  assert any('<i>" 50.00 %' in image['alt'] for image in _Reader(page).images)


def test_page_needs_no_other_file_and_runs_no_script(running):
  page = _page(running)
  reader = _Reader(page)
  assert len(reader.resources) == 2
  for resource in reader.resources:
    kind, data = resource.split(',')
    assert kind == 'data:image/svg+xml;base64'
    svg = base64.b64decode(data).decode()
    assert '<svg' in svg
    assert not re.search(r'href="(?!#)', svg)
  assert 'url(' not in page and '@import' not in page
  assert "default-src 'none'" in page and '<script' not in page


def test_page_has_a_language_and_every_figure_a_text(running):
  page = _page(running)
  assert '<html lang="en">' in page
  assert all(image['alt'] for image in _Reader(page).images)


@pytest.mark.slow
def test_equal_runs_give_equal_pages(running):
  assert _page(running) == _page(running)


def test_folder_named_twice_is_read_once(running):
  assert len(read_studies([running, f'{running}/'])) == 1


def test_folders_of_one_name_are_told_apart(tmp_path):
  folders = [str(tmp_path / each / 'work') for each in 'ab']
  for folder in folders:
    write_study(pathlib.Path(folder), {'fedavg': {}})
  assert [study.label for study in read_studies(folders)] == folders


def test_page_goes_to_the_first_folder_or_where_it_is_told(running, tmp_path):
  assert html_page.write([running]) == running.resolve() / 'report.html'
  path = html_page.write([running], tmp_path / 'page.html')
  assert path.read_text().startswith('<!DOCTYPE html>')


def _without_config(folder):
  (folder / 'config.json').unlink()


def _without_variant_config(folder):
  (folder / 'fedavg' / 'config.json').unlink()


def _with_damaged_config(folder):
  (folder / 'config.json').write_text('{"name": ')


def _with_a_list(folder):
  (folder / 'config.json').write_text('[]')


def _of_something_else(folder):
  (folder / 'config.json').write_text('{"name": "x"}')


def _with_damaged_metrics(folder):
  path = folder / 'fedavg' / 'seed_0' / 'metrics.jsonl'
  path.write_text('nonsense\n')


def _without_a_column(folder):
  path = folder / 'fedavg' / 'seed_0' / 'metrics.jsonl'
  path.write_text('{"round": 1, "test_accuracy": 0.5}\n')


def _that_sent_nothing(folder):
  (folder / 'fedavg' / 'seed_0' / 'metrics.jsonl').unlink()
  write_run(folder, 'fedavg', 0, [0.5, 0.5, 0.5], [0, 0, 0])
  path = folder / 'fedavg' / 'seed_1' / 'metrics.jsonl'
  path.unlink()


@pytest.mark.parametrize(
  ('break_it', 'message'),
  [
    (_without_config, 'give the --workdir of a study'),
    (_without_variant_config, r'fedavg/config.json, which a study writes'),
    (_with_damaged_config, r'config.json is not JSON .* leave the folder out'),
    (_with_a_list, 'holds a list, not an object'),
    (_of_something_else, "has no 'variants': it was not written by a study"),
    (_with_damaged_metrics, r'metrics.jsonl:1: torn or invalid line: delete'),
    (_without_a_column, r"misses \['downlink_.* read it with the version"),
    (_that_sent_nothing, "'fedavg' sent 0 uplink bytes"),
  ],
)
def test_bad_folder_is_named_in_one_line_with_a_cure(
  running, break_it, message
):
  break_it(running)
  with pytest.raises(ValueError, match=message) as caught:
    html_page.write([running])
  assert str(running) in str(caught.value)
  assert '\n' not in str(caught.value)
  assert not (running / 'report.html').exists()


def _launch(*arguments):
  return subprocess.run(
    [sys.executable, 'launch.py', *map(str, arguments)],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.mark.slow
def test_launch_reports_on_folders_without_a_config(running, tmp_path):
  write_study(tmp_path / 'other', {'fedavg': {}})
  path = tmp_path / 'page.html'
  done = _launch(
    '--report', running, tmp_path / 'other', f'--report_file={path}'
  )
  assert done.returncode == 0, done.stderr
  assert f'The report is in {path}' in done.stdout
  assert 'Results: running, other' in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--report=/no/such'], '/no/such is not a folder: give the --workdir'),
    thorough([], 'give --config=mnist to run it'),
    thorough(
      ['--config=experiments/mnist.py', '--report=runs'],
      'give --config=mnist to run it',
    ),
  ],
)
def test_launch_says_in_one_line_what_is_missing(arguments, message):
  done = _launch(*arguments)
  assert done.returncode == 1
  assert done.stderr.startswith('error: ')
  assert message in done.stderr
  assert done.stderr.strip().count('\n') == 0
