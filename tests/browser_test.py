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
# What the page is like once it is laid out.
_PROBE = """<script>
const KEPT = 'tr > th:first-child:not([colspan]), span';
const name = one => `${one.tagName} ${one.textContent.slice(0, 40)}`;
const beyond = ({left, right}) => left < -0.5 || right > innerWidth + 0.5;
// Cells whose texts lie on each other.
const overlaps = box => {
  box.scrollLeft = 0;
  const texts = [...box.querySelectorAll('th, td, caption')].map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [range.getBoundingClientRect(), cell];
  });
  return texts.flatMap(([a, first], i) => texts.slice(i + 1)
    .filter(([b]) => a.width && b.width
      && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    .map(([, second]) => `${name(first)} / ${name(second)}`));
};
addEventListener('load', () => {
  const all = [...document.querySelectorAll('body *')];
  // Closed ones are laid out, too.
  for (const one of document.querySelectorAll('details')) one.open = true;
  const boxes = [...document.querySelectorAll('.scrolls')];
  parent.postMessage(JSON.stringify({
    images: [...document.images].map(image => image.naturalWidth),
    fetched: performance.getEntriesByType('resource')
      .map(entry => entry.name).filter(name => !name.startsWith('data:')),
    width: innerWidth,
    pageWidth: document.documentElement.scrollWidth,
    scrolling: boxes.filter(box => box.scrollWidth > box.clientWidth).length,
    columns: getComputedStyle(document.querySelector('.figures'))
      .gridTemplateColumns.split(' ').length,
    wide: all.filter(one => !one.closest('.scrolls, pre')
      && beyond(one.getBoundingClientRect())).map(name),
    // What stays in sight while a table is scrolled to its end.
    hidden: boxes.flatMap(box => {
      box.scrollLeft = box.scrollWidth;
      return [...box.querySelectorAll(KEPT)]
        .filter(one => beyond(one.getBoundingClientRect())).map(name);
    }),
    overlapping: boxes.flatMap(box => overlaps(box)),
    tables: boxes.length,
  }), '*');
});
</script>"""

# No window of a browser is as narrow as a telephone's, but a frame is.
_FRAME = """<script>
addEventListener('message', ({data}) => { document.title = data; });
</script>
<iframe src="probed.html" style="border: 0; width: {}px; height: 900px">
</iframe>"""

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


@pytest.fixture(scope='module', name='long_page')
def _long_page(tmp_path_factory):
  """A page of long names, several studies and every kind of table."""
  folder = tmp_path_factory.mktemp('browser')
  workdirs = [folder / name for name in ('work', f'work_{"long" * 12}')]
  variants = ('fedavg', 'a_' + 'very_long_name' * 5, 'none--fltrust_sketched')
  for workdir, model in zip(workdirs, ('mlp', 'mcmahan_cnn'), strict=True):
    write_study(
      workdir,
      {
        name: {'pruning': {'sparsity': number}}
        for number, name in enumerate(variants)
      },
      seeds=(0, 1),
      target_accuracy=0.8,
      data={'source': 'mnist'},
      model={'name': model},
    )
    for seed in (0, 1):
      for name in variants[:2]:
        write_run(workdir, name, seed, [0.5, 0.9, 1 - seed / 100], [10**8] * 3)
    write_run(workdir, variants[2], 0, [0.5, 0.1], [10**5] * 2, diverged=True)
  return html_page.write(workdirs)


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
  probed, frame = tmp_path / 'probed.html', tmp_path / 'frame.html'
  probed.write_text(text.replace('</head>', f'{_PROBE}</head>'))
  frame.write_text(_FRAME.replace('{}', str(width)))
  dump = _browse(
    tmp_path, '--window-size=1400,1000', '--dump-dom', f'file://{frame}'
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


@pytest.mark.slow
@pytest.mark.parametrize('width', [390, 1280])
def test_no_text_is_wider_than_the_window_or_over_other_text(
  long_page, tmp_path, width
):
  found = _probe(long_page, tmp_path, width)
  assert found['width'] == width
  assert found['pageWidth'] <= width
  assert found['tables'] >= 6
  assert found['wide'] == []
  # Names of lines, captions and names of studies, with their tables scrolled.
  assert found['hidden'] == []
  assert found['overlapping'] == []


@pytest.mark.slow
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
  colors = np.round(255 * pixels_HxWxC).astype(int) @ [1 << 16, 1 << 8, 1]
  assert len(np.unique(colors)) > 200
