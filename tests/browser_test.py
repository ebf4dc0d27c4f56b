"""The page about studies in a real browser, if there is one."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib import image as mpl_image

from fps_jax.results.html import page as html_page
from tests.helpers.runs import write_run, write_study

_BROWSER = next(
  filter(None, map(shutil.which, ('chromium', 'google-chrome'))), None
)
# What the page is like once it is laid out; '</title' keeps it in the dump.
_PROBE = """<script>
addEventListener('load', () => {
  const boxes = [...document.querySelectorAll('.scrolls')];
  document.title = JSON.stringify({
    images: [...document.images].map(image => image.naturalWidth),
    fetched: performance.getEntriesByType('resource')
      .map(entry => entry.name).filter(name => !name.startsWith('data:')),
    width: innerWidth,
    pageWidth: document.documentElement.scrollWidth,
    scrolling: boxes.filter(box => box.scrollWidth > box.clientWidth).length,
    columns: getComputedStyle(document.querySelector('.figures'))
      .gridTemplateColumns.split(' ').length,
  });
});
</script>"""

pytestmark = pytest.mark.skipif(
  _BROWSER is None, reason='neither chromium nor google-chrome is on PATH'
)


@pytest.fixture(scope='module', name='page')
def _page(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('browser') / 'work'
  write_study(
    workdir, {'fedavg': {}, 'fedpruneshare_90': {'learning_rate': 0.2}}
  )
  write_run(workdir, 'fedavg', 0, [0.5, 0.8, 0.9], [3000] * 3)
  write_run(workdir, 'fedpruneshare_90', 0, [0.5, 0.8], [1000] * 2)
  return html_page.write([workdir])


def _browse(tmp_path, *arguments):
  done = subprocess.run(
    [
      str(_BROWSER),
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--hide-scrollbars',
      f'--user-data-dir={tmp_path}/profile',
      *arguments,
    ],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def _probe(page, tmp_path, width):
  # The page itself lets no script run.
  text = re.sub(r'<meta http-equiv[^>]*>', '', page.read_text())
  probed = tmp_path / 'probed.html'
  probed.write_text(text.replace('</head>', f'{_PROBE}</head>'))
  dump = _browse(
    tmp_path, f'--window-size={width},900', '--dump-dom', f'file://{probed}'
  )
  (title,) = re.findall('<title>(.*?)</title>', dump)
  return json.loads(html.unescape(title))


def test_browser_shows_tables_and_headings(page, tmp_path):
  dump = _browse(tmp_path, '--dump-dom', f'file://{page}')
  for text in ('Complete runs', 'Unfinished runs', 'Environment', '90.00'):
    assert text in dump


def test_browser_decodes_every_figure_and_fetches_nothing(page, tmp_path):
  found = _probe(page, tmp_path, width=1280)
  assert len(found['images']) == 2 and all(found['images'])
  assert found['fetched'] == []
  assert found['columns'] == 2


def test_on_a_narrow_screen_tables_scroll_and_the_page_does_not(page, tmp_path):
  found = _probe(page, tmp_path, width=500)
  assert found['pageWidth'] <= found['width'] == 500
  assert found['scrolling'] >= 1
  assert found['columns'] == 1


@pytest.mark.parametrize(
  ('flags', 'is_light'), [([], True), (['--force-dark-mode'], False)]
)
def test_screenshot_has_the_page_in_light_and_in_dark(
  page, tmp_path, flags, is_light
):
  path = tmp_path / 'page.png'
  _browse(
    tmp_path,
    *flags,
    '--window-size=1280,1600',
    f'--screenshot={path}',
    f'file://{page}',
  )
  pixels_HxWxC = mpl_image.imread(path)[..., :3]
  assert pixels_HxWxC.shape[:2] == (1600, 1280)
  assert (pixels_HxWxC[0, 0].mean() > 0.9) == is_light
  # Text, lines of the figures in their colours: not an empty page.
  assert len(np.unique(pixels_HxWxC.reshape(-1, 3), axis=0)) > 200
