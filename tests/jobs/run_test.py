"""A job of one's own is a folder, and one line of the registry."""

import importlib
import json
import sys

import jax
import pytest

from fps_jax.config import defaults
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.jobs import listing, study
from fps_jax.jobs import run as jobs
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError

_JOB = '''"""Counts as far as it is told. And no further."""

from fps_jax.config import checks, defaults
from fps_jax.config.section import Field, Section
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.config.validate import validate
from fps_jax.jobs.bench import Bench
from fps_jax.results.tables import Table

JOB_SECTIONS['counting'] = Section(
  'counting', {'most': Field(3, checks.whole(1))}
)


def default():
  config = defaults.default()
  config.job = 'counting'
  defaults.add_section(config)
  return config


def run(config, workdir, argv, options):
  bench = Bench(workdir, options)
  with bench.checking(config):
    validate(config)
  bench.record({'argv': list(argv)})
  counted = list(range(config.counting.most))
  bench.say(f'counted to {counted[-1]}')
  table = Table('Counted.', ['To'], [[str(each)] for each in counted])
  bench.finish({'counted': counted}, [table, 'That is all.'])
'''


def test_other_processes_than_the_first_do_the_study_of_a_job_alone(
  monkeypatch, tmp_path
):
  done = []
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  monkeypatch.setattr(
    study, 'run_study', lambda config, *_: done.append(config.job)
  )
  config = defaults.default()
  config.job = 'poisoning'
  # Nor do they look for what process 0 reports.
  jobs.run(config, tmp_path / 'work', [], Options(prints_json=True))
  assert done == ['poisoning']


@pytest.fixture(name='counting')
def _counting(tmp_path, monkeypatch):
  """The module of a job that is registered."""
  folder = tmp_path / 'counting_job_of_tests'
  folder.mkdir()
  (folder / '__init__.py').touch()
  (folder / 'job.py').write_text(_JOB)
  monkeypatch.syspath_prepend(str(tmp_path))
  entry = jobs.Entry('counting_job_of_tests.job:run')
  monkeypatch.setitem(jobs.JOBS, 'counting', entry)
  yield importlib.import_module('counting_job_of_tests.job')
  # What the job registers of itself goes with the test.
  del JOB_SECTIONS['counting']
  del sys.modules['counting_job_of_tests.job']
  del sys.modules['counting_job_of_tests']


def test_job_of_ones_own_runs_with_its_fields(counting, tmp_path, capsys):
  config = counting.default()
  config.counting.most = 2
  options = Options(prints_json=True)
  jobs.run(config, tmp_path / 'work', ['launch.py'], options)
  assert json.loads((tmp_path / 'work' / 'results.json').read_text()) == {
    'counted': [0, 1]
  }
  written = json.loads((tmp_path / 'work' / 'config.json').read_text())
  assert written['counting'] == {'most': 2}
  environment = (tmp_path / 'work' / 'environment.json').read_text()
  assert json.loads(environment) == {'argv': ['launch.py']}
  page = (tmp_path / 'work' / 'report.md').read_text()
  assert page == (
    '**Counted.**\n\n| To |\n| --- |\n| 0 |\n| 1 |\n\nThat is all.\n'
  )
  printed = capsys.readouterr().out
  assert 'counted to 1\n' in printed
  assert json.loads(printed.splitlines()[-1]) == {'counted': [0, 1]}


@pytest.mark.parametrize(
  ('name', 'value', 'message'),
  [
    ('counting.most', 0, r'^counting\.most=0 must be at least 1$'),
    ('num_rounds', 0, r'^num_rounds=0 must be at least 1$'),
    ('job', 'study', r'^counting=.* is not a field of a config of job=.study'),
  ],
)
def test_its_fields_are_checked_as_all_are(
  counting, tmp_path, name, value, message
):
  config = counting.default()
  config.update_from_flattened_dict({name: value})
  with pytest.raises(StudyError, match=message):
    jobs.run(config, tmp_path / 'work', [])
  assert not list(tmp_path.glob('work/*/seed_*'))
  assert not (tmp_path / 'work' / 'results.json').exists()


def test_it_refuses_flags_of_studies_and_folders_in_use(counting, tmp_path):
  with pytest.raises(StudyError, match=r"'--profile'\] are for studies: this"):
    jobs.run(counting.default(), tmp_path / 'w', [], Options(profile=True))
  (tmp_path / 'w').mkdir()
  (tmp_path / 'w' / 'mine').touch()
  with pytest.raises(StudyError, match='is not empty: give another --workdir'):
    jobs.run(counting.default(), tmp_path / 'w', [])


def test_it_is_listed_by_the_sentence_of_its_module(counting, tmp_path):
  _, section, *_ = listing.sections(tmp_path)
  assert section.entries['counting'] == 'Counts as far as it is told.'


def test_job_that_nobody_registered_is_named():
  config = defaults.default()
  config.job = 'counting'
  with pytest.raises(
    StudyError, match=r"job='counting' is not one of \['inversion"
  ):
    jobs.run(config, 'work', [])


def test_only_who_asks_for_it_is_shown_json(counting, tmp_path, capsys):
  jobs.run(counting.default(), tmp_path / 'work', ['launch.py'])
  assert '{' not in capsys.readouterr().out


def test_cut_down_job_says_so_first_and_last_and_in_its_report(
  counting, tmp_path, capsys
):
  config = counting.default()
  defaults.tiny(config)
  jobs.run(config, tmp_path / 'work', ['launch.py'])
  notice = (
    'Smoke test on made data: it shows that everything runs; its numbers are '
    'no results.'
  )
  first, *_, last, _ = capsys.readouterr().out.splitlines()
  assert first == last == notice
  page = (tmp_path / 'work' / 'report.md').read_text()
  assert page.startswith(f'**{notice}**\n\n**Counted.**')
