"""Tables and figures of the job `inversion`."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fps_jax.jobs.inversion.measure import RECOGNISED, Outcome
from fps_jax.results import figures
from fps_jax.results.tables import Table

Row = Mapping[str, Any]

_HEADER = (
  'What the attacker sees',
  'Mean PSNR (dB)',
  'Lowest PSNR (dB)',
  'Highest PSNR (dB)',
  'Mean SSIM',
  f'Images at {RECOGNISED:g} dB or more (%)',
  'PSNR of other images (dB)',
)
_NOTES = (
  'PSNR and SSIM say how like the true image a reconstruction is: higher is '
  f'more alike, SSIM at most 1. At {RECOGNISED:g} dB a digit is plain to see.',
  'They are over all images of all seeds. Each image is compared with the '
  'reconstruction nearest to it.',
  'PSNR of other images: as many other images of the same labels, compared in '
  'the same way. What is no better shows nothing of the true images.',
  'Shares of M of N servers (k, l): k servers open a sum, and l values travel '
  'in one word.',
)
_MAX_PSNR = 80
_COLUMNS = 4  # images shown of each number a client has
# Okabe and Ito (2008).
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7')


def progress_line(row: Row) -> str:
  """Returns a line that says what was just measured."""
  return (
    f'{row["title"]}, {_images(row["images_per_client"])} per client: '
    f'{row["psnr_mean"]:.1f} dB, {row["seconds"]:.0f} s'
  )


def write_images(outcomes: Sequence[Outcome], path: pathlib.Path) -> None:
  """Draws the first client's images over what each view made of them."""
  blocks = _by_images(outcomes)
  titles = list(dict.fromkeys(outcome.row['title'] for outcome in outcomes))
  side = outcomes[0].originals.shape[-1]
  # All images are pixels of one sheet; a cell's rest is for its PSNR.
  cell, block_width = side + 10, _COLUMNS * (side + 10) + 10
  sheet = np.zeros(((len(titles) + 1) * cell, len(blocks) * block_width))
  figure = Figure(figsize=(sheet.shape[1] / 75, sheet.shape[0] / 75))
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set_axis_off()
  for i, title in enumerate(('True images', *titles)):
    axes.text(-6, i * cell + side / 2, title, ha='right', va='center', size=7)
  for block, (images_per_client, shown) in enumerate(blocks.items()):
    left = block * block_width
    header = f'{_images(images_per_client)} per client'
    axes.text(left, -6, header, size=7.5)
    _paste(sheet, 0, left, cell, shown[0].originals[:, :images_per_client])
    for outcome in shown:
      top = cell * (1 + titles.index(outcome.row['title']))
      _paste(sheet, top, left, cell, outcome.found[:, :images_per_client])
      psnr = outcome.psnr[:, :images_per_client].ravel()[:_COLUMNS]
      for i, value in enumerate(psnr):
        x, y = left + i * cell + side / 2, top + side
        axes.text(x, y, f'{value:.1f}', ha='center', va='top', size=5.5)
  axes.imshow(sheet, cmap='gray_r', vmin=0, vmax=1, interpolation='nearest')
  figure.savefig(path, dpi=200, bbox_inches='tight')


def write_psnr(rows: Sequence[Row], path: pathlib.Path) -> None:
  """Draws the PSNR of every view: mean and range, and that of other images."""
  titles = list(dict.fromkeys(row['title'] for row in rows))
  numbers = list(dict.fromkeys(row['images_per_client'] for row in rows))
  figure = Figure(figsize=(5.2, 1.1 + 0.22 * len(titles)), layout='constrained')
  axes = figure.add_subplot()
  for i, number in enumerate(numbers):
    color = _COLORS[i % len(_COLORS)]
    of_number = [row for row in rows if row['images_per_client'] == number]
    places = [
      titles.index(row['title']) + 0.3 * (i - (len(numbers) - 1) / 2)
      for row in of_number
    ]
    least, means, most = (
      [min(row[f'psnr_{kind}'], _MAX_PSNR) for row in of_number]
      for kind in ('min', 'mean', 'max')
    )
    axes.hlines(places, least, most, color=color, linewidth=1)
    axes.plot(
      means,
      places,
      'o',
      color=color,
      markersize=3.5,
      label=_images(number),
      clip_on=False,
    )
    chance = [row['chance_psnr_mean'] for row in of_number]
    axes.plot(chance, places, '|', color='0.5', markersize=5)
  axes.axvline(RECOGNISED, color='0.5', linestyle=':', linewidth=0.8)
  axes.set_yticks(range(len(titles)), titles, fontsize=7)
  axes.set_ylim(len(titles) - 0.5, -0.5)
  axes.tick_params(axis='x', labelsize=7)
  axes.set_xlim(0, _MAX_PSNR)
  axes.set_xlabel(
    f'PSNR (dB): mean and range; what is more is drawn at {_MAX_PSNR}.\n'
    'Grey: PSNR of other images.',
    fontsize=7.5,
  )
  figures.draw_grid(axes, 'x')
  figure.legend(
    loc='outside upper center',
    ncols=len(numbers),
    fontsize=7,
    frameon=False,
    title='Images per client',
    title_fontsize=7,
  )
  figure.savefig(path, dpi=200)


def blocks(rows: Sequence[Row]) -> Iterator[Table | str]:
  """Yields a table for each number of images a client, and what shows more."""
  numbers = list(dict.fromkeys(row['images_per_client'] for row in rows))
  for number in numbers:
    lines = [
      [
        row['title'],
        *(f'{row[f"psnr_{kind}"]:.1f}' for kind in ('mean', 'min', 'max')),
        f'{row["ssim_mean"]:.2f}',
        f'{100 * row["recognised"]:.0f}',
        f'{row["chance_psnr_mean"]:.1f}',
      ]
      for row in rows
      if row['images_per_client'] == number
    ]
    notes = '\n'.join(_NOTES) if number == numbers[-1] else ''
    yield Table(f'{_images(number)} per client', _HEADER, lines, notes)
  yield (
    '![True images and reconstructions](inversion_images.png)\n'
    '![PSNR by view](inversion_psnr.png)'
  )


def _by_images(outcomes: Sequence[Outcome]) -> dict[int, list[Outcome]]:
  blocks: dict[int, list[Outcome]] = {}
  for outcome in outcomes:
    blocks.setdefault(outcome.row['images_per_client'], []).append(outcome)
  return blocks


def _paste(
  sheet: np.ndarray, top: int, left: int, cell: int, images: np.ndarray
) -> None:
  """Puts images [seeds, n, height, width] side by side, in place."""
  height, width = images.shape[-2:]
  for i, image in enumerate(images.reshape(-1, height, width)[:_COLUMNS]):
    start = left + i * cell
    sheet[top : top + height, start : start + width] = image


def _images(number: int) -> str:
  return '1 image' if number == 1 else f'{number} images'
