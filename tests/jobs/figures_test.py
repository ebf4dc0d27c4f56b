"""Figures of jobs: nothing of them is cut off at an edge."""

import pathlib

import numpy as np
import pytest
from matplotlib import image as mpl_image

from fps_jax.jobs.inversion import report as inversion
from fps_jax.jobs.poisoning import report as poisoning
from fps_jax.jobs.poisoning.results import PoisoningResult
from fps_jax.jobs.throughput import figures as throughput
from fps_jax.jobs.throughput.phases import PHASES
from fps_jax.results.summary import collect
from tests.helpers.runs import write_run


def _draw_psnr(folder: pathlib.Path) -> None:
  kinds = ('psnr_min', 'psnr_mean', 'psnr_max', 'chance_psnr_mean')
  rows = [
    {
      'title': f'Sum of 10 clients, {number} % pruned, 8-bit values',
      'images_per_client': images,
      **dict.fromkeys(kinds, float(number)),
    }
    for images in (1, 4)
    # Of a PSNR there is no greatest.
    for number in (5, 40, 150)
  ]
  inversion.write_psnr(rows, folder / 'psnr.png')


def _draw_throughput(folder: pathlib.Path) -> None:
  rows = [
    {
      'name': f'scaling_{cohort}',
      'cohort': cohort,
      'sec_per_round': cohort / 500,
      'peak_rss_mb': 800,
      'phases': dict.fromkeys(PHASES, 1.0),
    }
    for cohort in (10, 100, 10_000)
  ]
  throughput.write_figures(rows[:1], folder)
  throughput.write_figures(rows, folder / 'all')


def _draw_poisoning(folder: pathlib.Path) -> None:
  names = [
    f'{attack}--{defence}'
    for attack in ('none', 'backdoor_scaling')
    for defence in ('fedavg', 'fedpruneshare_nnm_multi_krum_sketched')
  ]
  for name in names:
    write_run(folder, name, 0, [0.5], [10])
  found = map(PoisoningResult.of, collect(folder, names).values())
  poisoning.write_figure(list(found), folder / 'poisoning.png')


@pytest.mark.slow
@pytest.mark.parametrize(
  'draw', [_draw_psnr, _draw_throughput, _draw_poisoning]
)
def test_edges_of_figures_are_empty(draw, tmp_path):
  (tmp_path / 'all').mkdir()
  draw(tmp_path)
  paths = list(tmp_path.rglob('*.png'))
  assert paths
  for path in paths:
    pixels_HxWxC = mpl_image.imread(path)[..., :3]
    for edge in (
      pixels_HxWxC[:2],
      pixels_HxWxC[-2:],
      pixels_HxWxC[:, :2],
      pixels_HxWxC[:, -2:],
    ):
      assert np.all(edge == 1), path.name
