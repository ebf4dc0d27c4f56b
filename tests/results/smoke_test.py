"""Runs that are cut down say that they are no results."""

import html
import json

import pytest

from fps_jax.config import defaults
from fps_jax.results import report, smoke
from fps_jax.results.html import page as html_page
from tests.helpers.runs import write_run, write_study


def test_tiny_config_is_a_smoke_test_and_a_full_one_is_none():
  config = defaults.default()
  assert smoke.notice(config) == ''
  defaults.tiny(config)
  assert smoke.notice(config).startswith('Smoke test on made data: ')
  config.data.source = 'mnist_sample'
  assert smoke.notice(config).startswith('Smoke test: ')


def test_config_of_another_version_is_none():
  assert smoke.notice({'name': 'old'}) == ''


@pytest.mark.slow
def test_report_and_page_of_a_smoke_test_begin_with_it(tmp_path):
  write_study(tmp_path, {'fedavg': {}}, num_rounds=1, smoke_test=True)
  write_run(tmp_path, 'fedavg', 0, [0.5], [100])
  notice = smoke.read(tmp_path)
  assert notice
  report.write_report(tmp_path, ['fedavg'], 'fedavg')
  lines = (tmp_path / 'report.md').read_text().splitlines()
  assert lines[2] == f'**{notice}**'
  page = html.unescape(html_page.write([tmp_path]).read_text())
  assert page.index(notice) < page.index('Results</h2>')
  (tmp_path / 'config.json').write_text(
    json.dumps(
      {
        **json.loads((tmp_path / 'config.json').read_text()),
        'smoke_test': False,
      }
    )
  )
  report.write_report(tmp_path, ['fedavg'], 'fedavg')
  assert notice not in (tmp_path / 'report.md').read_text()
  assert notice not in html.unescape(html_page.write([tmp_path]).read_text())
