"""Draws the pictures of the documents: python docs/pictures/draw.py.

Each is an SVG file beside this one, which follows a reader's choice of light
or dark, and has its description in it for those who cannot see it.
"""

import pathlib
from collections.abc import Callable, Sequence

import drawsvg
import numpy as np

_FOLDER = pathlib.Path(__file__).parent
_STYLE = """
text { font-family: system-ui, sans-serif; font-size: 17px; fill: #1f2328; }
.small { font-size: 15px; }
.title { font-weight: 600; }
.line { stroke: #57606a; stroke-width: 1.5; fill: none; }
.head { fill: #57606a; }
.client { fill: #dafbe1; stroke: #1a7f37; }
.server { fill: #ddf4ff; stroke: #0969da; }
.central { fill: #fff1e5; stroke: #bc4c00; }
.plain { fill: #f6f8fa; stroke: #57606a; }
.page { fill: #ffffff; }
.kept { fill: #0969da; }
.gone { fill: #d0d7de; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .line { stroke: #9198a1; }
  .head { fill: #9198a1; }
  .client { fill: #12261e; stroke: #3fb950; }
  .server { fill: #121d2f; stroke: #58a6ff; }
  .central { fill: #2b1a0e; stroke: #f0883e; }
  .plain { fill: #161b22; stroke: #9198a1; }
  .page { fill: #0d1117; }
  .kept { fill: #58a6ff; }
  .gone { fill: #30363d; }
}
"""


class Picture:
  """A drawing in pixels, with boxes, arrows and lines of text."""

  def __init__(self, width: int, height: int, description: str):
    """Begins an empty one; the description is for those who cannot see it."""
    self._drawing = drawsvg.Drawing(width, height)
    self._drawing.append_css(_STYLE)
    self._drawing.append_title(description)
    # Of its own: a page may be dark where a reader's choice is light.
    self._drawing.append(
      drawsvg.Rectangle(0, 0, width, height, rx=8, class_='page')
    )
    self._head = drawsvg.Marker(-0.9, -0.5, 0.1, 0.5, scale=9, orient='auto')
    self._head.append(
      drawsvg.Lines(-0.9, 0.5, -0.9, -0.5, 0.1, 0, close=True, class_='head')
    )

  def box(
    self,
    place: tuple[float, float, float, float],
    kind: str,
    title: str,
    lines: Sequence[str] = (),
  ) -> None:
    """Draws a box at (x, y, width, height) with text in its middle."""
    x, y, width, height = place
    self._drawing.append(
      drawsvg.Rectangle(x, y, width, height, rx=8, class_=kind)
    )
    first = y + height / 2 - 10 * len(lines)
    self.text(x + width / 2, first, title, 'title', anchor='middle')
    for i, line in enumerate(lines, 1):
      self.text(x + width / 2, first + 20 * i, line, 'small', anchor='middle')

  def text(
    self,
    x: float,
    y: float,
    words: str,
    style: str = 'small',
    anchor: str = 'start',
  ) -> None:
    """Writes a line whose middle is at the height y."""
    self._drawing.append(
      drawsvg.Text(
        words,
        None,
        x,
        y,
        class_=style,
        text_anchor=anchor,
        dominant_baseline='central',
      )
    )

  def arrow(self, *points: float) -> None:
    """Draws an arrow along x, y, x, y, ..."""
    self._drawing.append(
      drawsvg.Lines(*points, class_='line', marker_end=self._head)
    )

  def line(self, *points: float) -> None:
    """Draws a line along x, y, x, y, ..."""
    self._drawing.append(drawsvg.Lines(*points, class_='line'))

  def cell(self, x: float, y: float, size: float, kind: str) -> None:
    """Draws a small square."""
    self._drawing.append(drawsvg.Rectangle(x, y, size, size, rx=2, class_=kind))

  def dot(self, x: float, y: float, kind: str) -> None:
    """Draws a dot."""
    self._drawing.append(drawsvg.Circle(x, y, 6, class_=kind))

  def save(self, name: str) -> None:
    """Writes it beside this script."""
    text = self._drawing.as_svg()
    (_FOLDER / f'{name}.svg').write_text(text + '\n', encoding='utf-8')


def draw_round() -> Picture:
  """Who sends what to whom in a round, and what each sees of it."""
  picture = Picture(
    680,
    450,
    'A round. Each client trains the pruned model, and sends a share of '
    'its update to each of five servers, which see random words. The servers '
    'add up their shares and send the sums to the central server, which opens '
    'the sum of all updates and no single one, and sends out the new model.',
  )
  rows = (60, 150, 240)
  for y, name in zip(rows, ('Client 1', 'Client 2', 'Client 100'), strict=True):
    picture.box((5, y, 195, 70), 'client', name, ['trains and shares'])
  picture.text(102, 230, '…', 'title', anchor='middle')
  servers = [40 + 58 * i for i in range(5)]
  for i, y in enumerate(servers, 1):
    picture.box((295, y, 135, 44), 'server', f'Server {i}')
    for row in rows:
      picture.arrow(200, row + 35, 293, y + 22)
    picture.arrow(430, y + 22, 518, 185)
  picture.box(
    (520, 130, 150, 110),
    'central',
    'Central server',
    ['opens the sum,', 'averages, prunes'],
  )
  picture.text(245, 20, 'a share for each server', anchor='middle')
  picture.text(505, 20, 'any 3 of 5 sums', anchor='middle')
  picture.line(595, 240, 595, 345, 102, 345)
  picture.arrow(102, 345, 102, 312)
  picture.text(345, 364, 'the new model, pruned', anchor='middle')
  for x, lines in (
    (102, ('sees its own data,', 'its update, the models')),
    (360, ('sees random words:', 'nothing of an update')),
    (595, ('sees the sum of all', 'updates, no single one')),
  ):
    for i, line in enumerate(lines):
      picture.text(x, 405 + 20 * i, line, anchor='middle')
  return picture


def draw_packing() -> Picture:
  """Two values in one polynomial, and seeds in place of shares."""
  picture = Picture(
    680,
    400,
    'Packing and seeds. One polynomial has two secret values at 0 and -1. Its '
    'values at 1 to 5 are the shares of five servers. Those of servers 1 and 2 '
    'are random, and travel as seeds of 32 bytes; those of servers 3 to 5 '
    'follow, and travel as they are.',
  )
  xs = np.linspace(-1.3, 5.3, 100)
  known = (-1, 0, 2, 5)
  values = (1.0, 2.9, 2.2, 3.0)
  curve = np.polynomial.Polynomial.fit(known, values, 3)
  height = np.clip(curve(xs), 0, 4)

  def place(x: float, y: float) -> tuple[float, float]:
    return 150 + 85 * x, 250 - 55 * y

  points = [place(x, y) for x, y in zip(xs, height, strict=True) if 0 < y < 4]
  picture.line(*(number for point in points for number in point))
  picture.line(*place(-1.4, 0), *place(5.6, 0))
  for x in range(-1, 6):
    kind = 'central' if x < 1 else 'server'
    y = float(np.clip(curve(x), 0.2, 3.8))
    picture.dot(*place(x, y), kind)
    picture.text(*place(x, -0.3), str(x), anchor='middle')
  picture.text(108, 292, 'two secret values', anchor='middle')
  picture.box(
    (205, 310, 150, 80),
    'server',
    'Servers 1, 2',
    ['random shares,', 'sent as seeds'],
  )
  picture.box(
    (400, 310, 200, 80),
    'server',
    'Servers 3, 4, 5',
    ['shares on the curve,', 'sent as words'],
  )
  picture.text(
    340,
    20,
    'One polynomial through 2 secrets and 2 random shares',
    anchor='middle',
  )
  return picture


def draw_mask() -> Picture:
  """Which weights are kept as rounds go by."""
  picture = Picture(
    680,
    240,
    'The mask over rounds. Of 144 weights all are kept in round 1, then 60, 24 '
    'and, from round 35 on, 14: the largest magnitudes of the global model. '
    'Every client computes the same mask from the model that it is sent.',
  )
  panels = ((1, 144), (12, 60), (22, 24), (35, 14))
  magnitudes = np.random.default_rng(3).permutation(144)
  for i, (number, kept) in enumerate(panels):
    left = 10 + 170 * i
    picture.text(left + 75, 15, f'Round {number}', 'title', anchor='middle')
    for j in range(144):
      kind = 'kept' if magnitudes[j] < kept else 'gone'
      x, y = left + 12.5 * (j % 12), 35 + 12.5 * (j // 12)
      picture.cell(x, y, 10.5, kind)
    share = f'{100 - round(100 * kept / 144)} % pruned'
    picture.text(left + 75, 205, share, anchor='middle')
  picture.text(
    340,
    228,
    'Largest magnitudes of the global model: no positions are sent',
    anchor='middle',
  )
  return picture


def draw_defence() -> Picture:
  """How clients are weighed whose updates nobody sees."""
  picture = Picture(
    680,
    420,
    'A defence on sketches. Clients share their updates with the servers. Then '
    'a public seed draws random sums of parameters. Servers send these sums of '
    'each client, its sketch, to the central server, which weighs clients by '
    'the distances of their sketches and sends the weights back. Servers add '
    'up shares with these weights, and the central server opens that sum.',
  )
  steps = (
    ('client', '1  Clients share', ['every share is fixed from here on']),
    ('plain', '2  A public seed draws sums', ['of parameters, at random']),
    (
      'server',
      '3  Servers send sketches',
      ['a few sums of each client\u2019s shares'],
    ),
    (
      'central',
      '4  The central server weighs',
      ['by distances between sketches'],
    ),
    (
      'server',
      '5  Servers add up, with weights',
      ['each weight is a whole number'],
    ),
    ('central', '6  The central server opens', ['one weighed sum, no update']),
  )
  for i, (kind, title, lines) in enumerate(steps):
    column, row = (i // 3), (i % 3)
    x, y = 10 + 350 * column, 10 + 138 * row
    picture.box((x, y, 310, 90), kind, title, lines)
    if row < 2:
      picture.arrow(x + 155, y + 90, x + 155, y + 136)
  picture.line(320, 331, 340, 331, 340, 55)
  picture.arrow(340, 55, 358, 55)
  return picture


def draw_workdir() -> Picture:
  """What a study leaves behind."""
  lines = (
    (0, 'runs/mnist-20261129-101500/', ''),
    (1, 'report.md, figures/', 'the result, to read first'),
    (1, 'metrics.csv', 'every round of every run'),
    (1, 'config.json', 'all settings'),
    (1, 'environment.json, source/', 'versions, devices, your code'),
    (1, 'fedpruneshare/', 'one folder for each method'),
    (2, 'config.json, model.json', 'its settings, its model\u2019s shape'),
    (2, 'seed_0/', 'one folder for each run'),
    (3, 'metrics.jsonl', 'its rounds, as they end'),
    (3, 'checkpoints/', 'its model: the last one is the result'),
  )
  picture = Picture(
    680,
    20 + 34 * len(lines),
    'The work directory of a study: '
    + '; '.join(f'{name.strip()} {about}'.strip() for _, name, about in lines),
  )
  for i, (depth, name, about) in enumerate(lines):
    y = 27 + 34 * i
    picture.text(14 + 26 * depth, y, name, 'title')
    picture.text(352, y, about)
    if depth:
      picture.line(26 * depth - 8, y - 20, 26 * depth - 8, y, 26 * depth + 8, y)
  return picture


PICTURES: dict[str, Callable[[], Picture]] = {
  'round': draw_round,
  'packing': draw_packing,
  'mask': draw_mask,
  'defence': draw_defence,
  'workdir': draw_workdir,
}

if __name__ == '__main__':
  for name, draw in PICTURES.items():
    draw().save(name)
