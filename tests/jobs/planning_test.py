"""Tests of the job that times planning: everything it says but the times."""

import json
import pathlib

import pytest

from fps_jax.jobs import run as jobs
from fps_jax.jobs.planning import job as planning
from fps_jax.jobs.study import StudyError


def run(workdir: pathlib.Path, **sizes: object) -> list[dict[str, float]]:
  config = planning.default()
  config.planning.update({'rounds': 1, 'examples': 3, **sizes})
  jobs.run(config, workdir, ['launch.py'])
  return json.loads((workdir / 'results.json').read_text())['rows']


def test_every_cohort_of_every_population_that_has_it_is_planned(
  tmp_path, capsys
):
  rows = run(tmp_path / 'new', populations=(40, 8), cohorts=(2, 20))
  sizes = [(row['population'], row['cohort']) for row in rows]
  assert sizes == [(8, 2), (40, 2), (40, 20)]
  for row in rows:
    assert row['first_seconds'] > 0
    assert row['plan_seconds'] > 0
    assert row['one_by_one_seconds'] > 0
    assert row['peak_rss_mb'] > 1
  report = (tmp_path / 'new' / 'report.md').read_text()
  assert '| Clients | Clients per round |' in report
  assert '40 clients, 20 a round:' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('sizes', 'message'),
  [
    ({'populations': (0,)}, r'planning\.populations.* at least 1'),
    ({'cohorts': ()}, r'planning\.cohorts'),
    ({'examples': 0}, r'planning\.examples=0 must be at least 1'),
    ({'cohorts': (9,), 'populations': (8,)}, r'cohorts=\(9,\).*populations'),
  ],
)
def test_sizes_that_leave_nothing_to_plan_are_refused(tmp_path, sizes, message):
  with pytest.raises(StudyError, match=message):
    run(tmp_path / 'new', **sizes)
  assert not (tmp_path / 'new').exists()
